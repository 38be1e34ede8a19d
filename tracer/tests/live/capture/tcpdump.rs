//! tcpdump in a network namespace of the test's.
//!
//! A process that is being started holds copies of all open descriptors for a moment, which would delay a close. So one shell is
//! started between two scenes, once, and that starts every tcpdump. It ends them when the tests' process is gone.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tracer::scenario::stage::until;
use tracer::scenario::{Actor, Context};

use super::folder;
use crate::support::spawn;

/// A namespace and a file a line; the answer is the process. To the port DISCARD goes what marks the end.
const STARTER: &str = r#"
while read -r namespace file; do
    nsenter --net="$namespace" tcpdump -i any -s 128 --immediate-mode --time-stamp-precision=nano \
        -U -Z root -n -w "$file" 'tcp or udp dst port 9' 2> "$file.log" &
    echo $!
done
kill $(jobs -p)
"#;
/// What tcpdump says when nothing is missed any more.
const READY: &str = "listening on";
const DISCARD: u16 = 9;
const END: &[u8] = b"the scene is over";

/// The shell's ends of its pipes.
struct Starter {
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

static SHELL: Mutex<Option<Starter>> = Mutex::new(None);

/// A capture under way.
#[derive(Debug)]
pub(crate) struct Tcpdump {
    process: Pid,
    path: PathBuf,
}

impl Tcpdump {
    /// Captures in the network namespace of `actor` from now on; `None` where captures are not asked for. Not to be called while
    /// the caller keeps others from starting processes.
    pub(crate) fn start(actor: &Actor) -> Option<Self> {
        let path = folder()?.join(format!("under-way-{}.pcap", actor.owner().pid.0));
        let process = ask(actor, &path);
        let tcpdump = Self { process, path };
        let log = tcpdump.path.with_extension("pcap.log");
        let ready = until("tcpdump to listen", || {
            Ok(fs::read_to_string(&log).unwrap_or_default().contains(READY).then_some(()))
        });
        assert!(ready.is_ok(), "{ready:?}: {}", fs::read_to_string(&log).unwrap_or_default());
        Some(tcpdump)
    }

    /// Ends the capture once it holds all that passed; gives its file, which is then called `name`.
    pub(crate) fn stop(self, actor: &Actor, name: &str) -> PathBuf {
        actor
            .run(|| {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
                socket.send_to(END, (Ipv4Addr::LOCALHOST, DISCARD)).context("marking the end")
            })
            .expect("mark");
        until("the capture to be whole", || {
            let file = fs::read(&self.path)?;
            Ok(file.windows(END.len()).any(|bytes| bytes == END).then_some(()))
        })
        .expect("capture");
        let path = self.path.with_file_name(format!("{name}.pcap"));
        fs::rename(&self.path, &path).expect("rename");
        path
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.process, Signal::TERM);
        let _ = fs::remove_file(self.path.with_extension("pcap.log"));
        let _ = fs::remove_file(&self.path);
    }
}

fn ask(actor: &Actor, path: &Path) -> Pid {
    let mut shell = SHELL.lock().unwrap_or_else(PoisonError::into_inner);
    let shell = shell.get_or_insert_with(Starter::new);
    let owner = actor.owner();
    let namespace = format!("/proc/{}/task/{}/ns/net", owner.tgid.0, owner.pid.0);
    writeln!(shell.requests, "{namespace} {}", path.display()).expect("ask the shell");
    let mut answer = String::new();
    shell.answers.read_line(&mut answer).expect("the shell's answer");
    Pid::from_raw(answer.trim().parse().expect("a process")).expect("a process")
}

impl Starter {
    fn new() -> Self {
        let mut command = Command::new("sh");
        let mut shell = spawn(
            command.args(["-c", STARTER]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()),
        );
        let requests = shell.stdin.take().expect("stdin");
        let answers = BufReader::new(shell.stdout.take().expect("stdout"));
        Self { requests, answers }
    }
}
