//! What the tests share.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use finwait_core::record::{CloseRecord, TimeWaitEnd};
use finwait_core::{ClockPair, Observation, Reason, TcpState, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig, TierChoice, TimeWaitChoice};
use tracer::scenario::check::{Depth, compare, open_claims, record_of, sides};
use tracer::scenario::stage::Stage;
use tracer::scenario::watch::{Reading, Seen, only, track_with};
use tracer::scenario::{Made, MadeConnection, Namespace, Result, Scenario, SideName};
use tracer::sink::{RecordingSink, Tap as _};
use tracer_common::KernelFilter;

use crate::capture::{Captures, tcpdump::Tcpdump};
use crate::replay::assert_replays;
use crate::wire::agreement::contradictions;
use crate::wire::exchange::Exchange;
use crate::wire::link::Link;
use crate::wire::segment::Segment;
use crate::wire::tap::{self, Tap, Way};

/// One run of a scenario.
pub(crate) struct Run {
    hosts: Hosts,
    pub(crate) made: Made,
    pub(crate) seen: Seen,
    pub(crate) wire: Wire,
    /// What tcpdump saw of it, where it is asked
    captures: Option<Captures>,
}

/// Kept until the end: with them go their sockets.
enum Hosts {
    One(Namespace),
    Two(Link),
}

/// What passed the interfaces of each end's host.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    client: Vec<tap::Seen>,
    server: Vec<tap::Seen>,
}

impl Wire {
    fn of(&self, side: SideName) -> &[tap::Seen] {
        match side {
            SideName::Client => &self.client,
            SideName::Server => &self.server,
        }
    }
}

/// Attaches with `filter`, an 8 MiB ring.
pub(crate) fn attach(filter: KernelFilter, tier: TierChoice) -> Probe {
    Probe::attach(&ProbeConfig { filter, tier, ..ProbeConfig::default() }).expect("attach")
}

/// Runs `scenario` under the best tier.
pub(crate) fn run(scenario: Scenario) -> Run {
    on_loopback_of(Namespace::new().expect("namespace"), |namespace| scenario.run(namespace))
}

/// A process that is being started holds copies of all open descriptors until it runs its program; what is closed
/// meanwhile is closed by that process, and later. So nobody starts one while a scene is played.
pub(crate) static SPAWNING: RwLock<()> = RwLock::new(());

/// Held while a scene is played: nobody starts a process meanwhile.
pub(crate) fn undisturbed() -> RwLockReadGuard<'static, ()> {
    SPAWNING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Starts `command` between scenes.
pub(crate) fn spawn(command: &mut Command) -> Child {
    let _alone = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().expect("start a process")
}

/// Starts `command` between scenes and waits for its end.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    child.wait_with_output().expect("wait for a process")
}

