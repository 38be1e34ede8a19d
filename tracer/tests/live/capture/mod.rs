//! tcpdump as a third witness: it captures in each namespace of a scene while that is played, and finwait reads what it wrote. Where
//! the variable [`FOLDER`] is not set there is none: `cargo xtask test` sets it, and the guests have no tcpdump.
//!
//! * [`tcpdump`] starts and ends it; no process is started by this one while a scene is played
//! * [`agreement`] compares the records of a capture with those of the live run
//! * [`differences`] where the two must differ, and why

pub(crate) mod agreement;
pub(crate) mod differences;
pub(crate) mod tcpdump;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use finwait_core::ClockPair;
use finwait_core::record::CloseRecord;
use tracer::scenario::check::{false_claims, record_of, sides};
use tracer::scenario::watch::Seen;
use tracer::scenario::{Actor, Made, MadeConnection, MadeSide, SideName};
use tracer::source::FileSource;

use self::agreement::{Difference, Live, differences};
use self::differences::Pair;
use self::tcpdump::Tcpdump;
use crate::replay::Replayed;
use crate::support::file_name;

/// More connections than one scene makes.
const FEW: usize = 4;
/// Names the folder in which captures are kept.
const FOLDER: &str = "FINWAIT_CAPTURES";

/// Where captures are to be kept, if they are to be made.
pub(crate) fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(|folder| Path::new(&folder).to_owned())
}

/// What tcpdump saw of a scene at each end's host.
pub(crate) struct Captures {
    client: Replayed,
    /// None where both ends are on one host
    server: Option<Replayed>,
    clocks: ClockPair,
}

impl Captures {
    /// Of a scene on one host.
    pub(crate) fn of_one(tcpdump: Tcpdump, actor: &Actor, made: &Made, clocks: ClockPair) -> Self {
        Self { client: read(tcpdump, actor, &name(made, "")), server: None, clocks }
    }

    /// Of a scene between two.
    pub(crate) fn of_two(
        tcpdumps: [Option<Tcpdump>; 2],
        actors: [&Actor; 2],
        made: &Made,
        clocks: ClockPair,
    ) -> Option<Self> {
        let [Some(client), Some(server)] = tcpdumps else { return None };
        let client = read(client, actors[0], &name(made, "-client"));
        let server = read(server, actors[1], &name(made, "-server"));
        Some(Self { client, server: Some(server), clocks })
    }

    fn at(&self, side: SideName) -> &Replayed {
        match (side, &self.server) {
            (SideName::Server, Some(server)) => server,
            _ => &self.client,
        }
    }

    /// Fails where a record of the capture is not what the live one of the same end is, unless that difference is expected.
    pub(crate) fn assert_agree(&self, made: &Made, seen: &Seen) {
        let mut complaints = Vec::new();
        for (connection, side, expected) in sides(made) {
            let Ok(record) = record_of(made, connection, side, &seen.closes) else { continue };
            let live = Live { record, transitions: &seen.transitions, clocks: self.clocks };
            let replayed = self.at(side);
            let captured = record_of(made, connection, side, &replayed.closes);
            let found = match &captured {
                Ok(captured) => differences(&live, captured),
                Err(complaint) => vec![Difference::no_record(complaint)],
            };
            let books = replayed.books.as_ref().expect("a capture's books");
            let lies = captured.as_ref().map_or(Vec::new(), |captured| lies(captured, expected, &found));
            complaints
                .extend(lies.into_iter().map(|lie| format!("{}, {}: {lie}", connection.name, side.name())));
            let pair = Pair { live: record, captured: captured.ok(), books };
            complaints.extend(differences::complaints(&row(made, connection), side, &found, &pair));
        }
        assert!(complaints.is_empty(), "{complaints:#?}\nbooks {:#?}", self.client.books);
    }
}

/// What `captured` says that is not so, beyond the differences that were found.
fn lies(captured: &CloseRecord, expected: &MadeSide, found: &[Difference]) -> Vec<String> {
    let is_known = |lie: &str| {
        found.iter().any(|known| {
            let other_states = known.capture == "none" && lie.starts_with("transitions");
            lie.starts_with(&known.field) || other_states
        })
    };
    let mut lies = false_claims(captured, expected);
    lies.retain(|lie| !is_known(lie));
    lies
}

