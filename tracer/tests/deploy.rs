//! What `deploy/` and `docs/patterns.md` ask for is what finwait exports. Whether Prometheus agrees is for `cargo xtask components`.
#![expect(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use finwait_core::{MonoNs, Tracker, TrackerConfig};
use serde_json::Value;
use tracer::sink::{Context, Sink};
use tracer::source::{FileSource, Polled, Source};
use tracer::stats::family::{Definition, Family, Kind};
use tracer::stats::{Aggregator, Dimension, Grouping, ProcessFacts, catalogue};

const RECORDING: &str = include_str!("../../deploy/prometheus/recording.yml");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yml");
const ALERT_TESTS: &str = include_str!("../../deploy/prometheus/alerts.test.yml");
const RECORDING_TESTS: &str = include_str!("../../deploy/prometheus/recording.test.yml");
const DASHBOARD: &str = include_str!("../../deploy/grafana/finwait.json");
const PATTERNS: &str = include_str!("../../docs/patterns.md");
const UNIT: &str = include_str!("../../deploy/systemd/finwait.service");

/// Labels that Prometheus itself gives, and that of a classic bucket.
const OF_PROMETHEUS: [&str; 3] = ["job", "instance", "le"];
const DIMENSIONS: [Dimension; 7] = [
    Dimension::Role,
    Dimension::Service,
    Dimension::Process,
    Dimension::Container,
    Dimension::Unit,
    Dimension::Peer,
    Dimension::Netns,
];

/// A metric's name in a text, and what its braces ask of its labels.
#[derive(Debug)]
struct Use {
    name: String,
    /// Label and the words that it may have; none where a variable decides
    matchers: Vec<(String, Vec<String>)>,
}

/// Every name in `text` that is a metric's, or the name of a recording rule.
fn uses(text: &str) -> Vec<Use> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut uses = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_part) {
        let end = rest[start..].find(|c| !is_part(c)).map_or(rest.len(), |length| start + length);
        let name = &rest[start..end];
        rest = &rest[end..];
        let recorded = name.contains(":finwait_");
        if recorded || name.starts_with("finwait_") || name.starts_with("process_") {
            let braces = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let matchers = braces.map(|(inner, _)| matchers(inner)).unwrap_or_default();
            uses.push(Use { name: name.to_owned(), matchers });
        }
    }
    uses
}

/// `state=~"A|B", role="opened"`
fn matchers(inner: &str) -> Vec<(String, Vec<String>)> {
    let mut matchers = Vec::new();
    for part in inner.split("\", ").filter(|part| !part.is_empty()) {
        let (label, words) = part.split_once('=').unwrap();
        let words = words.trim_start_matches(['~', ' ']).trim_matches('"');
        let open = words.contains(['$', '.', '*', '+']);
        let words = if open { Vec::new() } else { words.split('|').map(str::to_owned).collect() };
        matchers.push((label.trim_end_matches('!').to_owned(), words));
    }
    matchers
}

/// Every expression of the dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dashboard];
    while let Some(value) = todo.pop() {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("expr" | "query", Value::String(text)) => found.push(text.clone()),
                        _ => todo.push(value),
                    }
                }
            }
            Value::Array(values) => todo.extend(values),
            _ => {}
        }
    }
    found
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).unwrap()
}

/// The texts that ask for metrics, comments left out.
fn askers() -> Vec<(&'static str, String)> {
    let code = |yaml: &str| {
        let lines = yaml.lines().filter(|line| !line.trim_start().starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    };
    vec![
        ("recording.yml", code(RECORDING)),
        ("alerts.yml", code(ALERTS)),
        ("recording.test.yml", code(RECORDING_TESTS)),
        ("alerts.test.yml", code(ALERT_TESTS)),
        ("finwait.json", expressions(&dashboard()).join("\n")),
        ("patterns.md", PATTERNS.to_owned()),
    ]
}

/// The definition that a sample's name belongs to.
fn definition(name: &str) -> Option<&'static Definition> {
    let exact = catalogue::ALL.iter().find(|definition| definition.name == name);
    let classic = || {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end))?;
        catalogue::ALL.iter().find(|definition| definition.name == base && definition.kind == Kind::Histogram)
    };
    exact.or_else(classic).copied()
}

fn recorded() -> BTreeSet<&'static str> {
    RECORDING.lines().filter_map(|line| line.trim().strip_prefix("- record: ")).collect()
}

fn alerts() -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// What finwait exports of a recording: every word that a label can have is there, at zero.
fn families() -> Vec<Family> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/closes.jsonl");
    let mut source = FileSource::open(&path).unwrap();
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut aggregator = Aggregator::new(Grouping::default(), 1_000);
    let (mut context, mut batch) = (Context::default(), Vec::new());
    loop {
        let polled = source.poll(&mut batch, Duration::ZERO).unwrap();
        for observation in batch.drain(..) {
            tracker.observe(&observation);
            if context.learn(&observation) {
                aggregator.context(&context);
            }
            while let Some(record) = tracker.next_record() {
                aggregator.record(&record).unwrap();
            }
        }
        if polled == Polled::End {
            break;
        }
    }
    aggregator.snapshot(&tracker, MonoNs(0)).families(MonoNs(0), &ProcessFacts::default(), Duration::ZERO)
}