/// [`on_loopback`] for a scene that starts processes itself: no other one is played meanwhile.
pub(crate) fn alone_on_loopback(scene: impl FnOnce(&Stage<'_>) -> Result<Made>) -> Run {
    let host = Host::new();
    let _alone = SPAWNING.write().unwrap_or_else(PoisonError::into_inner);
    host.watched(TimeWaitChoice::Auto, |namespace| scene(&Stage::new(namespace)))
}

/// [`on_loopback`] with time-wait sockets seen as they end.
pub(crate) fn with_time_waits(scene: impl FnOnce(&Stage<'_>) -> Result<Made>) -> Run {
    let host = Host::new();
    let _shared = undisturbed();
    host.watched(TimeWaitChoice::Timer, |namespace| scene(&Stage::new(namespace)))
}

/// Runs `scene` with client and server on one host.
pub(crate) fn on_loopback(scene: impl FnOnce(&Stage<'_>) -> Result<Made>) -> Run {
    on_loopback_of(Namespace::new().expect("namespace"), |namespace| scene(&Stage::new(namespace)))
}

/// The same in `namespace`.
pub(crate) fn on_loopback_of(namespace: Namespace, scene: impl FnOnce(&Namespace) -> Result<Made>) -> Run {
    let host = Host::of(namespace);
    let _shared = undisturbed();
    host.watched(TimeWaitChoice::Auto, scene)
}

/// A host with everything that watches its interfaces.
struct Host {
    namespace: Namespace,
    tcpdump: Option<Tcpdump>,
}

impl Host {
    fn new() -> Self {
        Self::of(Namespace::new().expect("namespace"))
    }

    fn of(namespace: Namespace) -> Self {
        let tcpdump = Tcpdump::start(namespace.client());
        Self { namespace, tcpdump }
    }

    fn watched(self, time_wait: TimeWaitChoice, scene: impl FnOnce(&Namespace) -> Result<Made>) -> Run {
        let Self { namespace, tcpdump } = self;
        let tap = Tap::open(namespace.client()).expect("tap");
        let (made, seen, clocks) = play(only(namespace.inode()), time_wait, || scene(&namespace));
        let packets = tap.drain().expect("packets");
        let wire = Wire { client: packets.clone(), server: packets };
        let captures = tcpdump.map(|tcpdump| Captures::of_one(tcpdump, namespace.client(), &made, clocks));
        Run { hosts: Hosts::One(namespace), made, seen, wire, captures }
    }
}

/// Runs `scene` with client and server on two hosts, joined by a link.
pub(crate) fn over_link(scene: impl FnOnce(&Stage<'_>, &Link) -> Result<Made>) -> Run {
    let link = Link::new().expect("link");
    let actors = || [link.near().client(), link.far().server()];
    let tcpdumps = actors().map(Tcpdump::start);
    let _shared = undisturbed();
    let taps = actors().map(|actor| Tap::open(actor).expect("tap"));
    let mut filter = only(link.near().inode());
    filter.netns[1] = link.far().inode().0;
    filter.netns_count = 2;
    let (made, seen, clocks) = play(filter, TimeWaitChoice::Timer, || scene(&link.stage(), &link));
    let [client, server] = taps.map(|tap| tap.drain().expect("packets"));
    let captures = Captures::of_two(tcpdumps, actors(), &made, clocks);
    Run { hosts: Hosts::Two(link), made, seen, wire: Wire { client, server }, captures }
}

/// Plays `scene` under the best tier, and holds what a recording of it says against what was said live. Where FINWAIT_RECORDINGS
/// names a folder, the recording is kept there, by the name of the last connection.
fn play(
    filter: KernelFilter,
    time_wait: TimeWaitChoice,
    scene: impl FnOnce() -> Result<Made>,
) -> (Made, Seen, ClockPair) {
    let config = ProbeConfig { filter, tier: TierChoice::TpBtf, time_wait, ..ProbeConfig::default() };
    let probe = Probe::attach(&config).expect("attach");
    let mut observations = Vec::new();
    let keep = |observation: &Observation| observations.push(observation.clone());
    let (made, seen) =
        track_with(probe, Reading::Always, TrackerConfig::default(), scene, keep).expect("run");
    let folder = std::env::var_os("FINWAIT_RECORDINGS").map(std::path::PathBuf::from);
    if let (Some(folder), Some(last)) = (&folder, made.connections.last()) {
        let path = folder.join(format!("{}.jsonl", file_name(last.name)));
        let mut recording = RecordingSink::create(&path).expect("recording");
        observations.iter().for_each(|observation| recording.observation(observation).expect("recording"));
        recording.flush().expect("recording");
    }
    assert_replays(&observations, &seen);
    let clocks = observations.iter().rev().find_map(|observation| match observation {
        Observation::Clock(clocks) => Some(*clocks),
        _ => None,
    });
    (made, seen, clocks.expect("a pair of clocks"))
}

impl Run {
    /// The client's host; the server's too, unless there is a link.
    pub(crate) fn namespace(&self) -> &Namespace {
        match &self.hosts {
            Hosts::One(namespace) => namespace,
            Hosts::Two(link) => link.near(),
        }
    }

    /// Fails unless every side was reported whole, nothing false was said, the packets agree and the books balance.
    pub(crate) fn assert_whole(&self) -> &Self {
        let verdict = compare(&self.made, &self.seen.closes, Depth::Claims);
        assert!(
            verdict.all_whole(),
            "{:#?}\nmade {:#?}\nseen {:#?}",
            verdict.complaints,
            self.made,
            self.seen
        );
        let made = self.made.transition_count() as u64;
        let books = &self.seen.accounting;
        assert_eq!((books.received, books.counted, books.lost()), (made, made, 0), "{books:?}");
        assert_eq!((books.gaps, books.chain_breaks, books.decode_errors), (0, 0, 0), "{books:?}");
        assert_eq!(self.seen.closes.len(), self.made.side_count(), "more closes than connections");
        let contradictions = self.contradictions();
        assert!(contradictions.is_empty(), "{contradictions:#?}\nseen {:#?}", self.seen.closes);
        if let Some(captures) = &self.captures {
            captures.assert_agree(&self.made, &self.seen);
        }
        self.report();
        self
    }

    /// What this run proves of each row, for the table of kernels: everything, or all but some claims.
    fn report(&self) {
        let mut rows: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (connection, side, made) in sides(&self.made) {
            let open = rows.entry(connection.name).or_default();
            let Ok(record) = record_of(&self.made, connection, side, &self.seen.closes) else { continue };
            let claims = open_claims(record, made).into_iter();
            open.extend(claims.map(|(claim, reason)| format!("{} {claim}: {reason}", side.name())));
        }
        for (row, open) in rows {
            let open: Vec<_> = open.into_iter().collect();
            let cell =
                if open.is_empty() { "proven".to_owned() } else { format!("unknown ({})", open.join("; ")) };
            report_row(row, &cell);
        }
    }

    /// What became of that end's socket when it was gone. The timers' hooks tell, not always why.
    pub(crate) fn assert_time_wait_ended(&self, index: usize, side: SideName, end: TimeWaitEnd) {
        let id = self.close(index, side).conn_id;
        let record = self.seen.time_waits.iter().find(|record| record.conn_id == id);
        let record = record.unwrap_or_else(|| panic!("no time-wait record in {:#?}", self.seen.time_waits));
        assert!(record.end.value().is_none_or(|said| *said == end), "{end}, not {record:#?}");
        // Its end may come too late to be judged before the run is over.
        let in_time = record.ended.reason() != Some(Reason::StillOpen);
        assert!(!in_time || record.ended.value().is_some(), "{record:#?}");
        let row = format!("{}, time-wait", self.made.connections[index].name);
        match record.end.reason() {
            None => report_row(&row, "proven"),
            Some(reason) => report_row(&row, &format!("unknown ({reason})")),
        }
    }

    /// Where records and packets contradict each other.
    pub(crate) fn contradictions(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (connection, side, _) in sides(&self.made) {
            // A socket that is its own peer has no ends to tell apart; one whose port nobody knows cannot be found.
            if connection.local == connection.remote || connection.local.port() == 0 {
                continue;
            }
            let Ok(record) = record_of(&self.made, connection, side, &self.seen.closes) else { continue };
            let who = format!("{}, {}", connection.name, side.name());
            let exchange = self.exchange(connection, side, record);
            let complaints = contradictions(record, &self.seen.transitions, &exchange);
            found.extend(complaints.into_iter().map(|what| format!("{who}: {what}")));
        }
        found
    }

    fn exchange(&self, connection: &MadeConnection, side: SideName, record: &CloseRecord) -> Exchange {
        let (local, remote) = connection.ends(side);
        Exchange::of(self.wire.of(side), local, remote, record.last_seen_at)
    }

    /// What the client's host, or else the server's, sent and received of the `index`th connection.
    pub(crate) fn wire(&self, index: usize, side: SideName) -> Exchange {
        self.exchange(&self.made.connections[index], side, self.close(index, side))
    }

    /// How many segments of the `index`th connection that `which` picks were sent at that end.
    pub(crate) fn sent(&self, index: usize, side: SideName, which: impl Fn(&Segment) -> bool) -> u32 {
        let (local, remote) = self.made.connections[index].ends(side);
        let seen = self.wire.of(side).iter().filter(|seen| seen.way == Way::Sent).map(|seen| seen.segment);
        let own = seen.filter(|segment| (segment.from, segment.to) == (local, remote));
        u32::try_from(own.filter(which).count()).expect("a count")
    }

    /// The record of the client's socket in the `index`th connection.
    pub(crate) fn client(&self, index: usize) -> &CloseRecord {
        self.close(index, SideName::Client)
    }

    /// The record of the accepted socket.
    pub(crate) fn server(&self, index: usize) -> &CloseRecord {
        self.close(index, SideName::Server)
    }

    fn close(&self, index: usize, side: SideName) -> &CloseRecord {
        let connection = &self.made.connections[index];
        record_of(&self.made, connection, side, &self.seen.closes).expect("a record of the side")
    }
}

/// Says that this kernel cannot make the row.
pub(crate) fn not_made(row: &str, why: &str) {
    println!("not made here: {why}");
    report_row(row, &format!("not made: {why}"));
}

/// One file for each row, where somebody asked for that: its name, a tab, what was proven.
fn report_row(row: &str, cell: &str) {
    let Some(folder) = std::env::var_os("FINWAIT_ROWS") else { return };
    std::fs::write(Path::new(&folder).join(file_name(row)), format!("{row}\t{cell}\n"))
        .expect("report of a row");
}

/// `row` without what a file's name should not hold.
pub(crate) fn file_name(row: &str) -> String {
    row.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The states that a connection passed through.
pub(crate) fn steps(record: &CloseRecord) -> Vec<(TcpState, TcpState)> {
    record.steps.iter().map(|step| (step.old, step.new)).collect()
}
