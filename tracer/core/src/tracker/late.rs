//! What a connection only has once it closes, is reset or makes more transitions than an open one does. Most connections are
//! open, and have none of it.

use std::sync::Arc;

use super::end::End;
use super::hooked::Hooked;
use super::trace::Trace;
use crate::observation::Shutdown;
use crate::record::Owner;

/// The event that began this end's share of the close.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalBegin {
    /// Its place among the connection's events
    pub(crate) index: usize,
    pub(crate) shutdown: Option<Shutdown>,
    /// close() would wait with the socket still alive (SO_LINGER with a time)
    pub(crate) lingers: bool,
    pub(crate) lock_owned: Option<bool>,
    pub(crate) kthread: Option<bool>,
    pub(crate) exiting: Option<bool>,
    pub(crate) exit_signal: Option<u8>,
    /// At the next event: what close() does before it lets go of the socket
    pub(crate) dead_next: Option<bool>,
}

/// What entering a closing state showed, kept for the claims made at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// tcp_clock_cache at FIN_WAIT1 → FIN_WAIT2
    pub(crate) fin_wait2_clock_ns: Option<u64>,
    /// rcv_nxt was past rcv_wup at CLOSE_WAIT → LAST_ACK
    pub(crate) ack_pending: Option<bool>,
    /// write_seq − snd_nxt when our FIN was queued
    pub(crate) unsent_bytes: Option<u32>,
    /// Nothing kept our FIN back when it was queued: no data ahead of it, none on its way that could fill the congestion
    /// window, and the peer's window open
    pub(crate) fin_left_at_once: Option<bool>,
    /// total_retrans when our FIN was queued
    pub(crate) retrans_before: Option<u32>,
    /// At the first FIN
    pub(crate) idle_send_ns: Option<u64>,
    /// At the first FIN
    pub(crate) idle_receive_ns: Option<u64>,
    /// bytes_received when our FIN was queued first
    pub(crate) received_before_bytes: Option<u64>,
    /// bytes_acked when the peer's FIN came first
    pub(crate) acked_before_bytes: Option<u64>,
    pub(crate) began: Option<LocalBegin>,
    /// write_seq − snd_nxt when the peer's FIN found ours unacknowledged
    pub(crate) unsent_at_closing_bytes: Option<u32>,
}

impl Default for Closing {
    fn default() -> Self {
        Self::NONE
    }
}

impl Closing {
    /// Nothing of it was seen.
    pub(crate) const NONE: Self = Self {
        fin_wait2_clock_ns: None,
        ack_pending: None,
        unsent_bytes: None,
        fin_left_at_once: None,
        retrans_before: None,
        idle_send_ns: None,
        idle_receive_ns: None,
        received_before_bytes: None,
        acked_before_bytes: None,
        began: None,
        unsent_at_closing_bytes: None,
    };
}

/// Steps that nearly every connection that closes gets by with.
const FEW: usize = 6;

/// Steps in their order. A few take no room of their own.
#[derive(Debug)]
pub(super) struct Steps {
    few: [Trace; FEW],
    /// How many of those there are
    len: u8,
    /// All of them, once they are more
    many: Vec<Trace>,
}

impl Default for Steps {
    fn default() -> Self {
        Self { few: [Trace::NONE; FEW], len: 0, many: Vec::new() }
    }
}

impl Steps {
    #[inline]
    pub(super) fn all(&self) -> &[Trace] {
        if self.many.is_empty() { self.few.get(..self.len.into()).unwrap_or_default() } else { &self.many }
    }

    #[inline]
    pub(super) fn push(&mut self, step: Trace) {
        match self.few.get_mut(usize::from(self.len)) {
            Some(place) => {
                *place = step;
                self.len += 1;
            }
            None => self.push_many(step),
        }
    }

    #[cold]
    fn push_many(&mut self, step: Trace) {
        if self.many.is_empty() {
            self.many.extend(self.few);
        }
        self.many.push(step);
    }

    /// `step` takes the place of the last one.
    pub(super) fn replace_last(&mut self, step: Trace) {
        let few = self.few.get_mut(..self.len.into()).and_then(<[Trace]>::last_mut);
        if let Some(last) = self.many.last_mut().or(few) {
            *last = step;
        }
    }

    fn clear(&mut self) {
        self.len = 0;
        self.many.clear();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Late {
    pub(crate) closing: Closing,
    /// With the index of its event
    pub(crate) closer: Option<(usize, Arc<Owner>)>,
    /// Mostly nothing
    pub(crate) hooked: Option<Box<Hooked>>,
    pub(crate) end: Option<End>,
    /// All steps, once there are more than an open connection has room for; else empty
    pub(super) steps: Steps,
    pub(super) steps_dropped: u32,
}

/// There are as many as close within a moment, and each is read again when its record is made.
const _: () = assert!(size_of::<Late>() <= 496);

impl Late {
    /// Nothing is known any more; the room of the steps stays.
    pub(super) fn clear(&mut self) {
        let Self { closing, closer, hooked, end, steps, steps_dropped } = self;
        *closing = Closing::NONE;
        *closer = None;
        *hooked = None;
        *end = None;
        steps.clear();
        *steps_dropped = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::MonoNs;

    #[test]
    fn steps_stay_in_their_order_whether_they_are_few_or_many() {
        let step = |at| Trace { at: MonoNs(at), ..Trace::NONE };
        let times = |steps: &Steps| steps.all().iter().map(|step| step.at.0).collect::<Vec<_>>();
        let mut steps = Steps::default();
        for round in 0..2 {
            assert!(steps.all().is_empty(), "round {round}");
            for at in 0..10 {
                steps.push(step(at));
                assert_eq!(times(&steps), (0..=at).collect::<Vec<_>>());
            }
            steps.replace_last(step(99));
            assert_eq!(steps.all().last().map(|step| step.at.0), Some(99));
            steps.clear();
        }
        steps.push(step(1));
        steps.replace_last(step(2));
        assert_eq!(times(&steps), [2]);
    }
}
