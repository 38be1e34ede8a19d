//! A report laid out: sections of sentences and tables, whatever they are written as.

use finwait_core::observation::Tier;
use finwait_core::record::{CloseKind, Endpoint, FirstCloser, ResetCause, Role};

use super::compare::{Difference, Judgement, differences, quantile};
use super::{Report, first_closer};
use crate::explain::{Setting, endpoint, reset_cause};
use crate::sink::{human, safe, when};
use crate::stats::{CLOSING_STATES, Measure};

/// Services that are told one by one.
const SERVICES: usize = 12;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    /// What it is of
    pub title: String,
    /// In order
    pub sections: Vec<Section>,
}

/// One part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its title
    pub title: &'static str,
    /// Ahead of the table
    pub sentences: Vec<String>,
    /// Rows, the first of them the header; empty for none
    pub table: Vec<Vec<String>>,
    /// Columns at the left that are words; the others are numbers
    pub words: usize,
}

impl Section {
    fn new(title: &'static str, words: usize, header: &[&str]) -> Self {
        let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
        Self { title, words, table: vec![header], ..Self::default() }
    }

    /// A header alone is no table.
    fn trimmed(mut self) -> Self {
        if self.table.len() == 1 {
            self.table.clear();
        }
        self
    }

    fn says_something(&self) -> bool {
        !self.table.is_empty() || !self.sentences.is_empty()
    }
}

/// One span.
#[must_use]
pub fn of(report: &Report) -> Document {
    let sections = [
        closes(report),
        resets(report),
        services(report),
        stuck(report),
        idle(report),
        time_wait(report),
        losses(report),
    ];
    Document {
        title: title(report),
        sections: sections.into_iter().map(Section::trimmed).filter(Section::says_something).collect(),
    }
}

/// Two spans side by side, and then this one.
#[must_use]
pub fn against(report: &Report, other: &Report) -> Document {
    let all = differences(report, other);
    let mut document = of(report);
    document.sections.insert(0, compared(&all));
    document.title = format!("{}\nagainst {}", document.title, title(other));
    document
}

fn title(report: &Report) -> String {
    let from = report
        .from
        .map_or_else(|| "at an unknown time".to_owned(), |from| format!("from {}", when::utc(from)));
    let long = report.duration_ns.map_or_else(String::new, |ns| format!(", {}", human::duration(ns)));
    let kernel = report.host.as_ref().map_or_else(String::new, |host| match host.tier {
        Tier::Capture => ", by a packet capture".to_owned(),
        Tier::TpBtf | Tier::Classic => format!(", kernel {}", safe(&host.kernel)),
    });
    let closes = human::counted(report.all.closes(), "close", "closes");
    format!("{closes} {from}{long}{kernel}")
}

fn compared(all: &[Difference]) -> Section {
    let mut section = Section::new("Differences", 2, &["of", "figure", "this", "against", "difference"]);
    let marked = |difference: &&Difference| matches!(difference.judgement, Judgement::More | Judgement::Less);
    let noise = all.iter().filter(|difference| difference.judgement == Judgement::Noise).count();
    let too_few = all.iter().filter(|difference| difference.judgement == Judgement::TooFew).count();
    for difference in all.iter().filter(marked) {
        let mark = if difference.judgement == Judgement::More { "▲ more" } else { "▼ less" };
        section.table.push(vec![
            difference.of.clone(),
            difference.figure.clone(),
            difference.this.text(),
            difference.against.text(),
            mark.to_owned(),
        ]);
    }
    let count = section.table.len() - 1;
    section.sentences.push(format!(
        "{} beyond noise of {} compared; {} not beyond it, {} with too few closes to tell. A difference is marked where chance alone would show one as large anywhere in this comparison in fewer than 1 of 100 pairs of spans, and where it is large enough to matter.",
        human::counted(count as u64, "difference", "differences"),
        human::counted(all.len() as u64, "figure", "figures"),
        human::count(noise as u64),
        human::count(too_few as u64),
    ));
    section.trimmed()
}

