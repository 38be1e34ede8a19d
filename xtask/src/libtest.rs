//! Reads what libtest prints, while it is being printed.

/// The tests of one cargo call.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Sum of all `test result:` lines
    pub(crate) passed: u64,
    /// Likewise
    pub(crate) failed: u64,
    /// Names of the tests that passed
    pub(crate) ok: Vec<String>,
    /// Names of all the others: failed, ignored or never finished
    pub(crate) not_ok: Vec<String>,
}

/// Turns chunks of output into a [`Report`].
#[derive(Default)]
pub(crate) struct Parser {
    report: Report,
    /// The line that is not complete yet
    line: Vec<u8>,
    /// A test that has started; its verdict may come lines later when it prints past the capture
    running: Option<String>,
}

impl Parser {
    /// Takes the next piece of output, cut anywhere.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        for &byte in chunk {
            if byte == b'\n' {
                let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                self.line(line.trim_end());
            } else {
                self.line.push(byte);
            }
        }
    }

    /// The output has ended.
    pub(crate) fn finish(mut self) -> Report {
        self.feed(b"\n");
        self.report.not_ok.extend(self.running.take());
        self.report
    }

    fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.report.passed += count(result, "passed");
            self.report.failed += count(result, "failed");
            self.report.not_ok.extend(self.running.take());
        } else if let Some((name, verdict)) = started(line) {
            self.report.not_ok.extend(self.running.replace(name.to_owned()));
            self.verdict(verdict);
        } else {
            self.verdict(line);
        }
    }

    /// Ends the running test if `text` ends with a verdict. A line that only looks like one can hide no failure:
    /// the sums and cargo's exit status know of it.
    fn verdict(&mut self, text: &str) {
        let list = if text.ends_with("ok") {
            &mut self.report.ok
        } else if text.ends_with("FAILED") || text == "ignored" || text.starts_with("ignored,") {
            &mut self.report.not_ok
        } else {
            return;
        };
        list.extend(self.running.take());
    }
}

/// Name and what follows the dots of a line that starts a test.
fn started(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.split_once(" ... ").or_else(|| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ...")?;
        Some((name, ""))
    })?;
    Some((name.strip_suffix(" - should panic").unwrap_or(name), verdict))
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(result: &str, word: &str) -> u64 {
    let mut before = "";
    for piece in result.split([' ', ';']) {
        if piece == word {
            return before.parse().unwrap_or(0);
        }
        before = piece;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Report {
        let mut parser = Parser::default();
        for chunk in text.as_bytes().chunks(7) {
            parser.feed(chunk);
        }
        parser.finish()
    }

    #[test]
    fn sums_every_binary() {
        let report = parse(
            "running 2 tests\ntest a::b ... ok\ntest c ... FAILED\n\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s\n\
             running 2 tests\ntest d - should panic ... ok\ntest e ... ignored, needs a kernel\n\n\
             test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.0s\n",
        );
        assert_eq!((report.passed, report.failed), (2, 1));
        assert_eq!(report.ok, ["a::b", "d"]);
        assert_eq!(report.not_ok, ["c", "e"]);
    }

    #[test]
    fn a_verdict_may_come_after_noise() {
        let report =
            parse("test noisy ... a child says hello\nmore\nok\ntest glued ... halfok\ntest quiet ... ok\n");
        assert_eq!(report.ok, ["noisy", "glued", "quiet"]);
        assert!(report.not_ok.is_empty());
    }

    #[test]
    fn a_test_that_never_ended_is_not_ok() {
        assert_eq!(parse("test first ... ok\ntest killed ... ").not_ok, ["killed"]);
    }
}
