//! CSV: the flat part of the JSON records, named by the path to it (`opener.comm`). Nothing stands for what is null.
//! The rows of `closes` are close records alone: of both ends two, and none for a time-wait socket, which has other columns.

use std::io::{self, Write};

use finwait_core::Record;
use finwait_core::record::CloseRecord;
use serde_json::Value;

use super::json::{CloseJson, StateJson};
use super::{Context, Sink, SinkError, Verdict, safe};
use crate::config::Subject;

/// Columns of `states`.
pub(super) const STATES: &[&str] = &[
    "time",
    "time_ns",
    "conn_id",
    "cookie",
    "tgid",
    "pid",
    "comm",
    "family",
    "local_addr",
    "local_port",
    "remote_addr",
    "remote_port",
    "netns",
    "cgroup",
    "old_state",
    "new_state",
    "in_old_state_ns",
    "chain_broken",
];

/// Columns of `closes`.
pub(super) const CLOSES: &[&str] = &[
    "time",
    "time_ns",
    "conn_id",
    "family",
    "local_addr",
    "local_port",
    "remote_addr",
    "remote_port",
    "netns",
    "cgroup",
    "uid",
    "mark",
    "is_mptcp",
    "seen_from",
    "role",
    "opener.tgid",
    "opener.comm",
    "closer.tgid",
    "closer.comm",
    "first_closer",
    "kind",
    "reset_direction",
    "reset_cause",
    "reset_unread_bytes",
    "timeout_cause",
    "error",
    "error_name",
    "waves",
    "successor",
    "life_ns",
    "handshake_ns",
    "dwell_ns.SYN_SENT",
    "dwell_ns.SYN_RECV",
    "dwell_ns.ESTABLISHED",
    "dwell_ns.FIN_WAIT1",
    "dwell_ns.FIN_WAIT2",
    "dwell_ns.CLOSING",
    "dwell_ns.CLOSE_WAIT",
    "dwell_ns.LAST_ACK",
    "slow_state",
    "sent_bytes",
    "received_bytes",
    "srtt_us",
    "total_retrans",
    "idle_send_ns",
    "idle_receive_ns",
    "steps_dropped",
    "chain_breaks",
    "acceptor.tgid",
    "acceptor.comm",
    "cause",
    "exit_signal",
    "reset_reason",
    "reset_state",
    "slow_wave",
    "half_closed_ns",
    "half_closed_bytes",
    "fin_retransmits.by_timeout",
    "fin_retransmits.by_probe",
    "fin_retransmits.by_recovery",
    "fin_outcome",
    "workload.container",
    "workload.pod",
    "workload.unit",
];

/// See the module.
pub struct CsvSink {
    out: csv::Writer<Box<dyn Write + Send>>,
    columns: &'static [&'static str],
    context: Context,
}

impl CsvSink {
    /// CSV of `subject` on `out`, which need not buffer.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, subject: Subject) -> Self {
        let columns = match subject {
            Subject::States => STATES,
            Subject::Closes => CLOSES,
        };
        Self { out: csv::Writer::from_writer(out), columns, context: Context::default() }
    }

    fn json(&mut self, value: Result<Value, serde_json::Error>) -> Result<(), SinkError> {
        self.row(&value.map_err(|error| SinkError::stdout(error.into()))?)
    }

    fn close(&mut self, record: &CloseRecord) -> Result<(), SinkError> {
        let value = serde_json::to_value(CloseJson::new(record, &self.context));
        self.json(value)
    }

    fn row(&mut self, value: &Value) -> Result<(), SinkError> {
        let fields = self.columns.iter().map(|path| text(at(value, path)));
        self.out.write_record(fields).map_err(failed)
    }
}

fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, key| value.get(key).unwrap_or(&Value::Null))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => safe(text).into_owned(),
        other => other.to_string(),
    }
}

fn failed(error: csv::Error) -> SinkError {
    SinkError::stdout(match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    })
}

