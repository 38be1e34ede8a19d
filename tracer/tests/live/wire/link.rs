//! Two hosts and the wire between them: each host is a network namespace with a TUN device, and a thread carries the
//! packets over. A policy says of every TCP segment whether it is passed on, and when.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracer::scenario::stage::{Stage, until};
use tracer::scenario::{Context, Namespace, Result, ScenarioError};

use super::segment::Segment;
use super::tun;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// Which host a segment goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Client,
    Server,
}

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Drop,
    /// Passed on so much later
    Delay(Duration),
    /// Passed on when [`Link::release`] says so
    Hold,
}

/// A segment and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) toward: Toward,
    pub(crate) segment: Segment,
    pub(crate) fate: Fate,
}

type Policy = Box<dyn FnMut(&Segment, Toward) -> Fate + Send>;

/// A packet that waits.
struct Waiting {
    due: Instant,
    toward: Toward,
    packet: Vec<u8>,
}

struct State {
    policy: Policy,
    log: Vec<Judged>,
    delayed: VecDeque<Waiting>,
    held: Vec<(Toward, Vec<u8>)>,
}

struct Shared {
    state: Mutex<State>,
    client: File,
    server: File,
    stop: OwnedFd,
}

/// See the module. Dropped, the thread ends and the devices are gone.
pub(crate) struct Link {
    near: Namespace,
    far: Namespace,
    shared: Arc<Shared>,
    carrier: Option<JoinHandle<Result<()>>>,
}

