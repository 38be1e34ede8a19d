//! Prometheus scrapes finwait while connections of known shape are made: what it answers to queries is what was made.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tracer::scenario::check::sides;
use tracer::scenario::{Namespace, ScenarioError, SideName, catalog};
use tracer::stats::histogram::QUANTILE_FACTOR;

use crate::program::{INSTALL, Program, folder, free_address, get, wait_for};
use crate::served::{FINWAIT, Served};
use crate::{alone, dashboard};

/// How long the server sits on each of its CLOSE_WAITs: half of them short, one in ten long.
const DELAYS_MS: [u64; 10] = [2, 3, 5, 8, 13, 21, 34, 55, 89, 233];
const ROUNDS: usize = 6;
const QUANTILES: [f64; 4] = [0.1, 0.5, 0.9, 0.99];

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(file)
}

/// Which kind of histograms Prometheus takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Histograms {
    Native,
    Classic,
}

/// A Prometheus that scrapes one finwait each second.
struct Prometheus {
    address: SocketAddr,
    program: Program,
    _folder: TempDir,
}

impl Prometheus {
    fn start(finwait: SocketAddr, histograms: Histograms) -> Result<Self> {
        let (folder, address) = (folder()?, free_address()?);
        let rules =
            [deploy("recording.yml"), deploy("alerts.yml")].map(|path| format!("{path:?}")).join(", ");
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\nrule_files: [{rules}]\nscrape_configs:\n\
             - job_name: finwait\n  static_configs:\n  - targets: ['{finwait}']\n"
        );
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config)?;
        let mut command = vec![
            "prometheus".to_owned(),
            format!("--config.file={}", path.display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address={address}"),
            "--log.level=warn".to_owned(),
        ];
        if histograms == Histograms::Native {
            command.push("--enable-feature=native-histograms".to_owned());
        }
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let log = folder.path().join("log");
        let program = Program::start(None, &command, &log).context(INSTALL)?;
        let prometheus = Self { address, program, _folder: folder };
        wait_for("Prometheus", || Ok(get(address, "/-/ready", "").ok()))
            .with_context(|| prometheus.program.said())?;
        // It looks for its targets every five seconds.
        wait_for("a first scrape", || Ok(prometheus.value("up")?.filter(|up| *up == 1.0)))?;
        Ok(prometheus)
    }

    fn api(&self, path: &str) -> Result<Value> {
        let answer: Value = serde_json::from_str(&get(self.address, path, "")?)?;
        ensure!(answer["status"] == "success", "{path}: {answer}");
        Ok(answer["data"].clone())
    }

    /// Labels and value of each series that `query` comes to.
    fn query(&self, query: &str) -> Result<Vec<(Value, f64)>> {
        let data = self.api(&format!("/api/v1/query?query={}", escaped(query))).context(query.to_owned())?;
        let series = data["result"].as_array().with_context(|| data.to_string())?;
        let value = |one: &Value| Some((one["metric"].clone(), one["value"][1].as_str()?.parse().ok()?));
        // A native histogram is a series without one value.
        Ok(series.iter().filter_map(value).collect())
    }

    /// The one value that `query` comes to.
    fn value(&self, query: &str) -> Result<Option<f64>> {
        let mut series = self.query(query)?;
        ensure!(series.len() < 2, "{query}: {series:?}");
        Ok(series.pop().map(|(_, value)| value))
    }
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// `promtool` with these arguments, reading `input`.
fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<()> {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().context(INSTALL)?;
    child.stdin.take().context("stdin")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
    Ok(())
}

/// `finwait closes -o json` beside `finwait serve`: the exact durations of the same connections.
struct Closes {
    _child: Killed,
    lines: mpsc::Receiver<Value>,
}

struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // Both fail only for one that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Closes {
    /// Returns when it sees what happens in `namespace`.
    fn of(namespace: &Namespace) -> Result<Self> {
        let mut command = Command::new(FINWAIT);
        command.args(["closes", "-o", "json", "--netns", &namespace.inode().0.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = Killed(command.spawn()?);
        let output = BufReader::new(child.0.stdout.take().context("stdout")?);
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if serde_json::from_str(&line).is_ok_and(|value| send.send(value).is_ok()) {
                    continue;
                }
                return;
            }
        });
        let closes = Self { _child: child, lines };
        wait_for("finwait closes to see connections", || {
            catalog::run(&[catalog::REFUSED], namespace)?;
            Ok(closes.lines.recv_timeout(Duration::from_millis(200)).ok())
        })?;
        while closes.lines.recv_timeout(Duration::from_millis(500)).is_ok() {}
        Ok(closes)
    }

    /// Nanoseconds of the next `count` connections in CLOSE_WAIT, in order of length.
    fn close_waits(&self, count: usize) -> Result<Vec<u64>> {
        let mut durations = Vec::new();
        while durations.len() < count {
            let close = self.lines.recv_timeout(crate::program::PATIENCE).context("closes are missing")?;
            durations.extend(close["dwell_ns"]["CLOSE_WAIT"].as_u64());
        }
        durations.sort_unstable();
        Ok(durations)
    }
}

/// The client closes; the server sits on each connection for as long as [`DELAYS_MS`] says. All of it takes some seconds,
/// so that there are scrapes before, in the middle and after.
fn make_close_waits(namespace: &Namespace) -> Result<usize> {
    let failed = |error: std::io::Error| ScenarioError::unexpected(error.to_string());
    for _ in 0..ROUNDS {
        let listener = namespace.server().run(move || TcpListener::bind("127.0.0.1:7000").map_err(failed))?;
        let served = namespace.server().start(move || {
            for delay in DELAYS_MS {
                let (mut stream, _) = listener.accept().map_err(failed)?;
                stream.read_to_end(&mut Vec::new()).map_err(failed)?;
                std::thread::sleep(Duration::from_millis(delay));
            }
            Ok(())
        });
        for _ in DELAYS_MS {
            namespace.client().run(move || {
                let mut stream = TcpStream::connect("127.0.0.1:7000").map_err(failed)?;
                stream.shutdown(Shutdown::Write).map_err(failed)?;
                stream.read_to_end(&mut Vec::new()).map(drop).map_err(failed)
            })?;
        }
        served.wait()?;
    }
    Ok(ROUNDS * DELAYS_MS.len())
}

#[test]
fn prometheus_answers_with_the_closes_that_were_made() -> Result<()> {
    let _alone = alone();
    let namespace = Namespace::new()?;
    let netns = namespace.inode().0.to_string();
    let served = Served::start(&["--netns", &netns, "--group-by", "role"])?;
    let prometheus = Prometheus::start(served.address, Histograms::Native)?;
    let mut expected = BTreeMap::new();
    for _ in 0..2 {
        let made = catalog::run(catalog::ALL, &namespace)?;
        for (_, side, made) in sides(&made) {
            let role = if side == SideName::Client { "opened" } else { "accepted" };
            let role = made.role.truth().map_or(role, |role| role.name());
            let kind = made.kind.truth().context("every scenario's end is known")?.name();
            *expected.entry((role.to_owned(), kind.to_owned())).or_insert(0) += 1;
        }
        // A scrape between the two.
        std::thread::sleep(Duration::from_millis(1500));
    }
    let total: u64 = expected.values().sum();
    wait_for("Prometheus to have all closes", || {
        let counted = prometheus.value("sum(finwait_connections_closed_total)")?;
        Ok(counted.filter(|counted| *counted as u64 >= total))
    })?;
    let by_kind = prometheus.query("sum by (role, kind) (finwait_connections_closed_total) > 0")?;
    let label = |labels: &Value, name: &str| labels[name].as_str().unwrap_or_default().to_owned();
    let counted: BTreeMap<_, _> = by_kind
        .iter()
        .map(|(labels, count)| ((label(labels, "role"), label(labels, "kind")), *count as u64))
        .collect();
    assert_eq!(counted, expected);
    assert_eq!(prometheus.value("sum(finwait_events_lost_total)")?, Some(0.0));
    // What a rate sees: the second round at least, as big as the first.
    let closed = "finwait_connections_closed_total[1m]";
    let grown = prometheus.value(&format!("sum(max_over_time({closed}) - min_over_time({closed}))"))?;
    assert!(grown.is_some_and(|grown| grown as u64 >= total / 2), "{grown:?} of {total}");
    served.stop().map(drop)
}

