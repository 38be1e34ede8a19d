//! A `finwait serve` to be asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Longer than anything here takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A running `finwait serve`; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    stderr: BufReader<ChildStderr>,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// Serves a fixture at a port of the system's choice.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::told(arguments, None)
    }

    /// The same, with systemd at the socket `notify`.
    pub(crate) fn told(arguments: &[&str], notify: Option<&Path>) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
        let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
        command.arg("serve").arg("-r").arg(fixture).args(["--web.listen-address", "127.0.0.1:0"]);
        command.args(arguments).stdin(Stdio::null());
        match notify {
            Some(path) => command.env("NOTIFY_SOCKET", path),
            None => command.env_remove("NOTIFY_SOCKET"),
        };
        let served = Self::begun(&mut command);
        served.wait_until_ready();
        served
    }

    /// One that listens, and may not have read anything yet.
    pub(crate) fn begun(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address =
            line.trim_end().rsplit_once("http://").unwrap_or_else(|| panic!("{line}")).1.parse().unwrap();
        Self { child, stderr, address }
    }

    /// Until the recording is read and all four closes are told.
    pub(crate) fn wait_until_ready(&self) {
        let end = Instant::now() + LIMIT;
        while self.closes() != 4 {
            assert!(Instant::now() < end, "{}", self.get("/metrics", "").body);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn closes(&self) -> u64 {
        let metrics = self.get("/metrics", "").body;
        let closes = metrics.lines().filter(|line| line.starts_with("finwait_connections_closed_total{"));
        closes.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }

    pub(crate) fn get(&self, path: &str, headers: &str) -> Answer {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.address
        ))
    }

    pub(crate) fn send(&self, request: &str) -> Answer {
        let (head, body) = self.exchange(request);
        Answer { head, body: String::from_utf8(body).unwrap() }
    }

    /// The head in lower case, and the body as it came.
    pub(crate) fn exchange(&self, request: &str) -> (String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        // Refused before all was read, the rest of the request makes the kernel reset the connection.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let body = bytes.split_off(end.map_or(bytes.len(), |end| end + 4));
        bytes.truncate(end.unwrap_or(bytes.len()));
        (String::from_utf8(bytes).unwrap().to_ascii_lowercase(), body)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// SIGTERM, then its exit status and what is left on stderr.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its head in lower case, and its body.
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or("none")
    }

    /// The value of the sample with exactly this name and these labels.
    pub(crate) fn sample(&self, name: &str) -> &str {
        let value = self.body.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} in\n{}", self.body))
    }
}

impl Served {
    /// The JSON at `path` of the API.
    pub(crate) fn api(&self, path: &str) -> Value {
        let answer = self.get(&format!("/api/v1/{path}"), "");
        assert_eq!(answer.status(), "200", "{path}: {}", answer.body);
        assert!(answer.head.contains("content-type: application/json"), "{}", answer.head);
        serde_json::from_str(&answer.body).unwrap()
    }

    /// The closes that fit `query`, by kind, newest first.
    pub(crate) fn kinds(&self, query: &str) -> Vec<String> {
        let closes = self.api(&format!("closes?{query}"));
        let closes = closes["closes"].as_array().unwrap().iter();
        closes.map(|close| close["kind"].as_str().unwrap().to_owned()).collect()
    }
}

/// Exit status and stderr of a `finwait serve` that ends by itself.
pub(crate) fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
    let output = command.arg("serve").args(arguments).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}
