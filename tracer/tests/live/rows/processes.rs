//! Closes that no application asked for by close(): a process that ends or is killed, a descriptor that others share.
//! The processes are small programs that get the socket as one of their standard descriptors.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use finwait_core::Pid;
use finwait_core::TcpState::{Close, Established};
use finwait_core::observation::Comm;
use finwait_core::record::{LocalCause, Owner, ResetCause};
use tracer::scenario::sides::{ACTIVE, PASSIVE, client_side, reset_received, reset_sent, server_side};
use tracer::scenario::stage::{Pair, answer_end, until};
use tracer::scenario::{Context, Fact, Result, ScenarioError};

use super::{exchange, orderly, single};
use crate::support::{Run, alone_on_loopback};

/// A process that holds a socket. Dropped, it is killed.
struct Holder {
    child: Child,
    comm: &'static str,
}

impl Holder {
    /// `sleep`, which never looks at the socket that is its standard input.
    fn sleeping(socket: &TcpStream) -> Result<Self> {
        let socket = OwnedFd::from(socket.try_clone()?);
        let mut command = Command::new("sleep");
        Self::start(command.arg("60").stdin(socket), "sleep")
    }

    /// A shell that ends when its standard input does, and holds the socket as its standard output meanwhile.
    fn reading(socket: &TcpStream) -> Result<Self> {
        let socket = OwnedFd::from(socket.try_clone()?);
        let mut command = Command::new("sh");
        Self::start(command.args(["-c", "read line"]).stdin(Stdio::piped()).stdout(socket), "sh")
    }

    /// Started, and in its own program: until then it would hold copies of all that this process has open.
    fn start(command: &mut Command, comm: &'static str) -> Result<Self> {
        let child = command.stderr(Stdio::null()).spawn().context("starting a process")?;
        let holder = Self { child, comm };
        let path = format!("/proc/{}/comm", holder.child.id());
        until("a program to run", || {
            let name = std::fs::read_to_string(&path).context(&path)?;
            Ok((name.trim_end() == comm).then_some(()))
        })?;
        Ok(holder)
    }

    /// The process as the kernel names it.
    fn owner(&self) -> Owner {
        let pid = Pid(self.child.id());
        Owner { tgid: pid, pid, comm: Comm::from_text(self.comm), start_boot_ns: None }
    }

    /// SIGKILL, and gone.
    fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("waiting for a process").map(drop)
    }

    /// Lets it end by itself.
    fn let_end(&mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait().context("waiting for a process")?;
        // `read` fails at the end of its input; only a signal would be another way to end.
        status.code().map(drop).ok_or_else(|| ScenarioError::unexpected(format!("{status}")))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The client's socket belongs to another process alone, which `ends`; the server answers at once.
fn ended_by(
    name: &'static str,
    start: fn(&TcpStream) -> Result<Holder>,
    end: fn(&mut Holder) -> Result<()>,
    cause: LocalCause,
) -> Run {
    alone_on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let mut holder = start(&client)?;
        drop(client);
        let answer = answer_end(stage.server(), server);
        end(&mut holder)?;
        answer.wait()?;
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
        orderly(true).describe(stage, &mut mine, &mut theirs);
        mine.closer = Fact::Shown(holder.owner());
        mine.cause = Fact::True(cause);
        stage.single(name, listening, (local, remote), (mine, theirs))
    })
}

#[test]
fn sigkill_with_an_empty_queue_closes_like_close() {
    let run = ended_by("SIGKILL", Holder::sleeping, Holder::kill, LocalCause::ProcessKilled);
    let client = run.assert_whole().client(0);
    let (opener, closer) = (client.opener.value().expect("opener"), client.closer.value().expect("closer"));
    assert_ne!(opener.tgid, closer.tgid);
    assert!(client.exit_signal.is_none_or(|signal| signal == 9), "{:?}", client.exit_signal);
}

#[test]
fn process_exit_without_close() {
    let run = ended_by("exit", Holder::reading, Holder::let_end, LocalCause::ProcessExit);
    let client = run.assert_whole().client(0);
    let (opener, closer) = (client.opener.value().expect("opener"), client.closer.value().expect("closer"));
    assert_ne!(opener.tgid, closer.tgid);
}

#[test]
fn sigkill_with_unread_data_resets() {
    let run = alone_on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let mut holder = Holder::sleeping(&client)?;
        (&server).write_all(b"0123456789")?;
        let mut seen = [0; 10];
        until("data to leave unread", || Ok((client.peek(&mut seen)? == 10).then_some(())))?;
        drop(client);
        holder.kill()?;
        stage.settle(local, remote)?;
        stage.server().close(server)?;
        let mut mine = reset_sent(client_side(stage, &[Close]), holder.owner(), ResetCause::UnreadData, 10);
        mine.cause = Fact::True(LocalCause::ProcessKilled);
        let theirs = reset_received(server_side(&[Close]));
        single(stage, "SIGKILL with unread data", listening, (local, remote), (mine, theirs))
    });
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.error.value(), server.error.value()), (Some(&0), Some(&104)));
}

#[test]
fn a_descriptor_that_two_processes_share_closes_with_the_last() {
    let run = alone_on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let mut holder = Holder::sleeping(&client)?;
        stage.client().close(client)?;
        let open = stage.rows()?.iter().any(|row| (row.local, row.state) == (local, Established));
        if !open {
            return Err(ScenarioError::unexpected("closed although another process holds the socket"));
        }
        let answer = answer_end(stage.server(), server);
        holder.kill()?;
        answer.wait()?;
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
        orderly(true).describe(stage, &mut mine, &mut theirs);
        mine.closer = Fact::Shown(holder.owner());
        mine.cause = Fact::True(LocalCause::ProcessKilled);
        stage.single("shared descriptor", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
}

/// The one that accepted is not the one that closes.
#[test]
fn an_accepted_socket_handed_to_another_process_is_closed_by_that_one() {
    let run = alone_on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let mut holder = Holder::sleeping(&server)?;
        stage.server().close(server)?;
        let answer = answer_end(stage.client(), client);
        holder.kill()?;
        answer.wait()?;
        let (mut mine, mut theirs) = (client_side(stage, &PASSIVE), server_side(&ACTIVE));
        orderly(false).describe(stage, &mut mine, &mut theirs);
        theirs.closer = Fact::Shown(holder.owner());
        theirs.cause = Fact::True(LocalCause::ProcessKilled);
        stage.single("accepted, handed on", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
}