fn closes(report: &Report) -> Section {
    let all = &report.all;
    let mut section = Section::new("How connections ended", 2, &["what", "which", "closes", "share"]);
    let mut row = |what: &str, which: &str, part: u64, whole: u64| {
        if part > 0 {
            let cells = [what, which, &human::count(part), &human::share(part, whole)];
            section.table.push(cells.map(ToOwned::to_owned).to_vec());
        }
    };
    let mut kinds: Vec<(u64, &str)> = CloseKind::ALL
        .iter()
        .map(|kind| (all.closed(Some(*kind)), kind.name()))
        .chain([(all.closed(None), "unknown")])
        .collect();
    kinds.sort_by_key(|(closes, _)| std::cmp::Reverse(*closes));
    kinds.iter().for_each(|(closes, kind)| row("kind", kind, *closes, all.closes()));
    for first in FirstCloser::ALL.iter().copied().map(Some).chain([None]) {
        let name = first.map_or("not known, or nobody", first_closer);
        row("closed first", name, all.first_closed(first), all.closes());
    }
    let segments: u64 = all.segments.iter().sum();
    for (name, count) in ["three", "four", "not known"].into_iter().zip(all.segments) {
        row("segments", name, count, segments);
    }
    let fins: u64 = all.fin_retransmits.iter().sum();
    if fins > 0 {
        section.sentences.push(format!("{}.", report.verdict.tally.fins.for_people().unwrap_or_default()));
    }
    section
}

fn resets(report: &Report) -> Section {
    let all = &report.all;
    let mut section = Section::new("Resets", 2, &["way", "why", "closes"]);
    let mut sent: Vec<(u64, &str)> = ResetCause::ALL
        .iter()
        .map(|cause| (all.resets_sent(Some(*cause)), reset_cause(*cause)))
        .chain([(all.resets_sent(None), "not known")])
        .collect();
    sent.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let others = [("received", "by the peer", all.resets_received), ("not known", "", all.resets_unknown)];
    let rows = sent.iter().map(|(count, why)| ("sent", *why, *count)).chain(others);
    for (way, why, count) in rows.filter(|(.., count)| *count > 0) {
        section.table.push(vec![way.to_owned(), why.to_owned(), human::count(count)]);
    }
    let resets = &report.verdict.tally.resets;
    if let Some((sender, count)) = resets.top_sender() {
        section.sentences.push(format!("Most were sent by {sender}: {}.", human::count(count)));
    }
    section.sentences.extend(resets.by_reason().map(|reasons| {
        let named = reasons.strip_prefix("resets by reason: ").unwrap_or(&reasons);
        format!("The kernel's own names for why: {named}.")
    }));
    section
}

/// A row for each service and closing state that has any.
fn services(report: &Report) -> Section {
    let header = ["service", "measure", "number", "p50", "p90", "p99", "of its closes"];
    let mut section = Section::new("Times by service", 2, &header);
    for service in report.services.iter().take(SERVICES) {
        let (name, summary) = (service.name(), &service.summary);
        let closes = human::counted(summary.closes(), "close", "closes");
        let first = summary.first_closed(Some(FirstCloser::Peer));
        let peer = format!("{closes}, peer first {}", human::share(first, summary.closes()));
        section.table.push(vec![name.clone(), peer]);
        let states = (0..CLOSING_STATES.len()).map(Measure::State);
        for measure in [Measure::Handshake, Measure::Life].into_iter().chain(states) {
            let histogram = &summary.distribution(measure).histogram;
            if histogram.count() > 0 {
                section.table.push(vec![
                    String::new(),
                    measure.name().to_owned(),
                    human::count(histogram.count()),
                    quantile(histogram, 0.5),
                    quantile(histogram, 0.9),
                    quantile(histogram, 0.99),
                    human::share(histogram.count(), summary.closes()),
                ]);
            }
        }
    }
    let more = report.services.len().saturating_sub(SERVICES);
    if more > 0 {
        section.sentences.push(format!(
            "{}, with no more closes than these, not told.",
            human::counted(more as u64, "more service", "more services")
        ));
    }
    section.sentences.extend(unproven(report));
    section
}

/// `12 durations are not proven and in no percentile: FIN_WAIT2 12 (hidden_fin_wait2)`
fn unproven(report: &Report) -> Option<String> {
    let mut parts = Vec::new();
    let mut all = 0;
    for measure in Measure::all() {
        for reason in finwait_core::Reason::ALL {
            let count = report.unproven.count(measure, *reason);
            if count > 0 {
                all += count;
                parts.push(format!("{} {} ({reason})", measure.name(), human::count(count)));
            }
        }
    }
    let durations = human::counted(all, "duration is", "durations are");
    (all > 0).then(|| format!("{durations} not proven, and in no percentile: {}.", parts.join(", ")))
}

fn stuck(report: &Report) -> Section {
    let mut section = Section::new("Still closing at the end", 2, &["state", "process", "number", "oldest"]);
    for group in &report.stuck {
        let at_least = if group.oldest_is_minimum { "≥ " } else { "" };
        section.table.push(vec![
            group.state.name().to_owned(),
            group.process.clone().unwrap_or_else(|| "?".to_owned()),
            human::count(group.count),
            format!("{at_least}{}", human::duration(group.oldest_ns)),
        ]);
    }
    section
}

