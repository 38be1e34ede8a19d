//! What is proven of a time-wait socket when it is over, or given up.
//!
//! What the hooks say of an end is proof by itself. What rests on their silence is not, where they lost something. An
//! identity that a later socket may share (no cookie, or a descriptor that may connect again) holds only if nothing was
//! lost.

use tracer_common::TcpState;

use super::entry::{Entry, Origin, Taker, Whereabouts};
use crate::claim::{Claim, Evidence, Reason};
use crate::id::{BootId, ConnId};
use crate::observation::{CallSite, Hooks, TimeWaitSource};
use crate::record::{Owner, TimeWaitEnd, TimeWaitRecord, WaveTime};
use crate::time::MonoNs;
use crate::tracker::Audit;

/// TCP_TIMEWAIT_LEN: the timer of TIME_WAIT is always set for this long, and runs out later, never earlier.
const TIME_WAIT_NS: u64 = 60_000_000_000;

/// One jiffy of the coarsest clock (HZ=100).
const JIFFY_NS: u64 = 10_000_000;

/// The widest bucket of the timer wheel that holds 60 s (HZ=100, level 3; narrower at other HZ). A timer that is set anew
/// within its bucket passes no tracepoint (`__mod_timer`).
const WHEEL_BUCKET_NS: u64 = 5_120_000_000;

/// What the verdict is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Court<'a> {
    pub(crate) boot: BootId,
    pub(crate) audit: &'a Audit,
    pub(crate) hooks: Hooks,
    pub(crate) settle_ns: u64,
    /// The newest event of all
    pub(crate) now: MonoNs,
}

