//! From where the kernel ended a time-wait socket, by the functions on its stack.

use finwait_core::observation::CallSite;

use crate::enrich::{KernelSymbols, SymbolsError};

/// Called when a time-wait socket's timer runs out.
const HANDLER: &str = "tw_timer_handler";
/// Functions that say from where. Of those on a stack the innermost counts.
const SITES: [(&str, CallSite); 12] = [
    ("__inet_twsk_schedule", CallSite::Rearm),
    ("inet_twsk_reschedule", CallSite::Rearm),
    ("tcp_timewait_state_process", CallSite::Segment),
    ("__inet_check_established", CallSite::Connect),
    ("__inet6_check_established", CallSite::Connect),
    ("tcp_abort", CallSite::Abort),
    ("tcp_diag_destroy", CallSite::Abort),
    ("inet_twsk_purge", CallSite::Purge),
    ("tcp_twsk_purge", CallSite::Purge),
    ("tcp_v4_rcv", CallSite::Receive),
    ("tcp_v6_rcv", CallSite::Receive),
    (HANDLER, CallSite::Other),
];

/// The functions' addresses in the running kernel.
#[derive(Clone, Debug)]
pub struct CallSites(KernelSymbols);

/// Who took a time-wait socket's timer off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The timer itself, as it ran out
    RanOut,
    /// Somebody before
    From(CallSite),
}

impl CallSites {
    /// Looks them up.
    ///
    /// # Errors
    /// /proc/kallsyms cannot be read, or hides addresses.
    pub fn read() -> Result<Self, SymbolsError> {
        KernelSymbols::read(&SITES.map(|(name, _)| name)).map(Self)
    }

    /// Address of tw_timer_handler, which a time-wait socket's timer calls; `None` where the kernel has none.
    #[must_use]
    pub fn handler(&self) -> Option<u64> {
        self.0.ranges_of(HANDLER).map(|range| range.start).next()
    }

    /// What the stack `frames` says, innermost first; it ends with the first 0.
    #[must_use]
    pub fn of(&self, frames: &[u64]) -> Taken {
        innermost(frames.iter().take_while(|frame| **frame != 0).filter_map(|frame| self.0.resolve(*frame)))
    }
}

fn innermost<'a>(names: impl Iterator<Item = &'a str>) -> Taken {
    let site = |name: &str| SITES.iter().find(|(known, _)| *known == name).copied();
    match names.filter_map(site).next() {
        Some((HANDLER, _)) => Taken::RanOut,
        Some((_, site)) => Taken::From(site),
        None => Taken::From(CallSite::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(names: &[&str]) -> Taken {
        innermost(names.iter().copied())
    }

    #[test]
    fn the_innermost_known_function_tells() {
        let segment = ["inet_twsk_deschedule_put", "tcp_timewait_state_process", "tcp_v4_rcv", "ip_rcv"];
        assert_eq!(taken(&segment), Taken::From(CallSite::Segment));
        let rearm = ["mod_timer", "__inet_twsk_schedule", "tcp_timewait_state_process", "tcp_v4_rcv"];
        assert_eq!(taken(&rearm), Taken::From(CallSite::Rearm));
        assert_eq!(taken(&["inet_twsk_deschedule_put", "tcp_v6_rcv"]), Taken::From(CallSite::Receive));
        assert_eq!(taken(&["__inet_check_established", "tcp_v4_connect"]), Taken::From(CallSite::Connect));
        assert_eq!(taken(&["tcp_abort", "tcp_diag_destroy"]), Taken::From(CallSite::Abort));
        assert_eq!(taken(&["inet_twsk_purge", "tcp_twsk_purge"]), Taken::From(CallSite::Purge));
        assert_eq!(taken(&["inet_twsk_deschedule_put"]), Taken::From(CallSite::Other));
        assert_eq!(taken(&[]), Taken::From(CallSite::Other));
    }

    #[test]
    fn a_timer_that_interrupts_something_else_ran_out() {
        assert_eq!(taken(&["tw_timer_handler", "call_timer_fn", "tcp_v4_rcv"]), Taken::RanOut);
    }
}