fn idle(report: &Report) -> Section {
    let header = ["service", "closed first", "silence", "shortest", "longest", "closes", "of those idle"];
    let mut section = Section::new("Idle timers, by the silence before the first FIN", 2, &header);
    for cluster in &report.idle {
        let role = cluster.role.map_or("unknown", Role::name);
        let port = cluster.service.map_or_else(|| "?".to_owned(), |port| port.to_string());
        section.table.push(vec![
            format!("{role} :{port}"),
            first_closer(cluster.first).to_owned(),
            human::duration(cluster.mean_ns),
            human::duration(cluster.min_ns),
            human::duration(cluster.max_ns),
            human::count(cluster.closes),
            human::share(cluster.closes, cluster.of),
        ]);
    }
    section
}

fn time_wait(report: &Report) -> Section {
    let debt = &report.debt;
    let mut section =
        Section::new("TIME_WAIT", 2, &["from", "to", "ports in TIME_WAIT at once", "ports taken at once"]);
    section.sentences.extend(left(report));
    if !debt.watched {
        let text = "Time-wait sockets were not watched: how many there were at once is not known.";
        section.sentences.push(text.to_owned());
    }
    section.sentences.extend(report.verdict.tally.time_waits().map(|ends| format!("{ends}.")));
    section.sentences.extend(ports(report));
    for peak in &debt.most {
        let (addr, port) = peak.space.remote;
        section.table.push(vec![
            peak.space.local.to_string(),
            endpoint(Endpoint { addr: Some(addr), port: Some(port) }),
            human::count(u64::from(peak.time_wait)),
            human::count(u64::from(peak.taken)),
        ]);
    }
    section
}

/// `120 closes left a TIME_WAIT (120 opened): 2.0 a second, which keeps 120 in TIME_WAIT at 60s each.`
fn left(report: &Report) -> Option<String> {
    let left = &report.debt.left;
    let all: u64 = left.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return None;
    }
    let of_role = |(role, count): &(Option<Role>, u64)| {
        format!("{} {}", human::count(*count), role.map_or("of unknown role", Role::name))
    };
    let roles: Vec<String> = left.iter().map(of_role).collect();
    let per_second = report.duration_ns.filter(|ns| *ns > 0).map_or_else(String::new, |ns| {
        let rate = all as f64 / (ns as f64 / 1e9);
        let kept = human::count((rate * 60.0).round() as u64);
        let often =
            if rate >= 1.0 { format!("{rate:.1} a second") } else { format!("{:.1} a minute", rate * 60.0) };
        format!(": {often}, which keeps {kept} in TIME_WAIT at 60s each")
    });
    let closes = human::counted(all, "close", "closes");
    Some(format!("{closes} left a TIME_WAIT ({}){per_second}.", roles.join(", ")))
}

/// How many ports there are, where that is known.
fn ports(report: &Report) -> Option<String> {
    let settings = report.settings.filter(|_| !report.debt.most.is_empty())?;
    let ports = settings.ports?;
    Some(format!(
        "{} has {} ports for each local address and remote end.",
        Setting::PortRange.name(),
        human::count(u64::from(ports.count()))
    ))
}

/// Of a capture what is missing is told in packets.
fn losses(report: &Report) -> Section {
    if let Some(capture) = &report.verdict.capture {
        let sentences = capture.sentences().into_iter().map(|sentence| format!("{}.", safe(&sentence)));
        return Section { sentences: sentences.collect(), ..Section::new("What was missed", 1, &[]) }
            .trimmed();
    }
    let books = &report.verdict.accounting;
    let unknown = |count: Option<u64>| count.map_or_else(|| "not counted here".to_owned(), human::count);
    let mut section = Section::new("What was missed", 1, &["what", "number"]);
    let rows = [
        ("transitions received", human::count(books.received)),
        ("transitions lost", human::count(books.lost())),
        ("records without room in the ring", human::count(books.lost_ring)),
        ("runs skipped by the kernel", unknown(books.recursion_missed)),
        ("of them reported by a shadow", unknown(books.rescued)),
        ("numbers missing between records", human::count(books.gaps)),
        ("transitions that do not follow", human::count(books.chain_breaks)),
        ("connections put out of a full table", human::count(books.evicted)),
        ("records that could not be read", human::count(report.verdict.decode_errors())),
        ("events of other hooks lost", human::count(books.hooks_lost)),
        ("connections seen from the middle", human::count(report.verdict.tally.seen_from_middle)),
    ];
    section.table.extend(rows.map(|(what, number)| vec![what.to_owned(), number]));
    section
}
