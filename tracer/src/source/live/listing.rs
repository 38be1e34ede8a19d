//! Dumps of the sockets that there are, as observations in their right place of the stream.
//!
//! A thread does the work; this decides when, and hands a dump over once every event from before its end was handed over:
//! first [`DumpBegin`], later the rows and [`DumpEnd`]. One dump is under way at a time.

use std::collections::{BTreeSet, HashSet};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use finwait_core::observation::{DumpBegin, DumpEnd, DumpScope, SocketRow, Task};
use finwait_core::{MonoNs, NetNs, Observation, TcpState};

use crate::enrich::{Holder, Holders, holders};
use crate::probe::host::monotonic_now;
use crate::snapshot::{
    DiagError, Dump, Namespaces, Plan, Refreshed, Row, SocketKind, States, Sweep, Sweeper,
};

/// Full sockets alone: time-wait sockets belong to no connection that is followed.
const CONNECTIONS: States = States::of(&[
    TcpState::SynSent,
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::Closing,
]);
/// How often time-wait sockets are looked at where no hook shows them.
const TIME_WAIT_EVERY: Duration = Duration::from_secs(1);
/// What two dumps do not show has ended.
const REPAIRS: u8 = 2;
const FIRST: &str = "listing";

/// A dump with the processes that hold its sockets.
struct Listed {
    sweep: Sweep,
    holders: Holders,
}

/// Who makes the dumps now.
enum Maker {
    /// The thread that was started with every privilege, for the first dump alone
    First(Receiver<(Listed, Namespaces)>),
    /// The thread for all later ones, without privileges
    Later(Box<Sweeper>),
    /// Nobody any more
    None,
}

/// See the module.
pub(crate) struct Listing {
    maker: Maker,
    /// Time-wait sockets are to be looked at
    time_wait: bool,
    /// Dumps that a loss still wants for repairing the table
    repairs: u8,
    under_way: Option<DumpScope>,
    arrived: Option<(DumpScope, Listed)>,
    /// Time-wait sockets are not looked at again before
    due: Instant,
}

impl Listing {
    /// Opens the namespaces and starts the first dump, in a thread that keeps the caller's privileges until it is made.
    pub(crate) fn start(wanted: Option<BTreeSet<NetNs>>, time_wait: bool) -> Result<Self, DiagError> {
        let namespaces = Namespaces::open(wanted)?;
        let (done, first) = sync_channel(1);
        let spawned = thread::Builder::new().name(FIRST.to_owned()).spawn(move || {
            // Nobody waits for it any more when that fails.
            let _ = done.send(first_dump(namespaces));
        });
        let maker = if spawned.is_ok() { Maker::First(first) } else { Maker::None };
        Ok(Self {
            maker,
            time_wait,
            repairs: 0,
            under_way: Some(DumpScope::Connections),
            arrived: None,
            due: Instant::now(),
        })
    }

    /// What the stream must hold before any of its events.
    pub(crate) fn preamble() -> Observation {
        begin(DumpScope::Connections)
    }

    /// Something was lost: the table is compared with the sockets that there are.
    pub(crate) fn repair(&mut self) {
        self.repairs = REPAIRS;
    }

    /// Begins what is due, takes in what is done. `watermark`: every event from before was handed over.
    pub(crate) fn poll(&mut self, watermark: MonoNs, batch: &mut Vec<Observation>) {
        self.take_in();
        if self.arrived.as_ref().is_some_and(|(_, listed)| listed.sweep.end <= watermark)
            && let Some((scope, listed)) = self.arrived.take()
        {
            hand_over(scope, listed, batch);
        }
        if self.under_way.is_none() && self.arrived.is_none() {
            self.begin_next(batch);
        }
    }