impl Court<'_> {
    /// The hooks see time-wait sockets come and go.
    pub(crate) fn hooked(&self) -> bool {
        matches!(self.hooks.time_wait, TimeWaitSource::Fentry | TimeWaitSource::Timer)
    }

    /// A hook's event may be missing there.
    pub(crate) fn blind(&self, from: MonoNs, to: MonoNs) -> bool {
        self.audit.hook_lost_between(from, to) || to > self.audit.covered_until()
    }

    /// Whether it never was, though its time came: `None` where that is not proven.
    pub(crate) fn never(&self, entry: &Entry, unmatched_until: Option<MonoNs>) -> Option<Claim<TimeWaitEnd>> {
        let origin = entry.origin.as_ref()?;
        let seen = entry.existed() || entry.names.place.is_none();
        let missed = unmatched_until.is_some_and(|at| at >= origin.before);
        if !self.hooked() || seen || missed || self.blind(origin.before, origin.at) {
            return None;
        }
        let never = Claim::known(TimeWaitEnd::NeverAllocated, [Evidence::TimeWaitHook]);
        Some(match (origin.from_fin_wait2.value(), entry.asked, self.hooks.time_wait) {
            (Some(false), ..) | (_, Some(_), _) => never,
            // FIN_WAIT2 may also have been aborted, by data out of order: then nobody asked for a mini-socket.
            (_, None, TimeWaitSource::Fentry) => Claim::Unknown(Reason::DidNotHappen),
            _ => Claim::Unknown(Reason::NoKnownWay),
        })
    }

    /// The record of an entry that has ended or is given up.
    pub(crate) fn record(&self, entry: &Entry, origin: &Origin) -> TimeWaitRecord {
        // What is still there may have been set anew unseen until now.
        let now = self.now.max(self.audit.covered_until());
        let until = entry.end.as_ref().map_or(now, |end| end.at);
        let doubt = self.doubt(entry, origin, until);
        let absent = self.absent(entry, origin, doubt);
        let began = match absent {
            Some(reason) => Claim::Unknown(reason),
            None => {
                Claim::Known { value: WaveTime::at(origin.at), evidence: entry.fin_wait2_first().evidence() }
            }
        };
        let entered = match absent.or(doubt.filter(|_| entry.fin_wait2_first().value() != Some(&false))) {
            Some(reason) => Claim::Unknown(reason),
            None => self.entered(entry, origin, until),
        };
        let end = doubtless(self.cause(entry, origin), doubt);
        let ended = doubtless(self.ended(entry), doubt);
        let whole = self.hooked() && absent.is_none() && doubt.is_none() && !self.blind(origin.before, until);
        let Whereabouts { netns, tuple } = entry.whereabouts(origin);
        TimeWaitRecord {
            conn_id: ConnId { boot: self.boot, socket: origin.socket, generation: origin.generation },
            family: origin.family,
            local: tuple.local,
            remote: tuple.remote,
            netns,
            cgroup: origin.cgroup,
            source: self.hooks.time_wait,
            from_fin_wait2: match absent {
                Some(reason) => Claim::Unknown(reason),
                None => entry.fin_wait2_first(),
            },
            fin_wait2_ns: fin_wait2_ns(entry, &began, &entered, &ended),
            time_wait_ns: span(&entered, &ended),
            timeout_ns: entry.timeout_ns.filter(|_| whole),
            rearmed: (whole && self.hooks.time_wait == TimeWaitSource::Fentry).then_some(entry.rearmed),
            ended_by: doubtless(self.ended_by(entry, &end), doubt),
            began,
            entered,
            ended,
            end,
        }
    }

    /// Why what was seen may have been another socket's, of the same descriptor or in the same place.
    fn doubt(&self, entry: &Entry, origin: &Origin, until: MonoNs) -> Option<Reason> {
        if self.early_doubt(entry, origin) {
            return Some(Reason::LossInInterval);
        }
        if origin.orphan && entry.names.cookie.is_some() {
            return None;
        }
        if self.hooked() && self.blind(origin.at, until) {
            return Some(Reason::HookLoss);
        }
        let lost = self.audit.lost_between(origin.at, until) || until > self.audit.covered_until();
        lost.then_some(Reason::LossInInterval)
    }

    /// What was seen before its connection's CLOSE may have been an earlier connection's of the same descriptor, if that
    /// one's CLOSE was lost.
    fn early_doubt(&self, entry: &Entry, origin: &Origin) -> bool {
        entry.since < origin.at && self.audit.lost_between(entry.since, origin.at)
    }

    /// Why it is not proven that it was there at all.
    fn absent(&self, entry: &Entry, origin: &Origin, doubt: Option<Reason>) -> Option<Reason> {
        if entry.existed() {
            return doubt.filter(|_| !entry.armed_before_close || self.early_doubt(entry, origin));
        }
        let ended = entry.end.as_ref().map(|end| end.cause);
        Some(match ended {
            Some(Claim::Known { value: TimeWaitEnd::NeverAllocated, .. })
            | Some(Claim::Unknown(Reason::DidNotHappen)) => Reason::DidNotHappen,
            _ if !self.hooked() => Reason::BetweenDumps,
            _ if self.blind(origin.before, origin.at) => Reason::HookLoss,
            _ => Reason::NoKnownWay,
        })
    }

    /// When the peer's FIN came. It was there.
    fn entered(&self, entry: &Entry, origin: &Origin, until: MonoNs) -> Claim<WaveTime> {
        let from_fin_wait2 = entry.fin_wait2_first();
        match from_fin_wait2 {
            Claim::Known { value: false, evidence } => {
                return Claim::Known { value: WaveTime::at(origin.at), evidence };
            }
            Claim::Known { value: true, .. } => {}
            Claim::Unknown(reason) => return Claim::Unknown(reason),
        }
        if let Some(armed_at) = entry.time_wait_arm.filter(|at| !self.blind(origin.at, *at)) {
            let earliest = if self.may_be_set_unseen(entry) { origin.at.min(armed_at) } else { armed_at };
            return Claim::known(WaveTime { earliest, latest: armed_at }, [Evidence::TimeWaitHook]);
        }
        if let Some(sightings) = &entry.sightings
            && let Some(latest) = sightings.time_wait
        {
            let earliest = sightings.fin_wait2.unwrap_or(origin.at).max(origin.at).min(latest);
            return Claim::known(WaveTime { earliest, latest }, [Evidence::SocketDump]);
        }
        let end = entry.end.as_ref();
        match end.and_then(|end| end.substate) {
            Some(TcpState::FinWait2) => Claim::Unknown(Reason::DidNotHappen),
            Some(TcpState::TimeWait) => self.entered_before_the_end(entry, origin, until),
            _ if !self.hooked() => Claim::Unknown(Reason::BetweenDumps),
            _ if self.blind(origin.at, until) => Claim::Unknown(Reason::HookLoss),
            _ if end.is_none() && !self.may_be_set_unseen(entry) => Claim::Unknown(Reason::DidNotHappen),
            _ => Claim::Unknown(Reason::NotVisible),
        }
    }

    /// It ended in TIME_WAIT; where its timer ran out, that had been set at least 60 s before.
    fn entered_before_the_end(&self, entry: &Entry, origin: &Origin, until: MonoNs) -> Claim<WaveTime> {
        let expired = self.cause(entry, origin).value() == Some(&TimeWaitEnd::Expired);
        let waited = if expired { TIME_WAIT_NS - JIFFY_NS } else { 0 };
        let latest = MonoNs(until.0.saturating_sub(waited)).max(origin.at);
        Claim::known(WaveTime { earliest: origin.at.min(latest), latest }, [Evidence::TimeWaitHook])
    }

    /// TIME_WAIT may have been entered without a trace: the timer hooks miss a timer that is set anew within its bucket,
    /// and that of FIN_WAIT2 lies in the same one unless it was set for much less than 60 s.
    fn may_be_set_unseen(&self, entry: &Entry) -> bool {
        let first = entry.first_arm.filter(|_| entry.armed_before_close).and_then(|arm| arm.timeout_ns);
        self.hooks.time_wait != TimeWaitSource::Fentry
            && first.is_none_or(|ns| ns >= TIME_WAIT_NS - WHEEL_BUCKET_NS)
    }

    fn cause(&self, entry: &Entry, origin: &Origin) -> Claim<TimeWaitEnd> {
        let Some(end) = &entry.end else { return Claim::Unknown(Reason::StillOpen) };
        let resets = end.vanished && end.cause.value().is_some() && self.hooks.resets_sent;
        if resets && self.blind(origin.at, end.at) {
            return Claim::Unknown(Reason::HookLoss); // a reset may have been answered late data
        }
        match (end.unexplained, &entry.taker) {
            (Some(site), Some(taker)) => self.taken(entry, origin, site, taker).unwrap_or(end.cause),
            _ => end.cause,
        }
    }

    /// What the connection that came after proves of a time-wait socket that was taken off its timer nobody knows where.
    /// connect() does it between its own transitions; a SYN does it before its child's.
    fn taken(
        &self,
        entry: &Entry,
        origin: &Origin,
        site: Option<CallSite>,
        taker: &Taker,
    ) -> Option<Claim<TimeWaitEnd>> {
        let end = entry.end.as_ref()?;
        let soon = end.at <= taker.at && taker.at <= end.at.plus(self.settle_ns);
        if !soon || self.blind(origin.at, taker.at) {
            return None;
        }
        let evidence = [Evidence::TimeWaitHook, Evidence::SameTuple];
        match taker.way? {
            TimeWaitEnd::ReusedByConnect => {
                let inside = taker.opened_at? <= end.at && site != Some(CallSite::Receive);
                inside.then(|| Claim::known(TimeWaitEnd::ReusedByConnect, evidence))
            }
            // In FIN_WAIT2 a SYN is answered by a reset.
            _ => (end.substate == Some(TcpState::TimeWait))
                .then(|| Claim::known(TimeWaitEnd::ReusedBySyn, evidence)),
        }
    }

    fn ended(&self, entry: &Entry) -> Claim<WaveTime> {
        match &entry.end {
            None => Claim::Unknown(Reason::StillOpen),
            // The timer's own end is announced by the same event; what should have followed may be lost.
            Some(end) if end.unexplained.is_some() && self.blind(end.at, end.at.plus(self.settle_ns)) => {
                Claim::Unknown(Reason::HookLoss)
            }
            Some(end) => end.when,
        }
    }

    fn ended_by(&self, entry: &Entry, cause: &Claim<TimeWaitEnd>) -> Claim<Owner> {
        let Some(end) = &entry.end else { return Claim::Unknown(Reason::StillOpen) };
        match (cause, end.unexplained, &entry.taker) {
            (Claim::Unknown(reason), ..) => Claim::Unknown(*reason),
            (Claim::Known { value: TimeWaitEnd::ReusedByConnect, .. }, Some(_), Some(taker)) => taker.opener,
            (Claim::Known { .. }, Some(_), _) => Claim::Unknown(Reason::NoTask),
            (Claim::Known { .. }, None, _) => end.by.clone().map(|owner| *owner),
        }
    }
}

