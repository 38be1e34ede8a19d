//! From where the kernel ended a time-wait socket, by the functions on its stack.

use finwait_core::observation::CallSite;

use crate::enrich::{KernelSymbols, SymbolsError};

/// Called when a time-wait socket's timer runs out.
const HANDLER: &str = "tw_timer_handler";
/// What everybody calls who ends one early.
const DESCHEDULE: &str = "inet_twsk_deschedule_put";
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
        let names: Vec<_> = SITES.iter().map(|(name, _)| *name).chain([DESCHEDULE]).collect();
        KernelSymbols::read(&names).map(Self)
    }

    /// Address of tw_timer_handler, which a time-wait socket's timer calls; `None` where the kernel has none.
    #[must_use]
    pub fn handler(&self) -> Option<u64> {
        self.0.ranges_of(HANDLER).map(|range| range.start).next()
    }

    /// What the stack `frames` says, innermost first; it ends with the first 0. `None` where nothing on it is known.
    #[must_use]
    pub fn of(&self, frames: &[u64]) -> Option<Taken> {
        let frames = frames.iter().take_while(|frame| **frame != 0);
        let names: Vec<_> = frames.filter_map(|frame| self.0.resolve(*frame)).collect();
        innermost(&names)
    }
}

fn innermost(names: &[&str]) -> Option<Taken> {
    let site = |name: &&str| SITES.iter().find(|(known, _)| known == name).copied();
    match names.iter().find_map(site) {
        Some((HANDLER, _)) => Some(Taken::RanOut),
        Some((_, site)) => Some(Taken::From(site)),
        None => names.contains(&DESCHEDULE).then_some(Taken::From(CallSite::Other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(site: CallSite) -> Option<Taken> {
        Some(Taken::From(site))
    }

    #[test]
    fn the_innermost_known_function_tells() {
        let segment = [DESCHEDULE, "tcp_timewait_state_process", "tcp_v4_rcv", "ip_rcv"];
        assert_eq!(innermost(&segment), from(CallSite::Segment));
        let rearm = ["mod_timer", "__inet_twsk_schedule", "tcp_timewait_state_process", "tcp_v4_rcv"];
        assert_eq!(innermost(&rearm), from(CallSite::Rearm));
        assert_eq!(innermost(&[DESCHEDULE, "tcp_v6_rcv"]), from(CallSite::Receive));
        assert_eq!(innermost(&["__inet_check_established", "tcp_v4_connect"]), from(CallSite::Connect));
        assert_eq!(innermost(&["tcp_abort", "tcp_diag_destroy"]), from(CallSite::Abort));
        assert_eq!(innermost(&["inet_twsk_purge", "tcp_twsk_purge"]), from(CallSite::Purge));
    }

    #[test]
    fn an_end_by_somebody_unknown_is_no_end_by_time() {
        assert_eq!(innermost(&[DESCHEDULE, "tcp_new_function"]), from(CallSite::Other));
    }

    #[test]
    fn a_stack_without_a_known_function_says_nothing() {
        assert_eq!(innermost(&[]), None);
        assert_eq!(innermost(&["schedule"]), None);
    }

    #[test]
    fn a_timer_that_interrupts_something_else_ran_out() {
        assert_eq!(innermost(&[HANDLER, "call_timer_fn", "tcp_v4_rcv"]), Some(Taken::RanOut));
    }
}
