//! What a host observation says of how it is observed, and of the kernel's settings.

use finwait_core::NetNs;
use finwait_core::observation::{Hooks, PortBounds, Sysctls};

use super::layout;
use super::wire::{Fault, Input, Read, optional};

pub(super) fn hooks(input: &mut Input<'_>) -> Read<Hooks> {
    let bits = input.byte()?;
    if bits >> 6 != 0 {
        return Err(&Fault::Bad("the hooks in force"));
    }
    let on = |bit: u8| bits >> bit & 1 != 0;
    Ok(Hooks {
        resets_sent: on(0),
        reset_reasons: on(1),
        resets_received: on(2),
        retransmits: on(3),
        accepts: on(4),
        sockets: on(5),
        time_wait: layout::time_wait_source(input.byte()?)?,
    })
}

pub(super) fn sysctls(input: &mut Input<'_>) -> Read<Sysctls> {
    let mut number = || -> Read<Option<u32>> {
        optional(input)?.map(u32::try_from).transpose().map_err(|_| &Fault::Bad("a setting"))
    };
    Ok(Sysctls {
        netns: number()?.map(NetNs),
        tcp_fin_timeout: number()?,
        tcp_tw_reuse: number()?,
        tcp_orphan_retries: number()?,
        tcp_max_orphans: number()?,
        tcp_max_tw_buckets: number()?,
        ip_local_port_range: number()?
            .map(|ports| PortBounds { first: (ports >> 16) as u16, last: ports as u16 }),
    })
}
