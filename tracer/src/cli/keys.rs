//! The keys of a configuration file: every flag of `serve`, under its long name; what comes before a dot is the table. They are taken
//! from the definition of the flags, so that there is no list that could fall behind it.

use std::any::TypeId;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use finwait_core::Port;

use super::value::Place;

/// Flags that choose or check the file itself, or ask for help instead.
const NO_KEYS: &[&str] = &["config", "check-config", "help", "version"];

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// true or false
    Switch,
    /// An integer
    Number,
    /// A string
    Text,
    /// Either
    NumberOrText,
}

impl Kind {
    /// By the type that the flag's parser makes.
    fn of(flag: &Arg) -> Self {
        if matches!(flag.get_action(), ArgAction::SetTrue) {
            return Self::Switch;
        }
        let made = flag.get_value_parser().type_id();
        if made == TypeId::of::<usize>() || made == TypeId::of::<Port>() {
            Self::Number
        } else if made == TypeId::of::<f64>() || made == TypeId::of::<u32>() || made == TypeId::of::<Place>()
        {
            Self::NumberOrText
        } else {
            Self::Text
        }
    }
}

/// One key.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// The flag's id
    pub(super) id: String,
    /// The flag without its dashes
    pub(super) name: String,
    /// What one value is
    pub(super) kind: Kind,
    /// It takes an array of such values
    pub(super) is_list: bool,
    /// There is a value where none is given
    has_default: bool,
}

impl Key {
    fn of(flag: &Arg) -> Option<Self> {
        let name = flag.get_long().filter(|name| !NO_KEYS.contains(name))?;
        Some(Self {
            id: flag.get_id().to_string(),
            name: name.to_owned(),
            kind: Kind::of(flag),
            is_list: matches!(flag.get_action(), ArgAction::Append),
            has_default: !flag.get_default_values().is_empty(),
        })
    }

    /// The table and the name in it.
    fn parts(&self) -> (Option<&str>, &str) {
        self.name.rsplit_once('.').map_or((None, &self.name), |(table, name)| (Some(table), name))
    }

    /// An array without any value would mean the default, and look like none.
    pub(super) fn may_be_empty(&self) -> bool {
        self.is_list && !self.has_default
    }

    /// What it takes, as a phrase.
    pub(super) fn takes(&self) -> &'static str {
        match (self.is_list, self.kind) {
            (_, Kind::Switch) => "true or false",
            (false, Kind::Number) => "a number",
            (false, Kind::Text) => "a string",
            (false, Kind::NumberOrText) => "a number or a string",
            (true, Kind::Number) => "an array of numbers",
            (true, Kind::Text) => "an array of strings",
            (true, Kind::NumberOrText) => "an array of numbers or strings",
        }
    }

    /// Its value in `matches` as TOML; `None` where there is none, or it is no Unicode.
    fn value_in(&self, matches: &ArgMatches) -> Option<String> {
        if self.kind == Kind::Switch {
            return Some(matches.get_flag(&self.id).to_string());
        }
        let mut values =
            matches.get_raw(&self.id)?.filter_map(|raw| raw.to_str()).map(|raw| self.written(raw));
        if self.is_list {
            Some(format!("[{}]", values.by_ref().collect::<Vec<_>>().join(", ")))
        } else {
            values.next()
        }
    }

    fn written(&self, raw: &str) -> String {
        match (self.kind, raw.parse::<u64>()) {
            (Kind::Number, Ok(number)) => number.to_string(),
            _ => toml::Value::from(raw).to_string(),
        }
    }
}

/// The keys that `serve`'s flags make, in the order of the flags.
pub(super) fn keys(serve: &Command) -> Vec<Key> {
    serve.get_arguments().filter_map(Key::of).collect()
}

/// Names of the tables among `keys`, each once.
pub(super) fn tables(keys: &[Key]) -> Vec<&str> {
    let mut tables = Vec::new();
    for table in keys.iter().filter_map(|key| key.parts().0) {
        if !tables.contains(&table) {
            tables.push(table);
        }
    }
    tables
}

/// Names of the keys of `table`, or outside of all tables.
pub(super) fn names<'k>(keys: &'k [Key], table: Option<&str>) -> Vec<&'k str> {
    keys.iter().map(Key::parts).filter(|(of, _)| *of == table).map(|(_, name)| name).collect()
}

/// Whether the flags with these ids may be given at once.
pub(super) fn go_together(serve: &Command, one: &str, other: &str) -> bool {
    let forbids = |one: &str, other: &str| {
        let mut flags = serve.get_arguments().filter(|flag| flag.get_id() == one);
        flags.any(|flag| serve.get_arg_conflicts_with(flag).iter().any(|flag| flag.get_id() == other))
    };
    !forbids(one, other) && !forbids(other, one)
}

/// Ids of the flags that were given.
pub(super) fn given(matches: &ArgMatches) -> impl Iterator<Item = &str> {
    let ids = matches.ids().map(clap::Id::as_str);
    ids.filter(|id| matches.value_source(id) == Some(ValueSource::CommandLine))
}

/// All that is in force, as a configuration file. A key is left out that has no value, or does not count beside one that was given.
pub(super) fn in_force(serve: &Command, matches: &ArgMatches) -> String {
    let mut keys = keys(serve);
    keys.retain(|key| given(matches).all(|given| go_together(serve, given, &key.id)));
    let mut text = String::new();
    for table in std::iter::once(None).chain(tables(&keys).into_iter().map(Some)) {
        if let Some(table) = table {
            text += &format!("\n[{table}]\n");
        }
        for key in keys.iter().filter(|key| key.parts().0 == table) {
            if let Some(value) = key.value_in(matches) {
                text += &format!("{} = {value}\n", key.parts().1);
            }
        }
    }
    text
}
