//! What a guest reported: its parts, told apart by the marks that `init.sh` prints around them.

use crate::libtest::{Parser, Report};

const MARK: &str = "@guest ";

/// A part of the report.
#[derive(Debug, PartialEq, Eq)]
struct Part {
    name: String,
    lines: Vec<String>,
    /// `None` if it never ended
    status: Option<u32>,
}

/// All parts, in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Transcript(Vec<Part>);

impl Transcript {
    /// Takes apart what came out of the serial port.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut parts: Vec<Part> = Vec::new();
        for line in String::from_utf8_lossy(bytes).lines().map(str::trim_end) {
            // A part may end within a line.
            let (line, mark) = match line.split_once(MARK) {
                Some((line, mark)) => (line, Some(mark)),
                None => (line, None),
            };
            let open = parts.last_mut().filter(|part| part.status.is_none());
            match mark.map(|mark| mark.split(' ').collect::<Vec<_>>()).as_deref() {
                Some(["begin", name]) => {
                    parts.push(Part { name: (*name).to_owned(), lines: Vec::new(), status: None });
                }
                Some(["end", name, status]) => {
                    if let Some(part) = open.filter(|part| part.name == *name) {
                        part.take(line);
                        part.status = status.parse().ok();
                    }
                }
                _ => {
                    if let Some(part) = open {
                        part.take(line);
                    }
                }
            }
        }
        Self(parts)
    }

    /// Exit status of `name`, if it ended.
    pub(super) fn status(&self, name: &str) -> Option<u32> {
        self.part(name)?.status
    }

    /// What `name` printed.
    pub(super) fn lines(&self, name: &str) -> &[String] {
        self.part(name).map_or(&[], |part| &part.lines)
    }

    /// `names`, as far as they began, as the output of tests.
    pub(super) fn tests(&self, names: &[&str]) -> Report {
        let mut parser = Parser::default();
        for name in names {
            parser.feed(self.lines(name).join("\n").as_bytes());
            parser.feed(b"\n");
        }
        parser.finish()
    }

    /// The highest exit status of those of `names` that began, if at least one did and all of them ended.
    pub(super) fn worst_status(&self, names: &[&str]) -> Option<u32> {
        let parts: Vec<_> = names.iter().filter_map(|name| self.part(name)).collect();
        let statuses: Option<Vec<_>> = parts.iter().map(|part| part.status).collect();
        statuses?.into_iter().max()
    }

    fn part(&self, name: &str) -> Option<&Part> {
        self.0.iter().find(|part| part.name == name)
    }
}

impl Part {
    fn take(&mut self, line: &str) {
        self.lines.push(line.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let bytes = b"noise\r\n@guest begin demo\r\nall seen\r\n@guest end demo 0\r\nnoise\r\n\
            @guest begin live\r\ntest a ... ok\r\ntest b ... @guest end live 101\r\n";
        let transcript = Transcript::read(bytes);
        assert_eq!((transcript.status("demo"), transcript.status("live")), (Some(0), Some(101)));
        assert_eq!(transcript.lines("demo"), ["all seen", ""]);
        assert_eq!(transcript.status("doctor"), None);
        let report = transcript.tests(&["live"]);
        assert_eq!((report.ok, report.not_ok), (vec!["a".to_owned()], vec!["b".to_owned()]));
    }

    #[test]
    fn tests_of_two_parts_are_one_report() {
        let text =
            "@guest begin live\ntest a ... ok\n@guest end live 0\n@guest begin alone\ntest b ... FAILED\n";
        let both = ["live", "alone"];
        let begun = Transcript::read(text.as_bytes());
        assert_eq!((begun.worst_status(&both), begun.worst_status(&["live", "none"])), (None, Some(0)));
        let ended = Transcript::read(format!("{text}@guest end alone 101\n").as_bytes());
        assert_eq!(ended.worst_status(&both), Some(101));
        let report = ended.tests(&both);
        assert_eq!((report.ok, report.not_ok), (vec!["a".to_owned()], vec!["b".to_owned()]));
        assert_eq!(ended.worst_status(&["none"]), None);
    }

    #[test]
    fn a_part_that_never_ended_has_no_status() {
        let transcript = Transcript::read(b"@guest begin live\ntest a ... ok\ntest b ... ");
        assert_eq!(transcript.status("live"), None);
        assert_eq!(transcript.tests(&["live"]).not_ok, ["b"]);
    }
}
