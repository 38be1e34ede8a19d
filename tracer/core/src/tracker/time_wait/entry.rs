//! One time-wait socket: what was seen of it. What that proves is said in `verdict`.

use tracer_common::TcpState;

use super::super::ports::Held;
use super::store::{Names, Place};
use crate::claim::{Claim, Evidence, EvidenceSet, Reason};
use crate::endpoint::Tuple;
use crate::id::{CgroupId, NetNs, SocketKey};
use crate::observation::{CallSite, Family, Task, TimeWaitEvent};
use crate::record::{Owner, TimeWaitEnd, WaveTime};
use crate::time::MonoNs;

/// The connection that left it behind.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// Of its [`ConnId`](crate::ConnId); the boot is everybody's
    pub(crate) socket: SocketKey,
    pub(crate) generation: u64,
    pub(crate) family: Family,
    /// Where it was, unless the entry's names tell
    pub(crate) whereabouts: Option<Box<Whereabouts>>,
    pub(crate) cgroup: Option<CgroupId>,
    /// Its socket reached CLOSE
    pub(crate) at: MonoNs,
    /// The event before that
    pub(crate) before: MonoNs,
    /// No descriptor referred to the socket: its cookie will never be another connection's
    pub(crate) orphan: bool,
    /// Whether the mini-socket begins in FIN_WAIT2, by the last transition
    pub(crate) from_fin_wait2: Claim<bool>,
}

/// Where a connection was, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) netns: Option<NetNs>,
    pub(crate) tuple: Tuple,
}

/// One setting of its timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arm {
    pub(crate) substate: Option<TcpState>,
    pub(crate) timeout_ns: Option<u64>,
}

/// A dump that showed it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    /// Before the kernel was asked
    pub(crate) begin: MonoNs,
    pub(crate) substate: TcpState,
    pub(crate) timer_ns: Option<u64>,
}

impl Sighting {
    /// It was in TIME_WAIT when its time was over; the timer wheel fires up to some seconds later.
    pub(crate) fn overdue(&self) -> bool {
        self.substate == TcpState::TimeWait && self.timer_ns == Some(0)
    }
}

/// What dumps showed of it. Most end without any.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sightings {
    pub(crate) last: Sighting,
    /// Begin of the latest dump that showed it in FIN_WAIT2
    pub(crate) fin_wait2: Option<MonoNs>,
    /// End of the first dump that showed it in TIME_WAIT
    pub(crate) time_wait: Option<MonoNs>,
}

/// A later connection in the same place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taker {
    /// When it was proven to hold the place
    pub(crate) at: MonoNs,
    /// By connect() or by a SYN, where its first transition was seen
    pub(crate) way: Option<TimeWaitEnd>,
    /// When its connect() was called, where that was seen
    pub(crate) opened_at: Option<MonoNs>,
    /// Who called connect()
    pub(crate) opener: Claim<Owner>,
}

/// How it ended, as far as is known.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// When that was learned: what may still complete it comes within the settling time after
    pub(crate) at: MonoNs,
    pub(crate) cause: Claim<TimeWaitEnd>,
    pub(crate) when: Claim<WaveTime>,
    /// Mostly nobody: apart, as there are many time-wait sockets
    pub(crate) by: Claim<Box<Owner>>,
    /// The state it was in
    pub(crate) substate: Option<TcpState>,
    /// From where, where a hook saw it end and that does not tell why
    pub(crate) unexplained: Option<Option<CallSite>>,
    /// Only its absence was seen
    pub(crate) vanished: bool,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) names: Names,
    /// Absent until its connection's socket reached CLOSE: the hooks see it before that
    pub(crate) origin: Option<Origin>,
    /// tcp_time_wait was called for it, for this state
    pub(crate) asked: Option<Option<TcpState>>,
    /// The first setting of its timer that was seen
    pub(crate) first_arm: Option<Arm>,
    /// That came before its socket reached CLOSE: it cannot be a later one's
    pub(crate) armed_before_close: bool,
    /// The first setting in TIME_WAIT, where it began in FIN_WAIT2
    pub(crate) time_wait_arm: Option<MonoNs>,
    pub(crate) rearmed: u32,
    pub(crate) timeout_ns: Option<u64>,
    /// What showed that it was there at all
    pub(crate) existence: EvidenceSet,
    /// The first thing seen of it
    pub(crate) since: MonoNs,
    /// The newest thing seen of it
    pub(crate) last_at: MonoNs,
    pub(crate) sightings: Option<Box<Sightings>>,
    pub(crate) end: Option<End>,
    pub(crate) taker: Option<Box<Taker>>,
    /// It stands in the queue of those to be looked at
    pub(crate) queued: bool,
    /// The count of taken ports that it is in
    pub(crate) port: Held,
}