    fn take_in(&mut self) {
        let (listed, gone) = match &self.maker {
            Maker::First(first) => match first.try_recv() {
                Ok((listed, namespaces)) => {
                    let plan = Plan { states: States::TIME_WAIT, interval: None, refresh: false };
                    self.maker = Sweeper::start(namespaces, plan)
                        .map_or(Maker::None, |sweeper| Maker::Later(Box::new(sweeper)));
                    (Some(listed), false)
                }
                Err(error) => (None, error == TryRecvError::Disconnected),
            },
            Maker::Later(sweeper) => match sweeper.results().try_recv() {
                Ok(sweep) => (Some(Listed { sweep, holders: Holders::default() }), false),
                Err(error) => (None, error == TryRecvError::Disconnected),
            },
            Maker::None => (None, false),
        };
        if gone {
            self.maker = Maker::None;
        }
        if let (Some(listed), Some(scope)) = (listed, self.under_way) {
            self.under_way = None;
            self.arrived = Some((scope, listed));
        }
    }

    fn begin_next(&mut self, batch: &mut Vec<Observation>) {
        let Maker::Later(sweeper) = &self.maker else { return };
        let now = Instant::now();
        let scope = if self.repairs > 0 {
            DumpScope::Connections
        } else if self.time_wait && now >= self.due {
            DumpScope::TimeWait
        } else {
            return;
        };
        let states = match scope {
            DumpScope::Connections => CONNECTIONS,
            DumpScope::TimeWait => States::TIME_WAIT,
        };
        batch.push(begin(scope));
        if sweeper.request(states) {
            self.under_way = Some(scope);
            match scope {
                DumpScope::Connections => self.repairs -= 1,
                DumpScope::TimeWait => self.due = now + TIME_WAIT_EVERY,
            }
        }
    }
}

fn first_dump(mut namespaces: Namespaces) -> (Listed, Namespaces) {
    let begin = monotonic_now();
    let dumps = namespaces.dump_all(CONNECTIONS);
    let sweep = Sweep {
        begin,
        end: monotonic_now(),
        states: CONNECTIONS,
        requested: true,
        refreshed: Refreshed::default(),
        unreachable: Vec::new(),
        dumps,
    };
    let inodes: HashSet<u64> = rows(&sweep).filter_map(|row| row.inode).collect();
    // Who holds them is worth having and not needed.
    let holders = holders(&inodes).unwrap_or_default();
    (Listed { sweep, holders }, namespaces)
}

fn rows(sweep: &Sweep) -> impl Iterator<Item = &Row> {
    sweep.dumps.iter().flatten().flat_map(|dump| &dump.rows)
}

fn begin(scope: DumpScope) -> Observation {
    Observation::DumpBegin(DumpBegin { at: monotonic_now(), scope })
}

fn hand_over(scope: DumpScope, listed: Listed, batch: &mut Vec<Observation>) {
    let Listed { sweep, holders } = listed;
    let fits = |row: &&Row| match scope {
        DumpScope::Connections => row.kind == SocketKind::Full,
        DumpScope::TimeWait => row.is_mini_socket(),
    };
    batch.extend(rows(&sweep).filter(fits).map(|row| Observation::Socket(Box::new(socket(row, &holders)))));
    let complete =
        sweep.dumps.iter().flatten().filter(|dump| is_complete(dump)).map(|dump| dump.netns).collect();
    batch.push(Observation::DumpEnd(DumpEnd { at: sweep.end, scope, complete }));
}

fn is_complete(dump: &Dump) -> bool {
    !dump.interrupted
}

fn socket(row: &Row, holders: &Holders) -> SocketRow {
    let holder = row.inode.and_then(|inode| holders.of(inode).first().copied());
    SocketRow {
        netns: row.netns,
        family: row.family,
        state: row.state,
        mini: row.is_mini_socket(),
        cookie: row.cookie,
        local_addr: row.local.ip(),
        local_port: finwait_core::Port::new(row.local.port()),
        remote_addr: row.remote.ip(),
        remote_port: finwait_core::Port::new(row.remote.port()),
        inode: row.inode,
        uid: row.uid,
        mark: row.mark,
        cgroup: row.cgroup,
        holder: holder.map(task),
        timer_ns: row.timer.map(|timer| u64::from(timer.expires_ms) * 1_000_000),
    }
}

/// /proc shows processes; which of its threads is no matter.
fn task(holder: Holder) -> Task {
    Task {
        tgid: holder.pid,
        pid: holder.pid,
        comm: holder.comm,
        start_boot_ns: Some(holder.start_boot_ns),
        kthread: None,
        exiting: None,
        exit_signal: None,
    }
}
