//! Compares what was reported with what was made.

use std::net::SocketAddr;

use finwait_core::claim::Claim;
use finwait_core::record::{CloseRecord, Endpoint, Owner};

use super::made::{Fact, Made, MadeConnection, MadeSide, SideName};

/// What the comparison found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Connections made
    pub connections: usize,
    /// Sockets that were part of them
    pub sides: usize,
    /// Of those, the ones reported whole: each transition, and each claim that the events prove
    pub whole: usize,
    /// What is missing or wrong, one sentence each
    pub complaints: Vec<String>,
}

impl Verdict {
    /// Every side was seen whole and nothing false was said.
    #[must_use]
    pub fn all_whole(&self) -> bool {
        self.complaints.is_empty() && self.whole == self.sides
    }
}

/// How much a complete record must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every transition, and each claim that the events prove
    Claims,
    /// Every transition: the classic tier has no proofs
    Transitions,
}

/// Holds every record in `closes` against its part of `made`.
#[must_use]
pub fn compare(made: &Made, closes: &[CloseRecord], depth: Depth) -> Verdict {
    let mut verdict = Verdict { connections: made.connections.len(), ..Verdict::default() };
    for (connection, side, expected) in sides(made) {
        verdict.sides += 1;
        let who = format!("{}, {}", connection.name, side.name());
        let complaints = match record_of(made, connection, side, closes) {
            Ok(record) => [shortfalls(record, expected, depth), false_claims(record, expected)].concat(),
            Err(complaint) => vec![complaint],
        };
        verdict.whole += usize::from(complaints.is_empty());
        verdict.complaints.extend(complaints.into_iter().map(|what| format!("{who}: {what}")));
    }
    verdict
}

/// Every side of every connection.
pub fn sides(made: &Made) -> impl Iterator<Item = (&MadeConnection, SideName, &MadeSide)> {
    made.connections
        .iter()
        .flat_map(|connection| connection.sides().map(move |(name, side)| (connection, name, side)))
}

/// The record of one side. Where the same two ends were connected more than once, the records come in the order of the
/// connections.
///
/// # Errors
/// What is wrong when there is not exactly one for each of them.
pub fn record_of<'a>(
    made: &Made,
    connection: &MadeConnection,
    side: SideName,
    closes: &'a [CloseRecord],
) -> Result<&'a CloseRecord, String> {
    let same: Vec<_> =
        made.connections.iter().filter(|other| other.ends(side) == connection.ends(side)).collect();
    let place = same.iter().position(|other| core::ptr::eq(*other, connection)).unwrap_or(0);
    let mut records = closes_of(connection, side, closes);
    records.sort_by_key(|record| record.steps.first().map(|step| step.at));
    match (records.len(), records.get(place)) {
        (0, _) => Err("no close record".to_owned()),
        (found, Some(record)) if found == same.len() => Ok(record),
        (found, _) => Err(format!("{found} close records")),
    }
}

/// The records that speak of one side. Several connections of one descriptor may share a remote end; then the port
/// tells them apart.
#[must_use]
pub fn closes_of<'a>(
    connection: &MadeConnection,
    side: SideName,
    closes: &'a [CloseRecord],
) -> Vec<&'a CloseRecord> {
    let (local, remote) = connection.ends(side);
    closes.iter().filter(|record| is(record.local, local) && is(record.remote, remote)).collect()
}

/// Port 0 was not seen by the maker: any port will do, or none.
fn is(endpoint: Endpoint, made: SocketAddr) -> bool {
    endpoint.addr == Some(made.ip())
        && (made.port() == 0 || endpoint.port.is_some_and(|port| port.0 == made.port()))
}

/// What a complete record of `made` says and this one does not.
#[must_use]
pub fn shortfalls(record: &CloseRecord, made: &MadeSide, depth: Depth) -> Vec<String> {
    let mut found = Vec::new();
    let steps: Vec<_> = record.steps.iter().map(|step| (step.old, step.new)).collect();
    if steps != made.transitions {
        found.push(format!("transitions {steps:?}, made {:?}", made.transitions));
    }
    if record.chain_breaks != 0 {
        found.push(format!("{} chain breaks", record.chain_breaks));
    }
    each_claim(record, made, |name, silent, _| {
        if let (Depth::Claims, Some(reason)) = (depth, silent) {
            found.push(format!("{name} is unknown ({reason}), though the events prove it"));
        }
    });
    found
}

