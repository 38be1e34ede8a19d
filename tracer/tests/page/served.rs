//! A running `finwait serve`, live or of a recording.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tracer::scenario::Namespace;

use crate::LIMIT;

const FINWAIT: &str = env!("CARGO_BIN_EXE_finwait");
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Dropped, it is killed.
pub(crate) struct Served {
    child: Child,
    address: SocketAddr,
}

impl Served {
    /// Observes what happens in `namespace`.
    pub(crate) fn live(namespace: &Namespace) -> Self {
        Self::start(free_address(), &["--netns", &namespace.inode().0.to_string()])
    }

    /// Serves a recording, when all of it was read.
    pub(crate) fn recording(file: &Path) -> Self {
        let served = Self::start(free_address(), &["-r", file.to_str().expect("a name")]);
        served.wait_for("the recording to be read", "/api/v1/closes?limit=1", |body| {
            body.contains("finwait.close/1")
        });
        served
    }

    /// The same again at the same address, after its end.
    pub(crate) fn live_again(namespace: &Namespace, address: SocketAddr) -> Self {
        Self::start(address, &["--netns", &namespace.inode().0.to_string()])
    }

    fn start(address: SocketAddr, arguments: &[&str]) -> Self {
        let child = Command::new(FINWAIT)
            .args(["serve", "--web.listen-address", &address.to_string()])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("start finwait");
        let served = Self { child, address };
        served.wait_for("finwait to be ready", "/-/ready", |_| true);
        served
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn wait_for(&self, what: &str, path: &str, good: impl Fn(&str) -> bool) {
        let end = Instant::now() + LIMIT;
        while !get(self.address, path).is_some_and(|body| good(&body)) {
            assert!(Instant::now() < end, "waited for {what}");
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Ends it as systemd would, and waits.
    pub(crate) fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("kill");
        self.child.wait().expect("its end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody has.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port")
}

/// The body of a successful answer.
fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(LIMIT)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}
