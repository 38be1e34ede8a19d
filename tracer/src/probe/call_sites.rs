//! From where the kernel ended a time-wait socket, by the functions on its stack.

use finwait_core::observation::CallSite;

use crate::enrich::{KernelSymbols, SymbolsError};

/// Called when a time-wait socket's timer runs out.
const HANDLER: &str = "tw_timer_handler";
/// What everybody calls who ends one early. It has work to do after taking off the timer, so its frame is there.
const DESCHEDULE: &str = "inet_twsk_deschedule_put";
/// What sets the timer anew. Its last call may have taken the place of its frame.
const SCHEDULE: &str = "__inet_twsk_schedule";
/// Timers run out below these; the handler's own frame may be missing likewise.
const RUN_TIMERS: [&str; 4] = [HANDLER, "call_timer_fn", "__run_timers", "run_timer_softirq"];
/// Who calls [`DESCHEDULE`]. Of those on a stack the innermost counts.
const SITES: [(&str, CallSite); 9] = [
    ("tcp_timewait_state_process", CallSite::Segment),
    ("__inet_check_established", CallSite::Connect),
    ("__inet6_check_established", CallSite::Connect),
    ("tcp_abort", CallSite::Abort),
    ("tcp_diag_destroy", CallSite::Abort),
    ("inet_twsk_purge", CallSite::Purge),
    ("tcp_twsk_purge", CallSite::Purge),
    ("tcp_v4_rcv", CallSite::Receive),
    ("tcp_v6_rcv", CallSite::Receive),
];

/// The functions' addresses in the running kernel.
#[derive(Clone, Debug)]
pub struct CallSites {
    symbols: KernelSymbols,
    has_deschedule: bool,
}

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
        let sites = SITES.iter().map(|(name, _)| *name);
        let names: Vec<_> = sites.chain(RUN_TIMERS).chain([DESCHEDULE, SCHEDULE]).collect();
        let symbols = KernelSymbols::read(&names)?;
        let has_deschedule = symbols.ranges_of(DESCHEDULE).next().is_some();
        Ok(Self { symbols, has_deschedule })
    }

    /// Address of tw_timer_handler, which a time-wait socket's timer calls; `None` where the kernel has none.
    #[must_use]
    pub fn handler(&self) -> Option<u64> {
        self.symbols.ranges_of(HANDLER).map(|range| range.start).next()
    }

    /// What the stack `frames` says, innermost first; it ends with the first 0. `None` where nothing on it is known.
    #[must_use]
    pub fn of(&self, frames: &[u64]) -> Option<Taken> {
        let frames = frames.iter().take_while(|frame| **frame != 0);
        let names: Vec<_> = frames.filter_map(|frame| self.symbols.resolve(*frame)).collect();
        taken(&names, self.has_deschedule)
    }
}

/// `has_deschedule`: the kernel has [`DESCHEDULE`] as a function, so that its absence from the stack says something.
fn taken(names: &[&str], has_deschedule: bool) -> Option<Taken> {
    let telling = |name: &&str| [DESCHEDULE, SCHEDULE].contains(name) || RUN_TIMERS.contains(name);
    let Some(place) = names.iter().position(telling) else {
        // The timer was taken off in the work on a segment, and not to end the socket: it is only set anew.
        return (has_deschedule && site(names).is_some()).then_some(Taken::From(CallSite::Rearm));
    };
    Some(match names[place] {
        DESCHEDULE => Taken::From(site(&names[place..]).unwrap_or(CallSite::Other)),
        SCHEDULE => Taken::From(CallSite::Rearm),
        _ => Taken::RanOut,
    })
}

/// The innermost of [`SITES`].
fn site(names: &[&str]) -> Option<CallSite> {
    names.iter().find_map(|name| SITES.iter().find(|(known, _)| known == name)).map(|(_, site)| *site)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(site: CallSite) -> Option<Taken> {
        Some(Taken::From(site))
    }

    fn on(names: &[&str]) -> Option<Taken> {
        taken(names, true)
    }

    #[test]
    fn who_ends_a_socket_early_is_the_innermost_known_caller() {
        let segment = [DESCHEDULE, "tcp_timewait_state_process", "tcp_v4_rcv"];
        assert_eq!(on(&segment), from(CallSite::Segment));
        assert_eq!(on(&[DESCHEDULE, "tcp_v6_rcv"]), from(CallSite::Receive));
        assert_eq!(on(&[DESCHEDULE, "__inet_check_established"]), from(CallSite::Connect));
        assert_eq!(on(&[DESCHEDULE, "tcp_abort", "tcp_diag_destroy"]), from(CallSite::Abort));
        assert_eq!(on(&[DESCHEDULE, "inet_twsk_purge", "tcp_twsk_purge"]), from(CallSite::Purge));
        assert_eq!(on(&[DESCHEDULE]), from(CallSite::Other));
    }

    #[test]
    fn a_timer_that_is_set_anew_is_no_end() {
        let rearm = [SCHEDULE, "tcp_timewait_state_process", "tcp_v4_rcv"];
        assert_eq!(on(&rearm), from(CallSite::Rearm));
        assert_eq!(on(&rearm[1..]), from(CallSite::Rearm), "the last call took the frame's place");
    }

    #[test]
    fn where_ending_has_no_function_of_its_own_a_segment_may_have_done_either() {
        assert_eq!(taken(&["tcp_timewait_state_process", "tcp_v4_rcv"], false), None);
    }

    #[test]
    fn a_stack_without_a_known_function_says_nothing() {
        assert_eq!(on(&[]), None);
        assert_eq!(on(&["schedule"]), None);
    }

    #[test]
    fn a_timer_that_ran_out_may_have_interrupted_anything() {
        assert_eq!(on(&[HANDLER, "call_timer_fn", "__run_timers"]), Some(Taken::RanOut));
        let without_its_frame = ["call_timer_fn", "run_timer_softirq", DESCHEDULE, "tcp_abort"];
        assert_eq!(on(&without_its_frame), Some(Taken::RanOut));
    }
}