/// The connection's name, with its number where it is not the first of that name.
fn row(made: &Made, connection: &MadeConnection) -> String {
    let mut same = made.connections.iter().filter(|other| other.name == connection.name);
    match same.position(|other| core::ptr::eq(other, connection)) {
        Some(before @ 1..) => format!("{}, no. {}", connection.name, before + 1),
        _ => connection.name.to_owned(),
    }
}

/// Ends a capture and reads it.
fn read(tcpdump: Tcpdump, actor: &Actor, name: &str) -> Replayed {
    Replayed::of(FileSource::open(&tcpdump.stop(actor, name)).expect("capture"))
}

/// A name that no other capture of this process has.
fn name(made: &Made, end: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let of = |connection: Option<&MadeConnection>| connection.map_or("nothing", |connection| connection.name);
    let (first, last) = (of(made.connections.first()), of(made.connections.last()));
    let scenes = if made.connections.len() > FEW { format!("{first} to {last}") } else { last.to_owned() };
    format!("{}{end}-{}", file_name(&scenes), NUMBER.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use finwait_core::record::{CloseKind, FirstCloser, Waves};
    use finwait_core::{Claim, MonoNs, Reason, TcpState, WallNs};
    use tracer::scenario::SideName::Client;
    use tracer::scenario::catalog;
    use tracer::source::CaptureBooks;

    use super::*;
    use crate::support::run;
    use crate::wire::agreement::tolerance_ns;

    #[test]
    fn a_difference_that_is_not_listed_and_one_that_is_not_seen_are_found_out() {
        let run = run(catalog::CLIENT_CLOSES_FIRST);
        let record = run.assert_whole().client(0);
        let books = CaptureBooks::default();
        let pair = Pair { live: record, captured: None, books: &books };
        let none = [Difference::no_record("no close record")];
        let complaints = |row: &str, found: &[Difference]| differences::complaints(row, Client, found, &pair);
        assert!(complaints("half-close", &[]).is_empty());
        assert!(complaints("half-close", &none)[0].contains("record is one live and none in the capture"));
        assert!(complaints("connect timeout", &[])[0].contains("not the differences that are expected"));
        assert!(
            complaints("connect timeout", &none)[0].contains("neither says that"),
            "the books count none"
        );
    }

    type Change = fn(&mut CloseRecord);

    #[test]
    fn a_value_or_a_time_that_is_another_one_is_found_out() {
        let run = run(catalog::HALF_CLOSE);
        let record = run.assert_whole().client(0).clone();
        // As if the capture's clock were the run's.
        let clocks = ClockPair { mono: MonoNs(0), wall: WallNs(0) };
        let live = Live { record: &record, transitions: &run.seen.transitions, clocks };
        let found = |change: Change| {
            let mut captured = record.clone();
            change(&mut captured);
            let found = differences(&live, &captured);
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        };
        assert_eq!(found(|_| {}), "");
        let changes: [(Change, &str); 6] = [
            (|close| close.kind = Claim::known(CloseKind::Reset, []), "kind is active live and reset"),
            (
                |close| close.first_closer = Claim::known(FirstCloser::Peer, []),
                "first closer is local live and peer",
            ),
            (|close| close.waves = Claim::known(Waves::Three, []), "waves is four live and three"),
            (
                |close| close.waves = Claim::Unknown(Reason::NotInCapture),
                "waves is four live and unknown (not_in_capture)",
            ),
            (|close| late(close), "Established to FinWait1 is known live and another time"),
            (|close| close.dwells.clear(), "time in FinWait2 is known live and none"),
        ];
        for (change, what) in changes {
            assert!(found(change).contains(what), "{what}: {}", found(change));
        }
    }

    fn late(close: &mut CloseRecord) {
        let step = close.steps.iter_mut().find(|step| step.new == TcpState::FinWait1).expect("a step");
        step.at = step.at.plus(4 * tolerance_ns());
    }
}
