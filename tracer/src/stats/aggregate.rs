//! Takes records and keeps the summary of each group. What it holds is bounded: by the number of groups, and by the number
//! of time-wait sockets that the tracker follows.

use std::sync::Arc;

use finwait_core::observation::TimeWaitSource;
use finwait_core::record::{CloseKind, CloseRecord, Successor, TimeWaitRecord};
use finwait_core::{ConnId, GroupId, MonoNs, Reason, Record, SocketKey, TcpState, Tracker, WallNs};
use hashbrown::HashMap;

use super::groups::{Grouping, OTHER_GROUP, SharedGroups};
use super::history::History;
use super::ports::PortTrend;
use super::snapshot::{GroupSnapshot, Snapshot};
use super::summary::{Summary, Unproven};
use crate::redact::Redaction;
use crate::sink::{Context, Sink, SinkError, Verdict};

/// A close whose time-wait socket is still to end.
#[derive(Clone, Copy, Debug)]
struct Awaited {
    group: GroupId,
    hid_fin_wait2: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Aggregator {
    groups: SharedGroups,
    summaries: Vec<Arc<Summary>>,
    /// Of a group in which nothing has ended
    nothing: Arc<Summary>,
    unproven: Arc<Unproven>,
    /// By socket and generation: two boots do not have both alike, and without the boot an entry is half as large
    awaited: HashMap<(SocketKey, u64), Awaited>,
    /// Time-wait sockets awaited at most
    time_waits: usize,
    context: Context,
    history: History,
    ports: PortTrend,
}

impl Aggregator {
    /// Knows no group but `other`. `time_waits`: how many time-wait sockets the tracker follows.
    #[must_use]
    pub fn new(grouping: Grouping, time_waits: usize) -> Self {
        Self {
            groups: SharedGroups::new(grouping),
            summaries: Vec::new(),
            nothing: Arc::default(),
            unproven: Arc::default(),
            awaited: HashMap::new(),
            time_waits,
            context: Context::default(),
            history: History::default(),
            ports: PortTrend::default(),
        }
    }

    /// Decides for a tracker to which group an open connection belongs: the one in which its close will be counted, as far as
    /// it is known by then.
    #[must_use]
    pub fn grouping(&self) -> Box<dyn finwait_core::Grouping> {
        Box::new(self.groups.clone())
    }

    /// Looks from time to time at how many ports are taken.
    pub fn watch(&mut self, tracker: &Tracker, now: MonoNs) {
        if self.ports.is_due(now) {
            self.ports.look(now, &tracker.ports());
        }
    }

    /// Everything so far, and what `tracker` holds at `now`. Cheap: summaries are shared until they change.
    #[must_use]
    pub fn snapshot(&self, tracker: &Tracker, now: MonoNs) -> Snapshot {
        let groups = self.groups.lock();
        let population = tracker.population(now);
        let labels = groups.labels().iter().enumerate();
        Snapshot {
            groups: labels
                .map(|(place, labels)| GroupSnapshot {
                    labels: labels.clone(),
                    summary: self.summaries.get(place).unwrap_or(&self.nothing).clone(),
                    population: population.get(place).copied().unwrap_or_default(),
                })
                .collect(),
            group_count: groups.len(),
            group_limit: groups.limit(),
            group_overflows: groups.overflows(),
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
            ports: self.ports.debts(now, &tracker.ports()),
            redaction: Redaction::Off,
        }
    }

    /// Whether it is to learn what becomes of the time-wait socket of `id`.
    #[must_use]
    pub fn awaits(&self, id: ConnId) -> bool {
        self.awaited.contains_key(&(id.socket, id.generation))
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
    fn await_time_wait(&mut self, close: &CloseRecord, group: GroupId) -> bool {
        let watched =
            self.context.host.as_ref().is_some_and(|host| host.hooks.time_wait != TimeWaitSource::Off);
        let hid_fin_wait2 = close.kind.value() == Some(&CloseKind::Active)
            && close.successor.reason() == Some(Reason::HiddenFinWait2);
        let leaves_one = hid_fin_wait2 || close.successor.value() == Some(&Successor::TimeWait);
        let awaited = watched && leaves_one && self.awaited.len() < self.time_waits;
        if awaited {
            let id = (close.conn_id.socket, close.conn_id.generation);
            self.awaited.insert(id, Awaited { group, hid_fin_wait2 });
        }
        awaited && hid_fin_wait2
    }

    fn time_wait(&mut self, record: &TimeWaitRecord) {
        // One whose close was not awaited says nothing of who it was.
        let awaited = self.awaited.remove(&(record.conn_id.socket, record.conn_id.generation));
        let Awaited { group, hid_fin_wait2 } =
            awaited.unwrap_or(Awaited { group: OTHER_GROUP, hid_fin_wait2: false });
        let wall = record.ended.value().and_then(|ended| self.wall_of(ended.latest));
        let (summary, unproven) = self.parts(group);
        summary.time_wait(record, wall, unproven, hid_fin_wait2);
        self.history.time_wait(record, hid_fin_wait2);
    }

    fn parts(&mut self, group: GroupId) -> (&mut Summary, &mut Arc<Unproven>) {
        if group.0 as usize >= self.summaries.len() {
            self.summaries.resize_with(group.0 as usize + 1, Arc::default);
        }
        (Arc::make_mut(&mut self.summaries[group.0 as usize]), &mut self.unproven)
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