/// Both take a quantile from within the bucket in which it lies; so it is off by a bucket's width at most. Prometheus
/// interpolates there: by the logarithm from 3.0 on, before that as if durations were spread evenly. Its result is anywhere in the
/// bucket, where finwait's own takes the middle and is off by half as much, [`QUANTILE_FACTOR`].
fn quantiles_agree(histograms: Histograms, width: f64) -> Result<()> {
    let _alone = alone();
    let namespace = Namespace::new()?;
    let netns = namespace.inode().0.to_string();
    let served = Served::start(&["--netns", &netns, "--group-by", "role"])?;
    let prometheus = Prometheus::start(served.address, histograms)?;
    let closes = Closes::of(&namespace)?;
    let count = make_close_waits(&namespace)?;
    let exact = closes.close_waits(count)?;
    let (metric, by) = match histograms {
        Histograms::Native => ("finwait_state_duration_seconds", ""),
        Histograms::Classic => ("finwait_state_duration_seconds_bucket", "by (le) "),
    };
    let all = format!("sum {by}({metric}{{state=\"CLOSE_WAIT\"}})");
    let counted = match histograms {
        Histograms::Native => format!("histogram_count({all})"),
        Histograms::Classic => format!("sum({metric}{{state=\"CLOSE_WAIT\", le=\"+Inf\"}})"),
    };
    wait_for("Prometheus to have all durations", || {
        let counted = prometheus.value(&counted)?;
        Ok(counted.filter(|counted| *counted as usize >= count))
    })?;
    assert_eq!(prometheus.value(&counted)?, Some(count as f64));
    // The two finwaits read the clock one after the other.
    let slack = 20e-6;
    for q in QUANTILES {
        let rank = (q * count as f64).ceil() as usize;
        let exact = exact[rank - 1] as f64 / 1e9;
        let said = prometheus.value(&format!("histogram_quantile({q}, {all})"))?.context("no quantile")?;
        println!(
            "{histograms:?}: {q}: {said:.6} s, exactly {exact:.6} s: {:+.2} %",
            (said / exact - 1.0) * 100.0
        );
        let bounds = (exact - slack) / width..=(exact + slack) * width;
        assert!(bounds.contains(&said), "{q}: {said} is not within {bounds:?}");
    }
    everything_is_answered(&prometheus)?;
    served.stop().map(drop)
}

#[test]
fn quantiles_of_native_histograms_agree_with_the_exact_ones() -> Result<()> {
    quantiles_agree(Histograms::Native, QUANTILE_FACTOR * QUANTILE_FACTOR)
}

#[test]
fn quantiles_of_classic_buckets_agree_within_their_width() -> Result<()> {
    quantiles_agree(Histograms::Classic, 4.0)
}

/// What the dashboard and the rules ask is answered, and what there must be something of is not empty.
fn everything_is_answered(prometheus: &Prometheus) -> Result<()> {
    let mut asked = dashboard::expressions()?;
    let groups = prometheus.api("/api/v1/rules")?["groups"].clone();
    for group in groups.as_array().context("no rules")? {
        for rule in group["rules"].as_array().context("no rules")? {
            let text = rule["query"].as_str().context("a rule without a query")?.to_owned();
            asked.push(dashboard::Expression { place: rule["name"].to_string(), text });
        }
    }
    assert!(asked.len() > 50, "{}", asked.len());
    for expression in &asked {
        prometheus.query(&expression.text).with_context(|| expression.place.clone())?;
    }
    Ok(())
}

#[test]
fn promtool_finds_nothing_wrong() -> Result<()> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    let served = Served::start(&["-r", fixture.to_str().context("the folder's name is not text")?])?;
    let here = deploy("");
    wait_for("the recording to be read", || {
        let metrics = served.metrics()?;
        let all = metrics.closes(&[]) >= 4;
        all.then(|| promtool(&["check", "metrics"], &here, &metrics.text)).transpose()
    })?;
    promtool(&["check", "rules", "recording.yml", "alerts.yml"], &here, "")?;
    promtool(&["test", "rules", "recording.test.yml", "alerts.test.yml"], &here, "")?;
    promtool(&["check", "config", "scrape.yml"], &here, "")?;
    let Err(error) = promtool(
        &["check", "rules", "/dev/stdin"],
        &here,
        "groups: [{name: a, rules: [{record: b, expr: 'c('}]}]",
    ) else {
        bail!("promtool accepts anything")
    };
    ensure!(error.to_string().contains("parse error"), "{error}");
    Ok(())
}
