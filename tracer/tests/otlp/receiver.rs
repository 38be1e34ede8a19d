//! Runs receiver.py in a process of its own and reads what it got.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver as Lines};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Receiver {
    child: Child,
    pub port: u64,
    lines: Lines<Value>,
}

impl Receiver {
    pub fn start(arguments: &[&str]) -> Self {
        let python = python();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/otlp/receiver.py");
        let mut command = Command::new(&python);
        command.arg(script).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{}: {error}; `cargo xtask components` installs it", python.display())
        });
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if send.send(serde_json::from_str(&line).unwrap()).is_err() {
                    return;
                }
            }
        });
        let mut receiver = Self { child, port: 0, lines };
        receiver.port = receiver.next()["port"].as_u64().unwrap();
        receiver
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next request, whatever it was answered.
    pub fn next(&self) -> Value {
        self.lines.recv_timeout(PATIENCE).unwrap()
    }

    /// The next request that it took: its one scope.
    pub fn next_scope(&self) -> Value {
        scope(self.next())
    }

    /// Scopes of the requests that it took before it answered the last one.
    pub fn rest(&self) -> Vec<Value> {
        // Nobody sends any more: what it printed is on its way through the pipe.
        std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_secs(1)).ok()).map(scope).collect()
    }
}

fn scope(mut request: Value) -> Value {
    assert_eq!(request["status"], 200, "{request}");
    let scopes = request["scopes"].as_array_mut().unwrap();
    assert_eq!(scopes.len(), 1);
    scopes.remove(0)
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn python() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/otlp-receiver/bin/python3")
}
