//! What stays in a closing state at the end of a recording or a capture: the same picture as of a look at the running kernel, from
//! the tracker's open connections. Mini-sockets are none of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use finwait_core::observation::{Family, Tier};
use finwait_core::record::{Endpoint, Owner as Process};
use finwait_core::{ClosingConnection, MonoNs, NetNs, Record, SocketKey, Tracker};

use super::age::Age;
use super::gather::{Owner, Picture, StuckSocket, UNKNOWN_NETNS};
use super::{json, table};
use crate::enrich::{CgroupName, Holder};
use crate::sink::{Context, Sink, SinkError, Verdict, utc_of};
use crate::snapshot::{Row, SocketKind};

/// Connections in a closing state that are looked at, of each kind of queue.
const CLOSING: usize = 1_000_000;

/// Shows what is left when the stream is over, and nothing before.
pub struct StuckSink {
    out: Box<dyn Write + Send>,
    json: bool,
    older_ns: u64,
    netns: Option<BTreeSet<NetNs>>,
    context: Context,
    closing: Vec<ClosingConnection>,
    last: MonoNs,
    notes: Vec<String>,
}

impl StuckSink {
    /// On `out`, as JSON lines or a table, those in `netns` (`None`: all) whose states are proven to have lasted `older_ns`.
    #[must_use]
    pub fn new(
        out: Box<dyn Write + Send>,
        json: bool,
        older_ns: u64,
        netns: Option<BTreeSet<NetNs>>,
    ) -> Self {
        Self {
            out,
            json,
            older_ns,
            netns,
            context: Context::default(),
            closing: Vec::new(),
            last: MonoNs(0),
            notes: Vec::new(),
        }
    }

    /// What people should know beside what was written, each a sentence.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The picture at `end`; and of how many connections an end is not known, which it cannot show.
    fn picture(&self, end: MonoNs) -> (Picture, usize) {
        let wanted = |connection: &&ClosingConnection| {
            self.netns.as_ref().is_none_or(|all| connection.netns.is_some_and(|netns| all.contains(&netns)))
        };
        let all: Vec<&ClosingConnection> = self.closing.iter().filter(wanted).collect();
        let captured = self.context.host.as_ref().is_some_and(|host| host.tier == Tier::Capture);
        let known: Vec<StuckSocket> =
            all.iter().filter_map(|connection| stuck(connection, end, captured)).collect();
        let nameless = all.len() - known.len();
        let namespaces: BTreeSet<NetNs> = all.iter().filter_map(|connection| connection.netns).collect();
        let whole = known.len();
        let mut sockets: Vec<StuckSocket> =
            known.into_iter().filter(|socket| socket.age.at_least_ns >= self.older_ns.max(1)).collect();
        sockets.sort_by_key(|socket| {
            (std::cmp::Reverse(socket.age.at_least_ns), socket.row.local, socket.row.remote)
        });
        let picture = Picture {
            begin: end,
            end,
            younger: whole - sockets.len(),
            sockets,
            namespaces: namespaces.len(),
            failures: Vec::new(),
            interrupted: false,
            hidden_processes: None,
        };
        (picture, nameless)
    }
}

impl Sink for StuckSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn record(&mut self, _record: &Record) -> Result<(), SinkError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(SinkError::stdout)
    }

    fn ended(&mut self, tracker: &Tracker) {
        self.last = tracker.now();
        self.closing = tracker.closing(CLOSING);
    }

    fn finish(&mut self, verdict: &Verdict) -> Result<(), SinkError> {
        let end = end_of(&self.context, verdict).max(self.last);
        let (picture, nameless) = self.picture(end);
        if self.json {
            json::write(&mut *self.out, &picture, self.context.clock, &[]).map_err(SinkError::stdout)?;
        } else {
            self.out.write_all(table::table(&picture).as_bytes()).map_err(SinkError::stdout)?;
            self.notes = table::notes(&picture, self.older_ns);
            let time = utc_of(&self.context, end).unwrap_or_else(|| "an unknown time".to_owned());
            self.notes.push(format!("as of {time}, where it ends"));
        }
        if nameless > 0 {
            let text = "connections are closing of which an end is not known: not shown";
            self.notes.push(format!("{nameless} {text}"));
        }
        self.flush()
    }
}

/// The last moment of the stream; watermarks count, so that a quiet end is part of every age.
pub(crate) fn end_of(context: &Context, verdict: &Verdict) -> MonoNs {
    let long = verdict.duration.and_then(|long| u64::try_from(long.as_nanos()).ok()).unwrap_or(0);
    context.since().unwrap_or_default().plus(long)
}

fn stuck(connection: &ClosingConnection, end: MonoNs, captured: bool) -> Option<StuckSocket> {
    let at_least_ns = end.since(connection.seen_since).unwrap_or(0);
    let at_most_ns = connection.since.and_then(|since| end.since(since));
    let cgroup = connection.workload.as_ref().map(|workload| Arc::new(CgroupName::of(&workload.path)));
    Some(StuckSocket {
        row: row(connection, captured)?,
        owner: connection.owner.as_ref().map_or(Owner::NotRecorded, owner),
        cgroup,
        age: Age { at_least_ns, at_most_ns },
    })
}

fn owner(process: &Process) -> Owner {
    let start_boot_ns = process.start_boot_ns.unwrap_or(0);
    Owner::Processes(vec![Holder { pid: process.tgid, comm: process.comm, start_boot_ns }])
}

/// A stream tells of a socket that is open what its last transition showed: who it is, and no more.
fn row(connection: &ClosingConnection, captured: bool) -> Option<Row> {
    let (local, remote) = (end(connection.local)?, end(connection.remote)?);
    let cookie = match connection.conn_id.socket {
        // Of a capture, whose sockets have none, it is a number of the reader's.
        SocketKey::Cookie(cookie) if !captured => Some(cookie),
        SocketKey::Cookie(_) | SocketKey::Address(_) => None,
    };
    Some(Row {
        netns: connection.netns.unwrap_or(UNKNOWN_NETNS),
        family: if local.is_ipv4() { Family::Inet } else { Family::Inet6 },
        local,
        remote,
        state: connection.state,
        kind: SocketKind::Full,
        cookie,
        inode: None,
        uid: None,
        mark: None,
        cgroup: None,
        timer: None,
        retransmits: None,
        unread_bytes: None,
        unacked_bytes: None,
        srtt_us: None,
        unacked_segments: None,
        bytes_acked: None,
        bytes_received: None,
        total_retrans: None,
        last_data_sent_ms: None,
        last_data_recv_ms: None,
        last_ack_recv_ms: None,
    })
}

fn end(end: Endpoint) -> Option<SocketAddr> {
    Some(SocketAddr::new(end.addr?.to_canonical(), end.port?.0))
}