/// What a connection that took the place proves, between two dumps.
pub(crate) fn taken_by_sweep(entry: &Entry, taker: &Taker) -> Claim<TimeWaitEnd> {
    let Some(sighting) = entry.sighted() else { return Claim::Unknown(Reason::BetweenDumps) };
    if sighting.overdue() {
        return Claim::known(TimeWaitEnd::Expired, [Evidence::SocketDump]);
    }
    let nominal_end = sighting.timer_ns.map(|left| sighting.begin.plus(left));
    let early = nominal_end.is_some_and(|nominal_end| taker.at < nominal_end);
    let way = taker.way.filter(|way| {
        early && (*way == TimeWaitEnd::ReusedByConnect || sighting.substate == TcpState::TimeWait)
    });
    match way {
        Some(way) => Claim::known(way, [Evidence::SocketDump, Evidence::SameTuple]),
        None => Claim::Unknown(Reason::BetweenDumps),
    }
}

/// What its absence from a dump proves.
pub(crate) fn missed(entry: &Entry) -> Claim<TimeWaitEnd> {
    match entry.sighted() {
        Some(sighting) if sighting.overdue() => Claim::known(TimeWaitEnd::Expired, [Evidence::SocketDump]),
        _ => Claim::Unknown(Reason::BetweenDumps),
    }
}