/// What is true of `made` and this record leaves open: name and reason.
#[must_use]
pub fn open_claims(record: &CloseRecord, made: &MadeSide) -> Vec<(String, String)> {
    let truths = MadeSide { successor: Fact::Open, waves: Fact::Open, ..made.clone() }.shown_where_true();
    let mut found = Vec::new();
    each_claim(record, &truths, |name, silent, _| {
        found.extend(silent.map(|reason| (name.to_owned(), reason)));
    });
    found
}

/// What this record says that is not so.
#[must_use]
pub fn false_claims(record: &CloseRecord, made: &MadeSide) -> Vec<String> {
    let mut found = Vec::new();
    each_claim(record, made, |name, _, lie| {
        if let Some(lie) = lie {
            found.push(format!("{name}: {lie}"));
        }
    });
    if !is_subsequence(record, made) {
        found.push("transitions that were not made, or in another order".to_owned());
    }
    found
}

fn is_subsequence(record: &CloseRecord, made: &MadeSide) -> bool {
    let mut rest = made.transitions.iter();
    record.steps.iter().all(|step| rest.any(|made| *made == (step.old, step.new)))
}

/// Calls `report(name, why a provable claim is not made, what is false about a claim)`.
fn each_claim(
    record: &CloseRecord,
    made: &MadeSide,
    mut report: impl FnMut(&str, Option<String>, Option<String>),
) {
    let mut claim = |name: &str, (silent, lie): Finding| report(name, silent, lie);
    claim("role", hold(&record.role, made.role));
    claim("opener", hold(&record.opener.map(whom), made.opener));
    claim("closer", hold(&record.closer.map(whom), made.closer));
    claim("first closer", hold(&record.first_closer, made.first_closer));
    claim("kind", hold(&record.kind, made.kind));
    claim("waves", hold(&record.waves, made.waves));
    claim("successor", hold(&record.successor, made.successor));
    claim("cause", hold(&record.cause, made.cause));
    claim("outcome of the FIN", hold(&record.fin_outcome, made.fin_outcome));
    claim("bytes sent", hold(&record.bytes_sent, made.bytes_sent));
    claim("bytes received", hold(&record.bytes_received, made.bytes_received));
    match &record.timeout {
        Some(said) => claim("timeout", hold(said, made.timeout)),
        None if matches!(made.timeout, Fact::Shown(_)) => {
            claim("timeout", (Some("left out".to_owned()), None));
        }
        None => {}
    }
    match (&record.reset, &made.reset) {
        (Some(said), Some(made)) => {
            claim("reset direction", hold(&said.direction, made.direction));
            claim("reset cause", hold(&said.cause, made.cause));
            claim("unread bytes", hold(&said.unread_bytes, made.unread));
        }
        (None, Some(_)) => claim("reset", (Some("left out".to_owned()), None)),
        // A dropped child was reset too; that its record says so is no lie.
        (Some(said), None) if made.kind.truth() != Some(finwait_core::record::CloseKind::Dropped) => {
            if let Some(direction) = said.direction.value() {
                claim("reset", (None, Some(format!("{direction}, but there was none"))));
            }
        }
        _ => {}
    }
}

/// Why a provable claim is not made; what is false about a claim.
type Finding = (Option<String>, Option<String>);

fn hold<T: PartialEq + Copy + core::fmt::Debug>(claim: &Claim<T>, fact: Fact<T>) -> Finding {
    match (claim, fact) {
        (Claim::Unknown(reason), Fact::Shown(_)) => (Some(reason.to_string()), None),
        (Claim::Known { value, .. }, Fact::Shown(truth) | Fact::True(truth)) if *value != truth => {
            (None, Some(format!("said {value:?}, true is {truth:?}")))
        }
        (Claim::Known { value, .. }, Fact::Never) => {
            (None, Some(format!("said {value:?}, but it did not happen")))
        }
        _ => (None, None),
    }
}

/// Start times are not known to the maker.
fn whom(owner: Owner) -> Owner {
    Owner { start_boot_ns: None, ..owner }
}
