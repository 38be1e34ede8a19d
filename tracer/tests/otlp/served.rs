//! `finwait serve` of a recording: what it shows at /metrics beside what it pushes.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::receiver::{PATIENCE, Receiver};

/// Name with suffix, and labels in the order of their names; `le` is one of them.
pub type Series = (String, BTreeMap<String, String>);

pub struct Served {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Served {
    /// Pushes to `receiver` every second.
    pub fn pushing_to(receiver: &Receiver) -> Self {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
        let mut command = Command::new(env!("CARGO_BIN_EXE_finwait"));
        command.arg("serve").arg("-r").arg(fixture).args(["--web.listen-address", "127.0.0.1:0"]);
        command.args(["--otlp.interval", "1s", "--otlp.header", "x-scope=shown", "--otlp.endpoint"]);
        command.arg(receiver.endpoint()).stdin(Stdio::null()).stderr(Stdio::piped());
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hidden");
        command.env("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=n1");
        let mut child = command.spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim_end().rsplit_once("http://").unwrap_or_else(|| panic!("{line}")).1.to_owned();
        let served = Self { child, stderr, address };
        served.wait_until_read();
        served
    }

    /// The fixture's transitions are fifteen: then all of it is in the numbers.
    fn wait_until_read(&self) {
        let end = Instant::now() + PATIENCE;
        let series = ("finwait_events_received_total".to_owned(), BTreeMap::new());
        while self.metrics().get(&series) != Some(&15.0) {
            assert!(Instant::now() < end);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Everything at /metrics.
    pub fn metrics(&self) -> BTreeMap<Series, f64> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let host = &self.address;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        body.lines().filter(|line| !line.starts_with('#')).map(series).collect()
    }

    /// SIGTERM, then its exit status and what is left on stderr.
    pub fn end(mut self) -> (ExitStatus, String) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap(), text)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// `name{label="value",…} number`; no value of the fixture has a comma, a quote or a brace.
fn series(line: &str) -> (Series, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let labels = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    });
    ((name.to_owned(), labels.collect()), value.parse().unwrap())
}

/// A point's attributes as /metrics has them, by docs/otlp.md read backwards.
pub fn labels(attributes: &Value) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (name, value) in attributes.as_object().unwrap() {
        let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let (label, text) = match name.as_str() {
            "network.transport" => continue,
            "otel.metric.overflow" => {
                labels.insert("role".to_owned(), "other".to_owned());
                ("service_port", "other".to_owned())
            }
            "server.port" => ("service_port", text),
            "error.type" => ("cause", text),
            "service.version" => ("version", text),
            "network.connection.state" => ("state", kernel_state(&text)),
            "network.io.direction" if text == "transmit" => ("direction", "sent".to_owned()),
            "network.io.direction" => ("direction", "received".to_owned()),
            own => (own.strip_prefix("finwait.").unwrap(), text),
        };
        labels.insert(label.to_owned(), text);
    }
    labels
}

fn kernel_state(convention: &str) -> String {
    match convention {
        "fin_wait_1" => "FIN_WAIT1".to_owned(),
        "fin_wait_2" => "FIN_WAIT2".to_owned(),
        "syn_received" => "SYN_RECV".to_owned(),
        other => other.to_uppercase(),
    }
}
