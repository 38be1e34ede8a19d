//! What each metric is called in OpenTelemetry: one table, the one of docs/otlp.md.
//!
//! A name is OpenTelemetry's own where its conventions (1.44.0) have one. All others are chosen so that a collector which
//! hands them on to Prometheus gives them the name that they have on `/metrics`.

use crate::stats::family::{Definition, Kind, Unit};

/// How the values of a metric combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instrument {
    /// Only grows
    Counter,
    /// Goes up and down, and may be summed over hosts
    UpDownCounter,
    /// Goes up and down, and a sum means nothing
    Gauge,
    /// A distribution
    Histogram,
}

impl Instrument {
    /// As OpenTelemetry's conventions spell it.
    #[cfg(test)]
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "updowncounter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric's other name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// On `/metrics`
    pub metric: &'static str,
    /// In OpenTelemetry
    pub name: &'static str,
    /// By UCUM; in braces what is counted
    pub unit: &'static str,
    pub instrument: Instrument,
}

use Instrument::{Counter, Gauge, Histogram, UpDownCounter};

const fn row(
    metric: &'static str,
    name: &'static str,
    unit: &'static str,
    instrument: Instrument,
) -> Mapping {
    Mapping { metric, name, unit, instrument }
}

#[rustfmt::skip]
pub(super) const TABLE: &[Mapping] = &[
    row("finwait_connections_closed_total", "finwait.connections.closed", "{connection}", Counter),
    row("finwait_closes_by_first_closer_total", "finwait.closes.by_first_closer", "{connection}", Counter),
    row("finwait_resets_total", "finwait.resets", "{reset}", Counter),
    row("finwait_handshake_failures_total", "finwait.handshake_failures", "{connection}", Counter),
    row("finwait_close_segments_total", "finwait.close.segments", "{connection}", Counter),
    row("finwait_fin_retransmits_total", "finwait.fin.retransmits", "{segment}", Counter),
    row("finwait_connection_life_seconds", "finwait.connection.life", "s", Histogram),
    row("finwait_handshake_seconds", "finwait.handshake", "s", Histogram),
    row("finwait_state_duration_seconds", "finwait.state_duration", "s", Histogram),
    row("finwait_connections_opened_total", "finwait.connections.opened", "{connection}", Counter),
    row("finwait_state_seconds_total", "finwait.state", "s", Counter),
    row("finwait_sockets", "system.network.connection.count", "{connection}", UpDownCounter),
    row("finwait_oldest_close_wait_seconds", "finwait.oldest_close_wait", "s", Gauge),
    row("finwait_unproven_total", "finwait.unproven", "{duration}", Counter),
    row("finwait_time_wait_sockets", "finwait.time_wait_sockets", "{socket}", UpDownCounter),
    row("finwait_ephemeral_ports_free", "finwait.ephemeral_ports.free", "{port}", Gauge),
    row("finwait_ephemeral_ports_exhaustion_seconds", "finwait.ephemeral_ports.exhaustion", "s", Gauge),
    row("finwait_events_received_total", "finwait.events.received", "{event}", Counter),
    row("finwait_events_lost_total", "finwait.events.lost", "{event}", Counter),
    row("finwait_events_duplicated_total", "finwait.events.duplicated", "{event}", Counter),
    row("finwait_sequence_gaps_total", "finwait.sequence_gaps", "{gap}", Counter),
    row("finwait_chain_breaks_total", "finwait.chain_breaks", "{break}", Counter),
    row("finwait_tracked_connections", "finwait.tracked_connections", "{connection}", UpDownCounter),
    row("finwait_tracked_connections_limit", "finwait.tracked_connections_limit", "{connection}", UpDownCounter),
    row("finwait_evicted_connections_total", "finwait.evicted_connections", "{connection}", Counter),
    row("finwait_groups", "finwait.groups", "{group}", UpDownCounter),
    row("finwait_groups_limit", "finwait.groups_limit", "{group}", UpDownCounter),
    row("finwait_group_overflows_total", "finwait.group_overflows", "{connection}", Counter),
    row("finwait_snapshot_age_seconds", "finwait.snapshot.age", "s", Gauge),
    row("finwait_build_info", "finwait.build_info", "", Gauge),
    row("finwait_kernel_info", "finwait.kernel_info", "", Gauge),
    row("finwait_closes_skipped_total", "finwait.closes.skipped", "{connection}", Counter),
    row("finwait_program_run_time_seconds_total", "finwait.program.run_time", "s", Counter),
    row("finwait_program_runs_total", "finwait.program.runs", "{run}", Counter),
    row("process_cpu_seconds_total", "process.cpu.time", "s", Counter),
    row("process_resident_memory_bytes", "process.memory.usage", "By", UpDownCounter),
    row("process_open_fds", "process.unix.file_descriptor.count", "{file_descriptor}", UpDownCounter),
    row("process_start_time_seconds", "process.uptime", "s", Gauge),
    row("finwait_otlp_exports_total", "finwait.otlp.exports", "{request}", Counter),
    row("finwait_otlp_dropped_total", "finwait.otlp.dropped", "{request}", Counter),
    row("finwait_otlp_rejected_points_total", "finwait.otlp.rejected_points", "{data_point}", Counter),
];

