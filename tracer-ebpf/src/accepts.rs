//! Accepted sockets: fentry on `security_sock_graft(sk, parent)`, which accept() calls in the context of its caller.

use aya_ebpf::programs::FEntryContext;
use tracer_common::{Field, PROGRAM_ACCEPT};

use crate::{
    emit::hooks,
    hook::Run,
    object::Object,
    subject::{self, Identity},
};

const IPPROTO_TCP: u16 = 6;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `None` where the per-CPU entry is missing.
#[inline(always)]
pub(crate) fn accept(context: &FEntryContext) -> Option<()> {
    // SAFETY: the function's first argument is the accepted socket.
    let sk = unsafe { Object::new(context.arg(0)) };
    if !is_tcp(sk) {
        return Some(());
    }
    let run = Run::enter(PROGRAM_ACCEPT)?;
    if let Some(tcp) = subject::tcp_of(sk) {
        let identity = Identity::full(sk, tcp);
        if identity.passes() {
            hooks::accept(&run, &identity);
        }
    }
    run.leave();
    Some(())
}

/// Sockets of every family come this way.
#[inline(always)]
fn is_tcp(sk: Object) -> bool {
    let family: u16 = sk.read(Field::Family);
    (family == AF_INET || family == AF_INET6) && sk.read::<u16>(Field::Protocol) == IPPROTO_TCP
}
