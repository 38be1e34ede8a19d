//! The table in docs/compatibility.md that says what each row of the scenario suite proves on each kernel, and what guests
//! say of it. Both must be the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::vm::kernel::Version;
use crate::vm::transcript::Transcript;

const DOCUMENT: &str = "docs/compatibility.md";
const BEGIN: &str = "<!-- rows: `cargo xtask vm --write-rows` -->";
const END: &str = "<!-- rows end -->";
const PART: &str = "rows";
/// A row that the kernels of a column have not been asked about.
const BLANK: &str = "";

/// By row and by kernel (5.10), what is proven.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matrix {
    kernels: Vec<String>,
    rows: BTreeMap<String, BTreeMap<String, String>>,
}

/// What one guest says of each row.
pub(super) type Said = BTreeMap<String, String>;

/// The rows that a guest reports: name, tab, what it proves.
pub(super) fn said(transcript: &Transcript) -> Said {
    let pairs = transcript.lines(PART).iter().filter_map(|line| line.split_once('\t'));
    pairs.map(|(row, cell)| (row.to_owned(), cell.trim_end().to_owned())).collect()
}

impl Matrix {
    /// The document's table.
    pub(super) fn read(root: &Path) -> Result<Self> {
        let path = root.join(DOCUMENT);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (_, table, _) = split(&text)?;
        Ok(Self::parse(table))
    }

    fn parse(table: &str) -> Self {
        let mut lines = table.lines().filter_map(cells);
        let kernels: Vec<String> = lines.next().unwrap_or_default().into_iter().skip(1).collect();
        let rows = lines
            .filter(|cells| cells.first().is_some_and(|row| !row.starts_with('-')))
            .filter_map(|cells| {
                let (row, cells) = cells.split_first()?;
                Some((row.clone(), kernels.iter().cloned().zip(cells.iter().cloned()).collect()))
            })
            .collect();
        Self { kernels, rows }
    }

    /// Where a guest with `version` says something else than the column of its kernel. A newer kernel than the last column is
    /// held to that one. `complete`: every row ran.
    pub(super) fn differences(&self, version: &Version, said: &Said, complete: bool) -> Vec<String> {
        let Some(column) = self.column(version) else { return vec![format!("{DOCUMENT} has no rows")] };
        let mut found = Vec::new();
        for (row, cell) in said {
            let documented =
                self.rows.get(row).and_then(|cells| cells.get(column)).map_or(BLANK, String::as_str);
            if documented != cell {
                found.push(format!("row {row}: {cell}; {DOCUMENT} says for {column}: {documented:?}"));
            }
        }
        let silent = self.rows.iter().filter(|(row, cells)| {
            complete && !said.contains_key(*row) && cells.get(column).is_some_and(|cell| cell != BLANK)
        });
        found.extend(silent.map(|(row, _)| format!("row {row}: nothing was said of it")));
        found
    }

    fn column(&self, version: &Version) -> Option<&String> {
        let exact = self.kernels.iter().find(|kernel| **kernel == version.release());
        exact.or_else(|| {
            let older =
                self.kernels.iter().filter_map(|kernel| Some((kernel.parse::<Version>().ok()?, kernel)));
            older
                .filter(|(kernel, _)| kernel <= version)
                .max_by(|one, other| one.0.cmp(&other.0))
                .map(|(_, k)| k)
        })
    }

    /// Takes over what a guest said, in a column of its own.
    pub(super) fn take(&mut self, version: &Version, said: &Said) {
        let column = version.release();
        if !self.kernels.contains(&column) {
            self.kernels.push(column.clone());
            self.kernels.sort_by_key(|kernel| kernel.parse::<Version>().ok());
        }
        for (row, cell) in said {
            self.rows.entry(row.clone()).or_default().insert(column.clone(), cell.clone());
        }
    }