impl Entry {
    pub(crate) fn new(names: Names, at: MonoNs) -> Self {
        Self {
            names,
            origin: None,
            asked: None,
            first_arm: None,
            armed_before_close: false,
            time_wait_arm: None,
            rearmed: 0,
            timeout_ns: None,
            existence: EvidenceSet::default(),
            since: at,
            last_at: at,
            sightings: None,
            end: None,
            taker: None,
            queued: false,
            port: Held::NOTHING,
        }
    }

    /// Where its connection, which left `origin`, was.
    pub(crate) fn whereabouts(&self, origin: &Origin) -> Whereabouts {
        let named = || self.names.place.map(Place::whereabouts);
        origin.whereabouts.as_deref().copied().or_else(named).unwrap_or_default()
    }

    /// How the last dump that showed it did.
    pub(crate) fn sighted(&self) -> Option<Sighting> {
        self.sightings.as_ref().map(|sightings| sightings.last)
    }

    pub(crate) fn existed(&self) -> bool {
        self.existence != EvidenceSet::default()
    }

    /// Ended, and not by a disarming after which it may be armed again.
    pub(crate) fn is_over(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end.unexplained.is_none())
    }

    /// Whether a setting of its timer at `at` can be its own. What takes a timer off to set it again does so at once, much
    /// sooner than `settle_ns`.
    pub(crate) fn may_be_armed(&self, at: MonoNs, settle_ns: u64) -> bool {
        match &self.end {
            None => true,
            Some(end) => end.unexplained.is_some() && self.taker.is_none() && at <= end.at.plus(settle_ns),
        }
    }

    /// Whether it began in FIN_WAIT2: its connection's last transition tells, else what the hooks saw first.
    pub(crate) fn fin_wait2_first(&self) -> Claim<bool> {
        let closing = self.origin.as_ref().map(|origin| origin.from_fin_wait2);
        if let Some(known @ Claim::Known { .. }) = closing {
            return known;
        }
        let first = self.first_arm.filter(|_| self.armed_before_close).and_then(|arm| arm.substate);
        match first.or(self.asked.flatten()) {
            Some(state) => Claim::known(state == TcpState::FinWait2, [Evidence::TimeWaitHook]),
            None => closing.unwrap_or(Claim::Unknown(Reason::FieldAbsent)),
        }
    }

    pub(crate) fn arm(&mut self, event: &TimeWaitEvent) {
        self.see(event.at, Evidence::TimeWaitHook);
        self.end = None; // it was only taken off to be set again
        self.timeout_ns = event.timeout_ns;
        let began_in_fin_wait2 =
            (self.origin.is_some() || self.first_arm.is_some()) && self.began_in_fin_wait2();
        let entered = event.substate == Some(TcpState::TimeWait) && began_in_fin_wait2;
        if entered && self.time_wait_arm.is_none() {
            self.time_wait_arm = Some(event.at);
        } else if self.first_arm.is_some() {
            self.rearmed = self.rearmed.saturating_add(1);
        }
        if self.first_arm.is_none() {
            self.armed_before_close = self.origin.is_none();
            self.first_arm = Some(Arm { substate: event.substate, timeout_ns: event.timeout_ns });
        }
    }

    fn began_in_fin_wait2(&self) -> bool {
        self.fin_wait2_first().value() == Some(&true)
    }

    /// Its timer was taken off.
    pub(crate) fn disarm(&mut self, event: &TimeWaitEvent) {
        self.see(event.at, Evidence::TimeWaitHook);
        if event.site == Some(CallSite::Rearm) {
            return;
        }
        let when = Claim::known(WaveTime::at(event.at), [Evidence::TimeWaitHook]);
        match &mut self.end {
            // A reset that answered a segment for it: this is how it ends.
            Some(end) if end.when.value().is_none() && !end.vanished => end.when = when,
            Some(end) if end.unexplained.is_none() => {}
            _ => {
                let cause = cause(event);
                let unexplained = cause.value().is_none().then_some(event.site);
                let by = match event.site {
                    Some(CallSite::Connect | CallSite::Abort) => task(event.task.as_ref()),
                    Some(CallSite::Other) => Claim::Unknown(Reason::NotVisible),
                    None => Claim::Unknown(Reason::SymbolsHidden),
                    _ => Claim::Unknown(Reason::NoTask),
                };
                let substate = event.substate;
                self.end =
                    Some(End { at: event.at, cause, when, by, substate, unexplained, vanished: false });
            }
        }
    }

    /// Its timer ran out.
    pub(crate) fn expire(&mut self, event: &TimeWaitEvent) {
        self.see(event.at, Evidence::TimeWaitHook);
        if self.is_over() {
            return;
        }
        // Nothing leads from TIME_WAIT back to FIN_WAIT2.
        let always = self.fin_wait2_first().value() == Some(&false);
        let substate = event.substate.or(always.then_some(TcpState::TimeWait));
        let cause = match substate {
            Some(TcpState::TimeWait) => Claim::known(TimeWaitEnd::Expired, [Evidence::TimeWaitHook]),
            Some(TcpState::FinWait2) => Claim::known(TimeWaitEnd::FinWait2TimedOut, [Evidence::TimeWaitHook]),
            _ => Claim::Unknown(Reason::FieldAbsent),
        };
        self.end = Some(End {
            at: event.at,
            cause,
            when: Claim::known(WaveTime::at(event.at), [Evidence::TimeWaitHook]),
            by: Claim::Unknown(Reason::NoTask),
            substate,
            unexplained: None,
            vanished: false,
        });
    }

    /// A reset answered a segment that came for it. It is killed right after (tcp_v4_rcv, TCP_TW_RST); where no hook shows
    /// that, the reset is the moment.
    pub(crate) fn answer(&mut self, at: MonoNs, disarming_is_shown: bool) {
        self.see(at, Evidence::ResetSent);
        if self.is_over() {
            return;
        }
        let when = match disarming_is_shown {
            true => Claim::Unknown(Reason::HookLoss),
            false => Claim::known(WaveTime::at(at), [Evidence::ResetSent]),
        };
        self.end = Some(End {
            at,
            cause: Claim::known(TimeWaitEnd::LateData, [Evidence::ResetSent]),
            when,
            by: Claim::Unknown(Reason::NoTask),
            // Only FIN_WAIT2 answers so: TIME_WAIT ignores data or acknowledges it.
            substate: Some(TcpState::FinWait2),
            unexplained: None,
            vanished: false,
        });
    }

    /// It is gone at `at`, and how is not told. `proof` is what shows that it is gone.
    pub(crate) fn vanish(&mut self, at: MonoNs, cause: Claim<TimeWaitEnd>, proof: Evidence) {
        if self.end.is_some() {
            return;
        }
        let since = self.sighted().map_or(self.last_at, |sighting| sighting.begin.max(self.last_at));
        let when = match self.existed() {
            true => Claim::known(WaveTime { earliest: since.min(at), latest: at }, [proof]),
            false => Claim::Unknown(cause.reason().unwrap_or(Reason::NotVisible)),
        };
        self.end = Some(End {
            at,
            cause,
            when,
            by: Claim::Unknown(cause.reason().unwrap_or(Reason::NoTask)),
            substate: None,
            unexplained: None,
            vanished: true,
        });
    }

    /// A dump from `sighting.begin` to `end` showed it.
    pub(crate) fn sight(&mut self, sighting: Sighting, end: MonoNs) {
        self.existence = self.existence.with(Evidence::SocketDump);
        let first = || Box::new(Sightings { last: sighting, fin_wait2: None, time_wait: None });
        let sightings = self.sightings.get_or_insert_with(first);
        match sighting.substate {
            TcpState::FinWait2 => sightings.fin_wait2 = Some(sighting.begin),
            _ => sightings.time_wait = sightings.time_wait.or(Some(end)),
        }
        sightings.last = sighting;
    }

    pub(crate) fn see(&mut self, at: MonoNs, evidence: Evidence) {
        self.existence = self.existence.with(evidence);
        self.last_at = self.last_at.max(at);
    }
}

