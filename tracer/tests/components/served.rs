//! `finwait serve` as a child, and what it serves.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::program::{get, wait_for};

pub(crate) const FINWAIT: &str = env!("CARGO_BIN_EXE_finwait");

/// Killed when dropped.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    pub(crate) address: SocketAddr,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Served {
    /// Starts it and waits until it observes.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(FINWAIT);
        Self::started(command.args(["serve", "--web.listen-address", "127.0.0.1:0"]).args(arguments))
    }

    /// The same for a command that comes to `finwait serve`.
    pub(crate) fn started(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stderr = BufReader::new(child.stderr.take().context("stderr")?);
        let mut line = String::new();
        stderr.read_line(&mut line)?;
        let address = line.trim_end().rsplit_once("http://").with_context(|| line.clone())?.1.parse()?;
        let served = Self { child, address, stderr };
        wait_for("finwait to be ready", || Ok(get(address, "/-/ready", "").ok()))?;
        Ok(served)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What a scraper that speaks only the oldest format reads.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(get(self.address, "/metrics", "")?)
    }

    /// Ends it in order; what it said at the end.
    pub(crate) fn stop(mut self) -> Result<String> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let mut said = String::new();
        self.stderr.read_to_string(&mut said)?;
        ensure!(self.child.wait()?.success(), "{said}");
        Ok(said)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail only for one that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that was scraped once.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) text: String,
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

impl Metrics {
    fn parse(text: String) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples =
            lines.map(|line| sample(line).with_context(|| line.to_owned())).collect::<Result<_>>()?;
        Ok(Self { text, samples })
    }

    /// What is not 0, buckets left out.
    pub(crate) fn nonzero(&self) -> String {
        let lines = self.text.lines().filter(|line| {
            !line.starts_with('#')
                && !line.contains("_bucket{")
                && !line.ends_with(" 0")
                && !line.ends_with(" 0.0")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Sum of the samples of `name` that have all these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |of: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| of.get(*label).is_some_and(|is| is == value))
        };
        self.samples.iter().filter(|sample| sample.0 == name && has(&sample.1)).map(|sample| sample.2).sum()
    }

    /// Fails unless both ends of all `connections` to `service` were seen, each says of who closed first what the other says, and
    /// neither leaves it open. Gives how many the server closed first, and how many the client did. So many of them at most may
    /// have ended by a reset that the client sent before anybody sent a FIN.
    pub(crate) fn first_closers(
        &self,
        service: (&str, &str),
        connections: u64,
        resets_at_most: u64,
    ) -> (u64, u64) {
        let of = |role| {
            ["local", "peer", "both"]
                .map(|first| self.closed_first_by(&[("role", role), service, ("first_closer", first)]))
        };
        let ([client, server, crossed], accepted) = (of("opened"), of("accepted"));
        assert_eq!(accepted, [server, client, crossed], "the ends contradict each other:\n{}", self.text);
        let neither = |role| self.closed_first_by(&[("role", role), service, ("first_closer", "unknown")]);
        let resets = neither("opened");
        assert_eq!(resets, neither("accepted"), "the ends contradict each other:\n{}", self.text);
        // Others may have been reset after a FIN.
        let sent = [("role", "opened"), service, ("direction", "sent"), ("reason", "unread_data")];
        assert!(self.sum("finwait_resets_total", &sent) as u64 >= resets, "{}", self.text);
        assert!(resets <= resets_at_most, "{}", self.text);
        assert_eq!(client + server + crossed + resets, connections, "{}", self.text);
        for role in ["opened", "accepted"] {
            assert_eq!(self.closes(&[("role", role), service]), connections, "{role}");
        }
        println!(
            "{connections} connections: server first {server}, client first {client}, both {crossed}, {resets} reset"
        );
        (server, client)
    }

    /// Closes of connections with these labels.
    pub(crate) fn closes(&self, labels: &[(&str, &str)]) -> u64 {
        self.sum("finwait_connections_closed_total", labels) as u64
    }

    /// The same by who closed first.
    pub(crate) fn closed_first_by(&self, labels: &[(&str, &str)]) -> u64 {
        self.sum("finwait_closes_by_first_closer_total", labels) as u64
    }

    /// Fails where anything was lost.
    pub(crate) fn assert_whole(&self) {
        assert!(self.sum("finwait_events_received_total", &[]) > 0.0, "{}", self.text);
        assert!(self.sum("finwait_events_lost_total", &[]) == 0.0, "{}", self.text);
        assert!(self.sum("finwait_chain_breaks_total", &[]) == 0.0, "{}", self.text);
    }
}

/// `name{label="value",…} number`; no value here has a comma, a brace or a quotation mark.
fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let pairs = labels.strip_suffix('}')?.split(',').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (label, value) = pair.split_once("=\"")?;
        Some((label.to_owned(), value.strip_suffix('"')?.to_owned()))
    });
    Some((name.to_owned(), pairs.collect::<Option<_>>()?, value.parse().ok()?))
}