    /// Writes it into the document.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let path = root.join(DOCUMENT);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let (before, _, after) = split(&text)?;
        fs::write(&path, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.to_markdown()))
            .with_context(|| path.display().to_string())
    }

    fn to_markdown(&self) -> String {
        let mut text =
            format!("| row | {} |\n|---|{}\n", self.kernels.join(" | "), "---|".repeat(self.kernels.len()));
        for (row, cells) in &self.rows {
            let cell = |kernel: &String| cells.get(kernel).map_or(BLANK, String::as_str);
            let cells: Vec<&str> = self.kernels.iter().map(cell).collect();
            text.push_str(&format!("| {row} | {} |\n", cells.join(" | ")));
        }
        text
    }
}

/// What stands before, between and after the marks.
fn split(text: &str) -> Result<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no {BEGIN}"))?;
    let (table, after) = rest.split_once(END).with_context(|| format!("{DOCUMENT} has no {END}"))?;
    ensure!(!after.contains(BEGIN), "{DOCUMENT} has two tables of rows");
    Ok((before, table, after))
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inner.split('|').map(|cell| cell.trim().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\n| row | 5.10 | 6.18 |\n|---|---|---|\n| a | unknown(field_absent: cause) | proven |\n| b | proven | proven |\n";

    fn guest(lines: &str) -> Said {
        said(&Transcript::read(format!("@guest begin rows\n{lines}@guest end rows 0\n").as_bytes()))
    }

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn a_guest_that_says_what_is_documented_differs_in_nothing() {
        let matrix = Matrix::parse(TABLE);
        let said = guest("a\tunknown(field_absent: cause)\nb\tproven\n");
        assert_eq!(matrix.differences(&version("5.10.223"), &said, true), Vec::<String>::new());
        assert_eq!(matrix.differences(&version("6.18.1"), &guest("a\tproven\nb\tproven\n"), true).len(), 0);
    }

    #[test]
    fn every_difference_is_one() {
        let matrix = Matrix::parse(TABLE);
        assert_eq!(
            matrix.differences(&version("6.18.1"), &guest("a\tunknown(x)\nb\tproven\n"), true).len(),
            1
        );
        assert_eq!(
            matrix.differences(&version("6.18.1"), &guest("a\tproven\n"), true).len(),
            1,
            "b is silent"
        );
        assert_eq!(
            matrix.differences(&version("6.18.1"), &guest("a\tproven\n"), false).len(),
            0,
            "b did not run"
        );
        let new = guest("a\tproven\nb\tproven\nc\tproven\n");
        assert_eq!(matrix.differences(&version("6.18.1"), &new, true).len(), 1, "c is not documented");
        assert_eq!(Matrix::default().differences(&version("6.18.1"), &new, true).len(), 1);
    }

    #[test]
    fn a_newer_kernel_is_held_to_the_last_column() {
        let matrix = Matrix::parse(TABLE);
        assert_eq!(matrix.differences(&version("7.4.0"), &guest("a\tproven\nb\tproven\n"), true).len(), 0);
        assert_eq!(matrix.differences(&version("6.1.0"), &guest("b\tproven\n"), false).len(), 0);
    }

    #[test]
    fn what_was_written_reads_back() {
        let mut matrix = Matrix::parse(TABLE);
        matrix.take(&version("6.1.140"), &guest("a\tproven\n"));
        assert_eq!(matrix.kernels, ["5.10", "6.1", "6.18"]);
        assert_eq!(Matrix::parse(&matrix.to_markdown()).rows["a"]["6.1"], "proven");
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("docs")).unwrap();
        let document = folder.path().join(DOCUMENT);
        fs::write(&document, format!("head\n{BEGIN}\n{END}\ntail\n")).unwrap();
        matrix.write(folder.path()).unwrap();
        assert_eq!(Matrix::read(folder.path()).unwrap().rows["b"]["5.10"], "proven");
        let text = fs::read_to_string(document).unwrap();
        assert!(text.starts_with("head\n") && text.ends_with("\ntail\n"), "{text}");
    }
}
