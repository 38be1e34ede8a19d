//! A report's document as text for a terminal, and as Markdown.

use std::fmt::Write;

use super::document::{Document, Section};

/// Sentences wider than this are hard to read.
const MAX_TEXT: usize = 100;

/// Titles in capitals, tables with aligned columns.
#[must_use]
pub fn text(document: &Document) -> String {
    let mut out = format!("{}\n", document.title);
    for section in &document.sections {
        // Writing to a string cannot fail.
        _ = write!(out, "\n{}\n", section.title.to_uppercase());
        for sentence in &section.sentences {
            wrap(sentence, &mut out);
        }
        table(section, &mut out);
    }
    out
}

fn wrap(sentence: &str, out: &mut String) {
    let mut length = 0;
    out.push_str("  ");
    for word in sentence.split(' ') {
        let word_length = word.chars().count();
        if length > 0 && length + 1 + word_length > MAX_TEXT {
            out.push_str("\n    ");
            length = 0;
        } else if length > 0 {
            out.push(' ');
            length += 1;
        }
        out.push_str(word);
        length += word_length;
    }
    out.push('\n');
}

/// A row that is shorter than the header spans what is left, and widens no column.
fn table(section: &Section, out: &mut String) {
    let Some(columns) = section.table.first().map(Vec::len) else { return };
    let full = section.table.iter().filter(|row| row.len() == columns);
    let mut widths = vec![0; columns];
    for row in full {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if let Some(first) = widths.first_mut() {
        *first = section
            .table
            .iter()
            .filter_map(|row| row.first())
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0);
    }
    for row in &section.table {
        let mut line = String::from(" ");
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            _ = if place < section.words {
                write!(line, " {cell:<width$} ")
            } else {
                write!(line, " {cell:>width$} ")
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// Headings and pipe tables.
#[must_use]
pub fn markdown(document: &Document) -> String {
    let mut lines = document.title.lines();
    let mut out = format!("# {}\n", escaped(lines.next().unwrap_or_default()));
    lines.for_each(|line| _ = write!(out, "\n{}\n", escaped(line)));
    for section in &document.sections {
        _ = write!(out, "\n## {}\n", section.title);
        section.sentences.iter().for_each(|sentence| _ = write!(out, "\n{}\n", escaped(sentence)));
        let Some(header) = section.table.first() else { continue };
        out.push('\n');
        row(header, header.len(), &mut out);
        let bars = (0..header.len()).map(|place| if place < section.words { "---" } else { "---:" });
        _ = writeln!(out, "|{}|", bars.collect::<Vec<_>>().join("|"));
        section.table[1..].iter().for_each(|cells| row(cells, header.len(), &mut out));
    }
    out
}

fn row(cells: &[String], columns: usize, out: &mut String) {
    let cells = cells.iter().map(|cell| escaped(cell)).chain(std::iter::repeat(String::new())).take(columns);
    _ = writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// Names of processes are anyone's: none makes a link, a heading or a column.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '&') {
            plain.push('\\');
        }
        plain.push(c);
    }
    plain
}
