//! A configuration file of `serve`, made into the flags that it stands for. Whether a flag likes its value is clap's to say.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::keys::{Key, Kind, names, tables};

/// Larger than any that was written by hand.
const MAX_BYTES: u64 = 1 << 20;

/// Why a configuration file is refused. Every message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// Why
        source: io::Error,
    },
    /// Something in it is wrong
    #[error("{}:{line}: {reason}", path.display())]
    At {
        /// The file
        path: PathBuf,
        /// The line, counted from 1
        line: usize,
        /// What, and what is allowed
        reason: String,
    },
    /// Its keys do not go together
    #[error("{}: {reason}", path.display())]
    Together {
        /// The file
        path: PathBuf,
        /// Which do not
        reason: String,
    },
}

/// One value of one key.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The flag's id
    pub(super) id: String,
    /// The key in full
    pub(super) name: String,
    /// The flag with its value; `None` for a switch that is off and an array without values
    pub(super) argument: Option<String>,
    /// Where it is written
    pub(super) line: usize,
}

/// A line, and what is wrong there.
type Wrong = (usize, String);

/// The settings in the file at `path`, in the order in which they are written.
///
/// # Errors
/// When it cannot be read, is no TOML, or has a key that is not in `keys` or a value of another type.
pub(super) fn read(path: &Path, keys: &[Key]) -> Result<Vec<Setting>, FileError> {
    let text = content(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    settings(&text, keys).map_err(|(line, reason)| FileError::At { path: path.to_owned(), line, reason })
}

fn content(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has over 1 MiB"));
    }
    Ok(text)
}

fn settings(text: &str, keys: &[Key]) -> Result<Vec<Setting>, Wrong> {
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        (line_of(text, at), error.message().replace('\n', ", "))
    })?;
    let mut reading = Reading { text, keys, settings: Vec::new() };
    reading.table(None, table.get_ref())?;
    Ok(reading.settings)
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

struct Reading<'a> {
    text: &'a str,
    keys: &'a [Key],
    settings: Vec<Setting>,
}

impl Reading<'_> {
    /// Takes all of `table`; `None` is what is in none.
    fn table(&mut self, name: Option<&str>, table: &DeTable<'_>) -> Result<(), Wrong> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let line = line_of(self.text, key.span().start);
            let full =
                name.map_or_else(|| key.get_ref().to_string(), |name| format!("{name}.{}", key.get_ref()));
            let known = self.keys.iter().find(|known| known.name == full);
            if let Some(known) = known.filter(|_| !key.get_ref().contains('.')) {
                self.key(&known.clone(), line, value.get_ref())?;
            } else if name.is_none() && tables(self.keys).contains(&full.as_str()) {
                let inner = value
                    .get_ref()
                    .as_table()
                    .ok_or_else(|| (line, format!("`{full}` is a table: write [{full}]")))?;
                self.table(Some(&full), inner)?;
            } else {
                return Err((line, self.unknown(name, &full)));
            }
        }
        Ok(())
    }

    fn unknown(&self, table: Option<&str>, full: &str) -> String {
        let allowed = names(self.keys, table).join(", ");
        match table {
            Some(table) => format!("there is no key `{full}`: [{table}] has {allowed}"),
            None => format!(
                "there is no key `{full}`: allowed are {allowed}, and the tables {}",
                tables(self.keys).join(", ")
            ),
        }
    }

    fn key(&mut self, key: &Key, line: usize, value: &DeValue<'_>) -> Result<(), Wrong> {
        let wrong = |line, value: &DeValue<'_>| {
            (line, format!("`{}` takes {}, and this is {}", key.name, key.takes(), named(value)))
        };
        let (DeValue::Array(values), true) = (value, key.is_list) else {
            let argument = if key.is_list { None } else { argument(key, value) };
            self.set(key, line, argument.ok_or_else(|| wrong(line, value))?);
            return Ok(());
        };
        if values.is_empty() {
            let empty = || (line, format!("`{}` takes {} with at least one of them", key.name, key.takes()));
            key.may_be_empty().then_some(()).ok_or_else(empty)?;
            self.set(key, line, None);
        }
        for value in values {
            let line = line_of(self.text, value.span().start);
            let argument = argument(key, value.get_ref());
            self.set(key, line, argument.ok_or_else(|| wrong(line, value.get_ref()))?);
        }
        Ok(())
    }

    fn set(&mut self, key: &Key, line: usize, argument: Option<String>) {
        self.settings.push(Setting { id: key.id.clone(), name: key.name.clone(), argument, line });
    }
}

/// The flag with this value, or nothing where the switch is off; `None` where it takes no such type.
fn argument(key: &Key, value: &DeValue<'_>) -> Option<Option<String>> {
    let flag = &key.name;
    match (key.kind, value) {
        (Kind::Switch, DeValue::Boolean(on)) => Some(on.then(|| format!("--{flag}"))),
        (Kind::Text | Kind::NumberOrText, DeValue::String(text)) => Some(Some(format!("--{flag}={text}"))),
        (Kind::Number | Kind::NumberOrText, DeValue::Integer(number)) => {
            let number = i128::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(Some(format!("--{flag}={number}")))
        }
        (Kind::NumberOrText, DeValue::Float(number)) => Some(Some(format!("--{flag}={}", number.as_str()))),
        _ => None,
    }
}

fn named(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