/// Name, unit and instrument of one metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub name: String,
    pub unit: &'static str,
    pub instrument: Instrument,
}

/// The table's row, or what its rule comes to for a metric that has none: nothing is left out.
pub(super) fn named(definition: &Definition) -> Named {
    let row =
        TABLE.iter().find(|row| row.metric == definition.name && allows(row.instrument, definition.kind));
    match row {
        Some(row) => Named { name: row.name.to_owned(), unit: row.unit, instrument: row.instrument },
        None => by_rule(definition),
    }
}

/// Whether values of this kind can be sent so.
fn allows(instrument: Instrument, kind: Kind) -> bool {
    match kind {
        Kind::Counter => instrument == Counter,
        Kind::Gauge => matches!(instrument, UpDownCounter | Gauge),
        Kind::Info => instrument == Gauge,
        Kind::Histogram => instrument == Histogram,
    }
}

fn by_rule(definition: &Definition) -> Named {
    let mut name = definition.name;
    if definition.kind == Kind::Counter {
        name = name.strip_suffix("_total").unwrap_or(name);
    }
    let (suffix, unit) = match definition.unit {
        Unit::None => ("", ""),
        Unit::Seconds => ("_seconds", "s"),
        Unit::Bytes => ("_bytes", "By"),
    };
    name = name.strip_suffix(suffix).unwrap_or(name);
    let instrument = match definition.kind {
        Kind::Counter => Counter,
        Kind::Gauge | Kind::Info => Gauge,
        Kind::Histogram => Histogram,
    };
    Named { name: name.replacen('_', ".", 1), unit, instrument }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::catalogue;

    const DOCUMENTED: &str = include_str!("../../../../docs/otlp.md");

    #[test]
    fn every_metric_has_a_row_that_fits_it_and_every_row_a_metric() {
        for definition in catalogue::ALL {
            let rows = TABLE.iter().filter(|row| row.metric == definition.name);
            let fitting = rows.filter(|row| allows(row.instrument, definition.kind)).count();
            assert_eq!(fitting, 1, "{}", definition.name);
        }
        assert_eq!(TABLE.len(), catalogue::ALL.len());
    }

    #[test]
    fn units_say_the_same_on_both_sides() {
        for definition in catalogue::ALL {
            let unit = named(definition).unit;
            let (seconds, bytes) = (definition.unit == Unit::Seconds, definition.unit == Unit::Bytes);
            assert_eq!((unit == "s", unit == "By"), (seconds, bytes), "{}", definition.name);
        }
    }

    #[test]
    fn the_table_is_documented_row_by_row() {
        let row = |row: &Mapping| {
            let (name, word) = (row.name, row.instrument.word());
            let unit = if row.unit.is_empty() { String::new() } else { format!("`{}`", row.unit) };
            format!("| `{}` | `{name}` | {word} | {unit} |", row.metric)
        };
        let expected: Vec<_> = TABLE.iter().map(row).collect();
        let documented: Vec<_> = DOCUMENTED
            .lines()
            .filter(|line| {
                line.contains("counter |") || line.contains("gauge |") || line.contains("histogram |")
            })
            .collect();
        assert_eq!(documented, expected);
    }

    /// What a collector makes of a name on its way to Prometheus: the unit in words, `_total` for what only grows.
    fn in_prometheus(mapping: &Mapping) -> String {
        let unit = match mapping.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = if mapping.instrument == Counter { "_total" } else { "" };
        format!("{}{unit}{total}", mapping.name.replace('.', "_"))
    }

    #[test]
    fn names_of_our_own_come_back_to_prometheus_as_they_are_there() {
        for mapping in TABLE.iter().filter(|mapping| mapping.name.starts_with("finwait.")) {
            assert_eq!(in_prometheus(mapping), mapping.metric);
        }
    }

    #[test]
    fn no_name_stands_twice_and_none_is_the_namespace_of_another() {
        for (place, one) in TABLE.iter().enumerate() {
            for other in &TABLE[place + 1..] {
                assert_ne!(one.metric, other.metric);
                assert_ne!(one.name, other.name);
                assert!(!one.name.starts_with(&format!("{}.", other.name)), "{} in {}", one.name, other.name);
                assert!(!other.name.starts_with(&format!("{}.", one.name)), "{} in {}", other.name, one.name);
            }
        }
    }

    #[test]
    fn a_metric_without_a_row_is_named_by_the_rule() {
        let definition = Definition {
            name: "finwait_new_thing_seconds_total",
            kind: Kind::Counter,
            unit: Unit::Seconds,
            help: "",
            labels: &[],
            grouped: false,
        };
        let expected = Named { name: "finwait.new_thing".to_owned(), unit: "s", instrument: Counter };
        assert_eq!(named(&definition), expected);
    }
}
