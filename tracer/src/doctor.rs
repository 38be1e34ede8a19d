//! `finwait doctor`: what this host offers, and what to do where that is less than it could be. The facts are
//! [`HostReport`]'s; here they are only put into words.

use std::io::{self, Write};

use finwait_core::observation::Tier;
use serde::Serialize;

use crate::probe::{Check, HostReport, Verdict};
use crate::sink::safe;

/// Writes `report` for people.
///
/// # Errors
/// When `out` cannot be written to.
pub fn table(report: &HostReport, out: &mut dyn Write) -> io::Result<()> {
    let width = report.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in &report.checks {
        let name = check.name;
        let word = word(check.verdict);
        writeln!(out, "{name:width$}  {word:7}  {}", safe(&check.detail))?;
        if let Some(remedy) = check.remedy.as_deref().filter(|_| check.verdict != Verdict::Ok) {
            writeln!(out, "{:width$}           → {}", "", safe(remedy))?;
        }
    }
    if !report.missing_fields.is_empty() {
        writeln!(out, "\nThis kernel does not show {}.", report.missing_fields.join(", "))?;
    }
    writeln!(out, "\n{}: {}", conclusion(report.tier), safe(&report.reason))
}

fn conclusion(tier: Option<Tier>) -> &'static str {
    match tier {
        Some(Tier::TpBtf) => "Best tier, tp-btf",
        Some(Tier::Classic) => "Second tier, classic, without processes and socket details",
        Some(Tier::Capture) | None => "finwait cannot observe this kernel",
    }
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::No => "no",
        Verdict::Unknown => "unknown",
    }
}

/// Writes `report` as one JSON object, `finwait.doctor/1`.
///
/// # Errors
/// When `out` cannot be written to.
pub fn json(report: &HostReport, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &ReportJson::from(report))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct ReportJson<'a> {
    schema: &'static str,
    kernel: &'a str,
    tier: Option<Tier>,
    reason: &'a str,
    rps: Option<bool>,
    jiffy_ns: u64,
    missing_fields: &'a [&'static str],
    checks: Vec<CheckJson<'a>>,
}

#[derive(Serialize)]
struct CheckJson<'a> {
    name: &'static str,
    verdict: &'static str,
    detail: &'a str,
    remedy: Option<&'a str>,
}

impl<'a> From<&'a HostReport> for ReportJson<'a> {
    fn from(report: &'a HostReport) -> Self {
        Self {
            schema: "finwait.doctor/1",
            kernel: &report.release,
            tier: report.tier,
            reason: &report.reason,
            rps: report.rps,
            jiffy_ns: report.jiffy_ns,
            missing_fields: &report.missing_fields,
            checks: report.checks.iter().map(CheckJson::from).collect(),
        }
    }
}

impl<'a> From<&'a Check> for CheckJson<'a> {
    fn from(check: &'a Check) -> Self {
        Self {
            name: check.name,
            verdict: word(check.verdict),
            detail: &check.detail,
            remedy: check.remedy.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> HostReport {
        HostReport {
            release: "6.18.44".to_owned(),
            tier: Some(Tier::Classic),
            reason: "the kernel has no BTF".to_owned(),
            rps: None,
            jiffy_ns: 4_000_000,
            missing_fields: vec!["sock.sk_cookie"],
            checks: vec![
                Check { name: "kernel", verdict: Verdict::Ok, detail: "6.18.44".to_owned(), remedy: None },
                Check {
                    name: "tracefs",
                    verdict: Verdict::No,
                    detail: "not mounted\u{1b}[2J".to_owned(),
                    remedy: Some("mount -t tracefs tracefs /sys/kernel/tracing".to_owned()),
                },
            ],
        }
    }

    #[test]
    fn what_is_amiss_comes_with_what_to_do() {
        let mut out = Vec::new();
        table(&report(), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "kernel   ok       6.18.44\n\
             tracefs  no       not mounted\\x1b[2J\n\
             \x20                 → mount -t tracefs tracefs /sys/kernel/tracing\n\
             \n\
             This kernel does not show sock.sk_cookie.\n\
             \n\
             Second tier, classic, without processes and socket details: the kernel has no BTF\n"
        );
    }

    #[test]
    fn json_has_the_same_facts_and_every_key_is_documented() {
        let mut out = Vec::new();
        json(&report(), &mut out).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["tier"], "classic");
        assert_eq!(value["checks"][1]["verdict"], "no");
        assert_eq!(value["rps"], serde_json::Value::Null);
        let documented = include_str!("../../docs/events.md");
        let check = value["checks"][0].as_object().unwrap();
        for key in value.as_object().unwrap().keys().chain(check.keys()) {
            assert!(documented.contains(&format!("`{key}`")), "{key}");
        }
    }
}