/// The words that each label of each metric has.
fn words() -> BTreeMap<(&'static str, &'static str), BTreeSet<String>> {
    let mut words: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for family in families() {
        for sample in family.samples {
            for (label, value) in family.definition.labels.iter().zip(sample.labels) {
                words.entry((family.definition.name, *label)).or_default().insert(value.into_owned());
            }
        }
    }
    words
}

#[test]
fn every_metric_that_is_asked_for_is_in_the_catalogue() {
    let recorded = recorded();
    for (file, text) in askers() {
        let uses = uses(&text);
        assert!(!uses.is_empty(), "{file} asks for nothing");
        for Use { name, .. } in uses {
            let there = recorded.contains(name.as_str()) || definition(&name).is_some();
            assert!(there, "{file} asks for {name}, which finwait does not export");
        }
    }
}

#[test]
fn every_label_that_is_asked_for_is_one_of_the_metrics() {
    let grouped: Vec<_> = DIMENSIONS.iter().map(|dimension| dimension.label()).collect();
    let words = words();
    for (file, text) in askers() {
        for Use { name, matchers } in uses(&text) {
            let Some(definition) = definition(&name) else { continue };
            for (label, asked) in matchers {
                let of_group = definition.grouped && grouped.contains(&label.as_str());
                if of_group || OF_PROMETHEUS.contains(&label.as_str()) {
                    continue;
                }
                assert!(definition.labels.contains(&label.as_str()), "{file}: {name} has no label {label}");
                let key = words.keys().find(|key| key.0 == definition.name && key.1 == label);
                for word in key.map_or(Vec::new(), |_| asked) {
                    let said = &words[key.unwrap()];
                    assert!(
                        said.contains(&word),
                        "{file}: {name} never says {label}=\"{word}\", but {said:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn every_alert_has_a_paragraph_and_tests_that_let_it_fire_and_keep_still() {
    let alerts = alerts();
    assert!(alerts.len() >= 7, "{alerts:?}");
    for alert in alerts {
        assert!(PATTERNS.contains(&format!("\n### {alert}\n")), "docs/patterns.md has nothing on {alert}");
        let runbook = format!("runbook: docs/patterns.md#{}\n", alert.to_lowercase());
        assert!(ALERTS.contains(&runbook), "{alert} does not lead to its paragraph");
        let tests: Vec<_> = ALERT_TESTS.split(&format!("alertname: {alert}\n")).skip(1).collect();
        let silent = |test: &&str| test.lines().nth(1).unwrap().trim() == "exp_alerts: []";
        assert!(!tests.iter().all(silent), "no test lets {alert} fire");
        assert!(tests.iter().any(silent), "no test keeps {alert} still");
    }
}

/// Of `#### …` and `### …`, as GitHub makes them.
fn anchors(markdown: &str) -> BTreeSet<String> {
    let headings = markdown.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        text.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_within_the_patterns_leads_somewhere() {
    let anchors = anchors(PATTERNS);
    let links: Vec<_> = PATTERNS.split("](#").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(anchors.contains(link), "{link} is none of {anchors:?}");
    }
}

#[test]
fn the_dashboard_s_panels_have_room_and_ask_the_chosen_source() {
    let dashboard = dashboard();
    assert_eq!((&dashboard["uid"], &dashboard["schemaVersion"]), (&"finwait".into(), &39.into()));
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: its id is taken");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is too wide");
        for y in place("y")..place("y") + place("h") {
            for x in place("x")..place("x") + place("w") {
                assert!(taken.insert((x, y)), "{title} covers another panel");
            }
        }
        let targets = panel["targets"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(targets.is_empty(), panel["type"] == "row", "{title}");
        for target in targets {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert!(panel["type"] == "row" || panel["description"].as_str().unwrap().len() > 8, "{title}");
    }
}

#[test]
fn the_dashboard_has_the_variables_that_it_uses() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<_> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let built_in = ["__rate_interval", "__interval"];
    for expression in expressions(&dashboard) {
        for used in expression.split('$').skip(1) {
            let used = used.trim_start_matches('{');
            let name = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            assert!(names.contains(&name) || built_in.contains(&name), "{name} in {expression}");
        }
    }
    let by = variables.iter().find(|variable| variable["name"] == "by").unwrap();
    let labels: Vec<_> = DIMENSIONS.iter().map(|dimension| dimension.label()).collect();
    assert_eq!(by["query"], labels.join(","));
}

#[test]
fn every_closing_state_has_a_heat_map() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let maps: BTreeSet<_> = panels
        .filter(|panel| panel["type"] == "heatmap")
        .map(|panel| panel["title"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(maps, words()[&(catalogue::STATE_DURATION.name, "state")]);
}

#[test]
fn the_unit_gives_what_it_allows_and_says_why() {
    let value =
        |name: &str| UNIT.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap();
    let given = value("AmbientCapabilities");
    assert_eq!(given, value("CapabilityBoundingSet"));
    for capability in given.split(' ') {
        let why = UNIT.lines().find_map(|line| line.strip_prefix('#')?.trim().strip_prefix(capability));
        assert!(why.is_some_and(|why| why.trim().len() > 10), "{capability}: why?");
    }
    assert_eq!((value("Type"), value("DynamicUser")), ("notify", "yes"));
    // Without these two, finwait could neither load its programs nor list sockets.
    assert!(value("SystemCallFilter").ends_with("bpf perf_event_open"));
    assert!(value("RestrictAddressFamilies").contains("AF_NETLINK"));
}