fn doubtless<T>(claim: Claim<T>, doubt: Option<Reason>) -> Claim<T> {
    match (claim, doubt) {
        (Claim::Known { .. }, Some(reason)) => Claim::Unknown(reason),
        (claim, _) => claim,
    }
}

fn fin_wait2_ns(
    entry: &Entry,
    began: &Claim<WaveTime>,
    entered: &Claim<WaveTime>,
    ended: &Claim<WaveTime>,
) -> Claim<(u64, u64)> {
    match (entry.fin_wait2_first().value(), entered) {
        (Some(false), _) if began.value().is_some() => Claim::Unknown(Reason::DidNotHappen),
        (_, Claim::Unknown(Reason::DidNotHappen)) => span(began, ended),
        _ => span(began, entered),
    }
}

/// From one moment to a later one, at least and at most.
fn span(from: &Claim<WaveTime>, to: &Claim<WaveTime>) -> Claim<(u64, u64)> {
    let (Claim::Known { value: from, evidence: one }, Claim::Known { value: to, evidence: other }) =
        (from, to)
    else {
        let reason = from.reason().or(to.reason()).unwrap_or(Reason::NotVisible);
        return Claim::Unknown(reason);
    };
    let at_least = to.earliest.since(from.latest).unwrap_or(0);
    match to.latest.since(from.earliest) {
        Some(at_most) => Claim::Known { value: (at_least, at_most), evidence: one.union(*other) },
        None => Claim::Unknown(Reason::TimeBackwards),
    }
}