impl Sink for CsvSink {
    fn context(&mut self, context: &Context) {
        self.context = context.clone();
    }

    fn begin(&mut self) -> Result<(), SinkError> {
        self.out.write_record(self.columns).map_err(failed)?;
        self.flush()
    }

    fn record(&mut self, record: &Record) -> Result<(), SinkError> {
        match record {
            Record::Transition(record) => {
                let value = serde_json::to_value(StateJson::new(record, &self.context));
                self.json(value)
            }
            Record::Close(record) => self.close(record),
            Record::BothEnds(both) => {
                self.close(&both.opener_side)?;
                self.close(&both.acceptor_side)
            }
            Record::TimeWait(_) => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.out.flush().map_err(SinkError::stdout)
    }

    fn finish(&mut self, _verdict: &Verdict) -> Result<(), SinkError> {
        self.flush()
    }
}

#[cfg(test)]
mod tests {
    use finwait_core::TcpState;

    use super::*;
    use crate::sink::samples_for_tests::{self as samples, Shared, context, owner};

    fn written(subject: Subject, records: &[Record]) -> String {
        let out = Shared::default();
        let mut sink = CsvSink::new(Box::new(out.clone()), subject);
        sink.context(&context());
        sink.begin().unwrap();
        for record in records {
            sink.record(record).unwrap();
        }
        sink.flush().unwrap();
        out.text()
    }

    #[test]
    fn every_column_is_a_key_of_the_json_record() {
        let change = samples::transition(TcpState::Established, TcpState::FinWait1);
        let state = serde_json::to_value(StateJson::new(&change, &context())).unwrap();
        let [close, killed] = [samples::close(), samples::killed()]
            .map(|record| serde_json::to_value(CloseJson::new(&record, &context())).unwrap());
        for (columns, values) in [(STATES, vec![state]), (CLOSES, vec![close, killed])] {
            for column in columns.iter().filter(|column| !column.starts_with("dwell_ns.")) {
                let pointer = format!("/{}", column.replace('.', "/"));
                assert!(values.iter().any(|value| value.pointer(&pointer).is_some()), "{column}");
            }
        }
    }

    #[test]
    fn a_close_is_one_row_under_the_header() {
        let text = written(Subject::Closes, &[Record::Close(Box::new(samples::close()))]);
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap(), CLOSES.join(","));
        let row: Vec<&str> = lines.next().unwrap().split(',').collect();
        let field = |name: &str| row[CLOSES.iter().position(|column| *column == name).unwrap()];
        assert_eq!(field("time"), "2026-09-23T20:24:14.148000Z");
        assert_eq!(field("opener.comm"), "curl");
        assert_eq!(field("dwell_ns.FIN_WAIT2"), "3100000000");
        assert_eq!(field("dwell_ns.CLOSE_WAIT"), "");
        assert_eq!(field("slow_state"), "FIN_WAIT2");
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn both_ends_are_a_row_each_and_a_time_wait_is_none() {
        let records = [
            Record::BothEnds(Box::new(samples::both_ends())),
            Record::TimeWait(Box::new(samples::time_wait())),
        ];
        let text = written(Subject::Closes, &records);
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows[0].contains(",opened,") && rows[1].contains(",accepted,"), "{text}");
        let fields = |line: &str| line.split(',').count();
        assert!(rows.iter().all(|row| fields(row) == CLOSES.len()), "{text}");
    }

    #[test]
    fn a_hostile_name_stays_in_its_field() {
        let mut record = samples::transition(TcpState::Established, TcpState::FinWait1);
        record.actor = samples::known(owner("a,\"b\n\u{1b}[1m", 1, 1));
        let text = written(Subject::States, &[Record::Transition(Box::new(record))]);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains(r#""a,""b\n\x1b[1m""#), "{text}");
        assert!(!text.contains('\u{1b}'));
    }
}
