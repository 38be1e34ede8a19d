//! Every claim of a record by its name, so that two tellings of one story can be compared.

#![allow(dead_code, reason = "each test uses its share")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use finwait_core::record::{CloseRecord, TimeWaitRecord, WaveTime};
use finwait_core::{Claim, Reason};

/// What is said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// A value, as text
    Value(String),
    /// At least and at most
    Span(u64, u64),
    /// Nothing, and why
    Unknown(Reason),
}

impl Said {
    /// Saying this is right where `truth` is: nothing, the same, or a span with the truth in it.
    pub fn agrees_with(&self, truth: &Said) -> bool {
        match (self, truth) {
            (Self::Unknown(_), _) => true,
            (Self::Span(least, most), Self::Span(from, to)) => least <= from && to <= most,
            (said, truth) => said == truth,
        }
    }
}

pub type Claims = BTreeMap<String, Said>;

#[derive(Default)]
struct Collector(Claims);

impl Collector {
    fn value<T: Debug>(&mut self, name: &str, claim: &Claim<T>) {
        let said = match claim {
            Claim::Known { value, .. } => Said::Value(format!("{value:?}")),
            Claim::Unknown(reason) => Said::Unknown(*reason),
        };
        self.0.insert(name.to_owned(), said);
    }

    fn span(&mut self, name: &str, claim: &Claim<(u64, u64)>) {
        let said = match claim {
            Claim::Known { value: (least, most), .. } => Said::Span(*least, *most),
            Claim::Unknown(reason) => Said::Unknown(*reason),
        };
        self.0.insert(name.to_owned(), said);
    }

    fn time(&mut self, name: &str, claim: &Claim<WaveTime>) {
        self.span(name, &claim.map(|time| (time.earliest.0, time.latest.0)));
    }
}

pub fn of_close(close: &CloseRecord) -> Claims {
    let mut all = Collector::default();
    all.value("role", &close.role);
    all.value("opener", &close.opener);
    all.value("acceptor", &close.acceptor);
    all.value("closer", &close.closer);
    all.value("cause", &close.cause);
    all.value("first_closer", &close.first_closer);
    all.value("kind", &close.kind);
    all.value("waves", &close.waves);
    all.value("successor", &close.successor);
    all.value("life_ns", &close.life_ns);
    all.value("handshake_ns", &close.handshake_ns);
    all.value("bytes_sent", &close.bytes_sent);
    all.value("bytes_received", &close.bytes_received);
    all.value("srtt_us", &close.srtt_us);
    all.value("error", &close.error);
    all.value("half_closed_ns", &close.half_closed_ns);
    all.value("half_closed_bytes", &close.half_closed_bytes);
    all.value("fin_retransmits", &close.fin_retransmits);
    all.value("fin_outcome", &close.fin_outcome);
    for (index, wave) in close.wave_times.waves.iter().enumerate() {
        all.time(&format!("wave {}", index + 1), wave);
    }
    if let Some(reset) = &close.reset {
        all.value("reset.direction", &reset.direction);
        all.value("reset.cause", &reset.cause);
        all.value("reset.reason", &reset.reason);
        all.value("reset.unread_bytes", &reset.unread_bytes);
    }
    if let Some(timeout) = &close.timeout {
        all.value("timeout", timeout);
    }
    for dwell in &close.dwells {
        all.value(dwell.state.name(), &dwell.duration_ns);
    }
    all.0
}

pub fn of_time_wait(record: &TimeWaitRecord) -> Claims {
    let mut all = Collector::default();
    all.time("began", &record.began);
    all.value("from_fin_wait2", &record.from_fin_wait2);
    all.time("entered", &record.entered);
    all.time("ended", &record.ended);
    all.value("end", &record.end);
    all.span("fin_wait2_ns", &record.fin_wait2_ns);
    all.span("time_wait_ns", &record.time_wait_ns);
    all.value("ended_by", &record.ended_by);
    all.0
}