impl Link {
    /// Two hosts and a link that passes everything on.
    pub(crate) fn new() -> Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        let state = State {
            policy: Box::new(|_, _| Fate::Pass),
            log: Vec::new(),
            delayed: VecDeque::new(),
            held: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            client: near.client().run(|| tun::make(CLIENT))?,
            server: far.server().run(|| tun::make(SERVER))?,
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
        });
        let theirs = Arc::clone(&shared);
        let carrier =
            thread::Builder::new().name("link".into()).spawn(move || theirs.carry()).context("link")?;
        Ok(Self { near, far, shared, carrier: Some(carrier) })
    }

    /// The client's host.
    pub(crate) fn near(&self) -> &Namespace {
        &self.near
    }

    /// The server's host.
    pub(crate) fn far(&self) -> &Namespace {
        &self.far
    }

    /// The stage whose client connects from one host to the server on the other.
    pub(crate) fn stage(&self) -> Stage<'_> {
        Stage::between(self.near.client(), self.far.server(), IpAddr::V4(SERVER))
    }

    /// From now on `policy` decides; what waits goes on waiting.
    pub(crate) fn policy(&self, policy: impl FnMut(&Segment, Toward) -> Fate + Send + 'static) {
        self.shared.state().policy = Box::new(policy);
    }

    /// From now on every segment that `which` picks has this `fate`, every other one is passed on.
    pub(crate) fn every(&self, fate: Fate, which: impl Fn(&Segment, Toward) -> bool + Send + 'static) {
        self.policy(move |segment, toward| if which(segment, toward) { fate } else { Fate::Pass });
    }

    /// The same for the first `count` of them.
    pub(crate) fn first(
        &self,
        mut count: usize,
        fate: Fate,
        which: impl Fn(&Segment, Toward) -> bool + Send + 'static,
    ) {
        self.policy(move |segment, toward| {
            if count > 0 && which(segment, toward) {
                count -= 1;
                fate
            } else {
                Fate::Pass
            }
        });
    }

    /// Loses nothing and delays nothing any more.
    pub(crate) fn heal(&self) {
        self.policy(|_, _| Fate::Pass);
    }

    /// Passes on what was held, before any answer to it.
    pub(crate) fn release(&self) -> Result<()> {
        let mut state = self.shared.state();
        let held = core::mem::take(&mut state.held);
        held.iter().try_for_each(|(toward, packet)| self.shared.send(*toward, packet))
    }

    /// Every segment so far, and what became of it.
    pub(crate) fn log(&self) -> Vec<Judged> {
        self.shared.state().log.clone()
    }

    /// Waits until `count` segments of the log satisfy `which`.
    pub(crate) fn wait_for(&self, what: &str, count: usize, which: impl Fn(&Judged) -> bool) -> Result<()> {
        until(what, || {
            let found = self.shared.state().log.iter().filter(|judged| which(judged)).count();
            Ok((found >= count).then_some(()))
        })
    }

    /// Waits until `count` segments were dropped or held.
    pub(crate) fn wait_kept(&self, count: usize) -> Result<()> {
        self.wait_for("a segment to be kept back", count, |judged| {
            matches!(judged.fate, Fate::Drop | Fate::Hold)
        })
    }

    /// Waits until both hosts have acknowledged all that came to them.
    pub(crate) fn wait_acknowledged(&self) -> Result<()> {
        let behind = |log: &[Judged], toward: Toward| {
            let sent = log.iter().rev().filter(|judged| judged.toward == toward);
            let last = sent.map(|judged| judged.segment).find(|segment| segment.end_seq() != segment.seq);
            let mut back = log.iter().filter(|judged| judged.toward != toward);
            last.is_some_and(|last| !back.any(|judged| judged.segment.covers(last.end_seq())))
        };
        until("everything to be acknowledged", || {
            let state = self.shared.state();
            let any = [Toward::Client, Toward::Server].into_iter().any(|toward| behind(&state.log, toward));
            Ok((!any).then_some(()))
        })
    }

    /// Sends a reset `from` → `to` with the sequence number that `to` expects, as an attacker or a middlebox would.
    pub(crate) fn inject_reset(&self, from: SocketAddr, to: SocketAddr) -> Result<()> {
        let toward = if to.ip() == IpAddr::V4(SERVER) { Toward::Server } else { Toward::Client };
        let expected = {
            let state = self.shared.state();
            let mut backwards = state.log.iter().rev();
            let last = backwards.find(|judged| (judged.segment.from, judged.segment.to) == (to, from));
            last.map(|judged| judged.segment.ack).context("nothing was sent to answer with a reset")?
        };
        let (IpAddr::V4(source), IpAddr::V4(destination)) = (from.ip(), to.ip()) else {
            return Err(ScenarioError::unexpected("a reset between other addresses than IPv4"));
        };
        let mut packet = Vec::new();
        etherparse::PacketBuilder::ipv4(source.octets(), destination.octets(), 64)
            .tcp(from.port(), to.port(), expected, 0)
            .rst()
            .write(&mut packet, &[])
            .map_err(|error| ScenarioError::unexpected(error.to_string()))?;
        self.shared.send(toward, &packet)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // An eventfd takes eight bytes; the thread ends on it, or has ended by itself.
        let _ = rustix::io::write(&self.shared.stop, &1u64.to_ne_bytes());
        let Some(ended) = self.carrier.take().map(JoinHandle::join) else { return };
        if !thread::panicking() {
            ended.expect("the link panicked").expect("the link broke");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until told to stop.
    fn carry(&self) -> Result<()> {
        loop {
            let due = self.send_due()?;
            let wait = due.map(|due| {
                let wait = due.saturating_duration_since(Instant::now());
                Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) }
            });
            let watched = [self.client.as_fd(), self.server.as_fd(), self.stop.as_fd()];
            let mut fds = watched.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            match poll(&mut fds, wait.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if !fds[2].revents().is_empty() {
                return Ok(());
            }
            self.take(&self.client, Toward::Server)?;
            self.take(&self.server, Toward::Client)?;
        }
    }

    /// Judges what a host has sent.
    fn take(&self, mut from: &File, toward: Toward) -> Result<()> {
        let mut buffer = vec![0; 65536];
        loop {
            let length = match from.read(&mut buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("reading from a TUN device"),
            };
            let packet = buffer.get(..length).context("a packet longer than itself")?;
            // Neighbour discovery and the like: not ours to carry.
            let Some(segment) = Segment::parse(packet) else { continue };
            self.judge(&segment, toward, packet)?;
        }
    }

    fn judge(&self, segment: &Segment, toward: Toward, packet: &[u8]) -> Result<()> {
        let mut state = self.state();
        let fate = (state.policy)(segment, toward);
        state.log.push(Judged { toward, segment: *segment, fate });
        match fate {
            Fate::Pass => self.send(toward, packet)?,
            Fate::Drop => {}
            Fate::Delay(by) => {
                let due = Instant::now() + by;
                state.delayed.push_back(Waiting { due, toward, packet: packet.to_vec() });
            }
            Fate::Hold => state.held.push((toward, packet.to_vec())),
        }
        Ok(())
    }

    /// Sends what has waited long enough; says when the next one has.
    fn send_due(&self) -> Result<Option<Instant>> {
        let mut state = self.state();
        let now = Instant::now();
        let (due, later): (VecDeque<_>, _) = state.delayed.drain(..).partition(|waiting| waiting.due <= now);
        state.delayed = later;
        for waiting in due {
            self.send(waiting.toward, &waiting.packet)?;
        }
        Ok(state.delayed.iter().map(|waiting| waiting.due).min())
    }

    fn send(&self, toward: Toward, packet: &[u8]) -> Result<()> {
        let mut device = match toward {
            Toward::Client => &self.client,
            Toward::Server => &self.server,
        };
        device.write_all(packet).context("writing to a TUN device")
    }
}
