//! Takes records and keeps the summary of each group. What it holds is bounded: by the number of groups, and by the number
//! of time-wait sockets that the tracker follows.

use std::collections::HashMap;
use std::sync::Arc;

use finwait_core::observation::TimeWaitSource;
use finwait_core::record::{CloseKind, CloseRecord, Successor, TimeWaitRecord};
use finwait_core::{ConnId, MonoNs, Reason, Record, TcpState, Tracker, WallNs};

use super::groups::{GroupIndex, Grouping, Groups};
use super::history::History;
use super::snapshot::{GroupSnapshot, Snapshot};
use super::summary::{Summary, Unproven};
use crate::sink::{Context, Sink, SinkError, Verdict};

/// A close whose time-wait socket is still to end.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    group: GroupIndex,
    hid_fin_wait2: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Aggregator {
    groups: Groups,
    summaries: Vec<Arc<Summary>>,
    unproven: Arc<Unproven>,
    awaited: HashMap<ConnId, Awaited>,
    /// Time-wait sockets awaited at most
    time_waits: usize,
    context: Context,
    history: History,
}

impl Aggregator {
    /// Knows no group but `other`. `time_waits`: how many time-wait sockets the tracker follows.
    #[must_use]
    pub fn new(grouping: Grouping, time_waits: usize) -> Self {
        Self {
            groups: Groups::new(grouping),
            summaries: vec![Arc::default()],
            unproven: Arc::default(),
            awaited: HashMap::new(),
            time_waits,
            context: Context::default(),
            history: History::default(),
        }
    }

    /// Everything so far, and what `tracker` holds now. Cheap: summaries are shared until they change.
    #[must_use]
    pub fn snapshot(&self, tracker: &Tracker) -> Snapshot {
        let pairs = self.groups.labels().iter().zip(&self.summaries);
        Snapshot {
            groups: pairs
                .map(|(labels, summary)| GroupSnapshot { labels: labels.clone(), summary: summary.clone() })
                .collect(),
            group_count: self.groups.len(),
            group_limit: self.groups.limit(),
            group_overflows: self.groups.overflows(),
            unproven: self.unproven.clone(),
            host: self.context.host.clone(),
            clock: self.context.clock,
            history: self.history.clone(),
            books: tracker.accounting(),
            fates: tracker.fates(),
            connections: tracker.open_connections(),
            connection_limit: tracker.config().capacity,
            sockets: TcpState::ALL.map(|state| tracker.sockets(state)),
            oldest_close_wait: tracker.oldest_close_wait(),
        }
    }

    fn close(&mut self, close: &CloseRecord) {
        let group = self.groups.of(close);
        let follows = self.await_time_wait(close, group);
        let wall = close.closed_at.and_then(|at| self.wall_of(at));
        let (summary, unproven) = self.parts(group);
        summary.close(close, wall, unproven, follows);
        self.history.close(close);
    }

    /// Whether a time-wait record will tell of FIN_WAIT2.
    fn await_time_wait(&mut self, close: &CloseRecord, group: GroupIndex) -> bool {
        let watched =
            self.context.host.as_ref().is_some_and(|host| host.hooks.time_wait != TimeWaitSource::Off);
        let hid_fin_wait2 = close.kind.value() == Some(&CloseKind::Active)
            && close.successor.reason() == Some(Reason::HiddenFinWait2);
        let leaves_one = hid_fin_wait2 || close.successor.value() == Some(&Successor::TimeWait);
        let awaited = watched && leaves_one && self.awaited.len() < self.time_waits;
        if awaited {
            self.awaited.insert(close.conn_id, Awaited { group, hid_fin_wait2 });
        }
        awaited && hid_fin_wait2
    }

    fn time_wait(&mut self, record: &TimeWaitRecord) {
        // One whose close was not awaited says nothing of who it was.
        let awaited = self.awaited.remove(&record.conn_id);
        let Awaited { group, hid_fin_wait2 } =
            awaited.unwrap_or(Awaited { group: GroupIndex::OTHER, hid_fin_wait2: false });
        let wall = record.ended.value().and_then(|ended| self.wall_of(ended.latest));
        let (summary, unproven) = self.parts(group);
        summary.time_wait(record, wall, unproven, hid_fin_wait2);
        self.history.time_wait(record, hid_fin_wait2);
    }

    fn parts(&mut self, group: GroupIndex) -> (&mut Summary, &mut Unproven) {
        if group.place() >= self.summaries.len() {
            self.summaries.resize_with(group.place() + 1, Arc::default);
        }
        (Arc::make_mut(&mut self.summaries[group.place()]), Arc::make_mut(&mut self.unproven))
    }

    fn wall_of(&self, at: MonoNs) -> Option<WallNs> {
        self.context.clock?.wall_of(at)
    }
}

impl Sink for Aggregator {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Transition(_) => {}
            Record::Close(close) => self.close(close),
            Record::TimeWait(record) => self.time_wait(record),
            Record::BothEnds(both) => {
                self.close(&both.opener_side);
                self.close(&both.acceptor_side);
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        Ok(())
    }
}
