//! What the events of a close show, as far as it is kept until the end.

use tracer_common::TcpState;

use super::connection::{Connection, STEPS, difference};
use super::interned::Interned;
use super::late::LocalBegin;
use crate::observation::StateChange;

impl Connection {
    pub(super) fn note_closing(&mut self, change: &StateChange, interned: &mut Interned) {
        let tcp = &change.tcp;
        self.note_begin(change, interned);
        if change.old == change.new {
            return;
        }
        if matches!(change.new, TcpState::FinWait1 | TcpState::LastAck) {
            let closing = &mut self.late_mut(interned).closing;
            closing.retrans_before = tcp.total_retrans;
            closing.unsent_bytes = difference(tcp.write_seq, tcp.snd_nxt);
            let waiting = difference(tcp.write_seq, tcp.snd_una);
            closing.fin_left_at_once =
                waiting.zip(tcp.snd_wnd).map(|(bytes, window)| bytes == 0 && window > 0);
        }
        if matches!(change.new, TcpState::FinWait1 | TcpState::CloseWait) {
            let closing = &mut self.late_mut(interned).closing;
            closing.idle_send_ns = tcp.since_send_ns;
            closing.idle_receive_ns = tcp.since_receive_ns;
            closing.received_before_bytes = tcp.bytes_received;
            closing.acked_before_bytes = tcp.bytes_acked;
        }
        match (change.old, change.new) {
            (TcpState::FinWait1, TcpState::Closing) => {
                let closing = &mut self.late_mut(interned).closing;
                closing.unsent_at_closing_bytes = difference(tcp.write_seq, tcp.snd_nxt);
            }
            (TcpState::FinWait1, TcpState::FinWait2) => {
                self.late_mut(interned).closing.fin_wait2_clock_ns = tcp.clock_cache_ns;
            }
            (TcpState::CloseWait, TcpState::LastAck) => {
                let pending = difference(tcp.rcv_nxt, tcp.rcv_wup).map(|bytes| bytes != 0);
                self.late_mut(interned).closing.ack_pending = pending;
            }
            _ => {}
        }
    }

    fn note_begin(&mut self, change: &StateChange, interned: &mut Interned) {
        let events = self.trace().len();
        match self.closing().began {
            Some(began) if began.index + 1 == events => {
                let dead_next = change.flags.map(|flags| flags.dead);
                self.late_mut(interned).closing.began = Some(LocalBegin { dead_next, ..began });
            }
            None if begins_local_close(change) && events < STEPS => {
                self.late_mut(interned).closing.began = Some(LocalBegin {
                    index: events,
                    shutdown: change.shutdown,
                    lingers: change.flags.is_none_or(|f| f.linger) && change.linger_ns != Some(0),
                    lock_owned: change.lock_owned,
                    kthread: change.task.and_then(|task| task.kthread),
                    exiting: change.task.and_then(|task| task.exiting),
                    exit_signal: change.task.and_then(|task| task.exit_signal),
                    dead_next: None,
                });
            }
            Some(_) | None => {}
        }
    }
}

/// Where nothing has been closed yet.
pub(super) fn is_opening(state: TcpState) -> bool {
    use TcpState::{Established, Listen, SynRecv, SynSent};
    matches!(state, SynSent | SynRecv | Established | Listen)
}

/// The transition that starts this end's share of the close, made by the application or on its behalf.
pub(super) fn begins_local_close(change: &StateChange) -> bool {
    use TcpState::{Close, CloseWait, Established, FinWait1, LastAck, SynRecv, SynSent};
    match (change.old, change.new) {
        (old, new) if old == new => false,
        (_, FinWait1 | LastAck) => true,
        (SynSent | SynRecv | Established | CloseWait, Close) => {
            change.err == Some(0) || change.shutdown.is_some_and(|s| s.receive && s.send)
        }
        _ => false,
    }
}
