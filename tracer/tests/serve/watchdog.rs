//! systemd's watchdog, with a socket in place of systemd.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::served::{LIMIT, Served};

const INTERVAL: Duration = Duration::from_millis(400);

struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Systemd {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path, _directory: directory }
    }

    /// What comes within `time`; `None` where nothing does.
    fn heard(&self, time: Duration) -> Option<String> {
        let mut text = [0; 256];
        self.socket.set_read_timeout(Some(time)).unwrap();
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8(text[..length].to_vec()).unwrap())
    }

    /// finwait that serves what comes on its stdin, of which there is the beginning, under a watchdog that is set by `environment`.
    fn starts(&self, environment: &[(&str, String)]) -> Served {
        let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
        command.args(["serve", "-r", "-", "--web.listen-address", "127.0.0.1:0"]).stdin(Stdio::piped());
        command.env_remove("WATCHDOG_PID").env_remove("WATCHDOG_USEC").env("NOTIFY_SOCKET", &self.path);
        let mut served = Served::begun(command.envs(environment.iter().map(|(name, value)| (name, value))));
        let begin = include_str!("../fixtures/closes.jsonl").lines().next().unwrap();
        writeln!(served.child.stdin.as_mut().unwrap(), "{begin}").unwrap();
        assert!(self.heard(LIMIT).unwrap().contains("READY=1"));
        served
    }

    /// Hears `number` signs of life, none of them late; how long that took.
    fn signs(&self, number: u32) -> Duration {
        let begun = Instant::now();
        for _ in 0..number {
            assert_eq!(self.heard(INTERVAL).as_deref().map(str::trim_end), Some("WATCHDOG=1"));
        }
        begun.elapsed()
    }
}

fn interval() -> (&'static str, String) {
    ("WATCHDOG_USEC", INTERVAL.as_micros().to_string())
}

/// From the loop that waits for more of a recording, and still when it has come to its end.
#[test]
fn two_signs_of_life_come_in_each_interval() {
    let systemd = Systemd::new();
    let mut served = systemd.starts(&[interval()]);
    let eight = systemd.signs(8);
    assert!(eight >= 3 * INTERVAL, "{eight:?} for eight, of which two belong into each interval");
    drop(served.child.stdin.take());
    systemd.signs(4);
    let (status, stderr) = served.end();
    assert_eq!(status.code(), Some(0), "{stderr}");
    let rest: Vec<_> = std::iter::from_fn(|| systemd.heard(INTERVAL)).collect();
    assert_eq!(rest.last().map(|text| text.trim_end()), Some("STOPPING=1"), "{rest:?}");
}

/// Which of the threads stands still is told apart in the unit's own tests.
#[test]
fn a_process_that_stands_still_gives_none_until_it_gets_on() {
    let systemd = Systemd::new();
    let served = systemd.starts(&[interval()]);
    systemd.signs(1);
    let pid = Pid::from_child(&served.child);
    kill_process(pid, Signal::STOP).unwrap();
    // One may have been under way.
    let _ = systemd.heard(INTERVAL / 4);
    assert_eq!(systemd.heard(2 * INTERVAL), None);
    kill_process(pid, Signal::CONT).unwrap();
    systemd.signs(2);
}

#[test]
fn without_a_watchdog_or_with_one_for_another_process_there_are_none() {
    for environment in [vec![], vec![interval(), ("WATCHDOG_PID", "1".to_owned())]] {
        let systemd = Systemd::new();
        let _served = systemd.starts(&environment);
        assert_eq!(systemd.heard(3 * INTERVAL), None, "{environment:?}");
    }
}