/// Why it was taken off, by the function that did it. tcp_v4_rcv does it for a SYN in TIME_WAIT (TCP_TW_SYN), and after a
/// reset in FIN_WAIT2 (TCP_TW_RST), which answers data, and a SYN, that came after close().
fn cause(event: &TimeWaitEvent) -> Claim<TimeWaitEnd> {
    let end = match (event.site, event.substate) {
        (Some(CallSite::Segment), _) => TimeWaitEnd::ResetReceived,
        (Some(CallSite::Connect), _) => TimeWaitEnd::ReusedByConnect,
        (Some(CallSite::Abort), _) => TimeWaitEnd::Killed,
        (Some(CallSite::Purge), _) => TimeWaitEnd::NamespaceGone,
        (Some(CallSite::Receive), Some(TcpState::TimeWait)) => TimeWaitEnd::ReusedBySyn,
        (Some(CallSite::Receive), Some(TcpState::FinWait2)) => TimeWaitEnd::LateData,
        (Some(CallSite::Receive), _) => return Claim::Unknown(Reason::FieldAbsent),
        (Some(CallSite::Other | CallSite::Rearm), _) => return Claim::Unknown(Reason::NotVisible),
        (None, _) => return Claim::Unknown(Reason::SymbolsHidden),
    };
    Claim::known(end, [Evidence::TimeWaitHook])
}

fn task(task: Option<&Task>) -> Claim<Box<Owner>> {
    match task {
        Some(task) if task.kthread == Some(true) => Claim::Unknown(Reason::NoTask),
        Some(task) => Claim::known(Box::new(Owner::from(task)), [Evidence::TimeWaitHook]),
        None => Claim::Unknown(Reason::FieldAbsent),
    }
}
