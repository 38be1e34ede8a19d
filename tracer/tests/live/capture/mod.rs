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
use tracer::scenario::check::{record_of, sides};
use tracer::scenario::watch::Seen;
use tracer::scenario::{Actor, Made, SideName};
use tracer::source::FileSource;

use self::agreement::{Difference, Live, differences};
use self::differences::Pair;
use self::tcpdump::Tcpdump;
use crate::replay::Replayed;
use crate::support::file_name;

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
        for (connection, side, _) in sides(made) {
            let Ok(record) = record_of(made, connection, side, &seen.closes) else { continue };
            let live = Live { record, transitions: &seen.transitions, clocks: self.clocks };
            let replayed = self.at(side);
            let captured = record_of(made, connection, side, &replayed.closes);
            let found = match &captured {
                Ok(captured) => differences(&live, captured),
                Err(complaint) => vec![Difference::no_record(complaint)],
            };
            let books = replayed.books.as_ref().expect("a capture's books");
            let pair = Pair { live: record, captured: captured.ok(), books };
            complaints.extend(differences::complaints(connection.name, side, &found, &pair));
        }
        assert!(complaints.is_empty(), "{complaints:#?}\nbooks {:#?}", self.client.books);
    }
}

/// Ends a capture and reads it.
fn read(tcpdump: Tcpdump, actor: &Actor, name: &str) -> Replayed {
    Replayed::of(FileSource::open(&tcpdump.stop(actor, name)).expect("capture"))
}

/// A name that no other capture of this process has.
fn name(made: &Made, end: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let last = made.connections.last().map_or("nothing", |connection| connection.name);
    format!("{}{end}-{}", file_name(last), NUMBER.fetch_add(1, Ordering::Relaxed))
}
