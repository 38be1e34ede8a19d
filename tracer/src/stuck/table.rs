//! Groups as a table for people.

use super::age::Age;
use super::gather::Picture;
use super::group::{Group, groups};
use crate::sink::{human, safe};

const TITLES: [&str; 7] = ["STATE", "OWNER", "COUNT", "OLDEST", "MEDIAN", "WHERE", "WHAT IT MEANS"];
/// Columns whose text stands at their right.
const RIGHT: [bool; 7] = [false, false, true, true, true, false, false];
/// Longest text of owner or place, characters; the rest is cut.
const LONGEST: usize = 48;

/// The table, or a sentence where there is nothing to show.
pub(super) fn table(picture: &Picture) -> String {
    if picture.sockets.is_empty() {
        return "nothing is stuck\n".to_owned();
    }
    let rows: Vec<[String; 7]> = groups(&picture.sockets).iter().map(cells).collect();
    let width = |column: usize| {
        let texts = rows.iter().map(|row| row[column].as_str()).chain([TITLES[column]]);
        texts.map(|text| text.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    let titles = TITLES.map(str::to_owned);
    let mut text = line(&titles, &widths);
    text.extend(rows.iter().map(|row| line(row, &widths)));
    text
}

fn cells(group: &Group) -> [String; 7] {
    [
        group.state.name().to_owned(),
        shown(&group.owner),
        human::count(group.count as u64),
        age(group.oldest),
        age(group.median),
        shown(&group.place),
        group.meaning.to_owned(),
    ]
}

fn shown(text: &str) -> String {
    let text = safe(text);
    if text.chars().count() <= LONGEST {
        return text.into_owned();
    }
    let kept: String = text.chars().take(LONGEST - 1).collect();
    kept + "…"
}

/// Without `≥` the beginning was watched: the age is right to the interval.
pub(super) fn age(age: Age) -> String {
    let text = human::duration(age.at_least_ns);
    if age.at_most_ns.is_some() { text } else { format!("≥ {text}") }
}

fn line(cells: &[String; 7], widths: &[usize]) -> String {
    let mut text = String::new();
    for ((cell, width), right) in cells.iter().zip(widths).zip(RIGHT) {
        let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
        let parts = if right { [padding.as_str(), cell] } else { [cell, padding.as_str()] };
        text.extend(parts);
        text.push_str("  ");
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// What people should know beside the table, each a sentence.
pub(super) fn notes(picture: &Picture, older_ns: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if picture.younger > 0 && older_ns > 1 {
        let younger = human::counted(picture.younger as u64, "more connection is", "more connections are");
        let older = human::duration(older_ns);
        notes.push(format!("{younger} closing, not proven to be so for {older}"));
    }
    if let Some(hidden) = picture.hidden_processes.filter(|hidden| *hidden > 0) {
        let hidden = human::counted(hidden as u64, "process", "processes");
        notes.push(format!("the descriptors of {hidden} may not be looked at"));
    }
    if picture.interrupted {
        notes.push("the sockets changed so much meanwhile that some may be missing".to_owned());
    }
    notes.extend(picture.failures.iter().map(|failure| safe(&failure.to_string()).into_owned()));
    notes
}

#[cfg(test)]
mod tests {
    use finwait_core::{MonoNs, TcpState};

    use super::*;
    use crate::snapshot::DiagError;
    use crate::stuck::samples_for_tests::{holder, socket};
    use crate::stuck::{Owner, StuckSocket};

    fn picture(sockets: Vec<StuckSocket>) -> Picture {
        Picture {
            begin: MonoNs(1),
            end: MonoNs(2),
            sockets,
            younger: 2,
            namespaces: 1,
            failures: vec![DiagError::NotOpen { netns: finwait_core::NetNs(7) }],
            interrupted: false,
            hidden_processes: Some(3),
        }
    }

    #[test]
    fn the_oldest_comes_first_and_unwatched_ages_are_bounds() {
        let java = || Owner::Processes(vec![holder("java\n", 2201)]);
        let picture = picture(vec![
            socket(TcpState::CloseWait, java(), 7_800, false),
            socket(TcpState::CloseWait, java(), 270_000, false),
            socket(TcpState::LastAck, Owner::Nobody, 100, true),
        ]);
        assert_eq!(
            table(&picture).lines().collect::<Vec<_>>(),
            [
                "STATE       OWNER         COUNT   OLDEST   MEDIAN  WHERE                           WHAT IT MEANS",
                "CLOSE_WAIT  java\\n/2201       2  ≥ 3d03h  ≥ 2h10m  :40000 ↔ 10.0.0.9:5432          \
                 the peer closed; the program has not: where they grow, a leak of descriptors",
                "LAST_ACK    (no process)      1    1m40s    1m40s  10.0.0.5:40000 ↔ 10.0.0.9:5432  \
                 our FIN is not acknowledged: loss, or the peer is gone",
            ]
        );
    }

    #[test]
    fn where_nothing_is_stuck_it_says_so() {
        assert_eq!(table(&picture(Vec::new())), "nothing is stuck\n");
    }

    #[test]
    fn what_is_left_out_is_told_with_its_reason() {
        assert_eq!(
            notes(&picture(Vec::new()), 30_000_000_000),
            [
                "2 more connections are closing, not proven to be so for 30.0s",
                "the descriptors of 3 processes may not be looked at",
                "network namespace 7 is not open",
            ]
        );
    }
}
