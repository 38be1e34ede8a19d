//! What each claim of a close record rests on: the `evidence` and `unknown` maps.

use finwait_core::record::{CloseRecord, Reset};
use finwait_core::{Claim, Evidence, EvidenceSet, Reason};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// The value's name; `unknown` where it is not known.
pub(super) fn word<T: Copy>(claim: &Claim<T>, name: fn(T) -> &'static str) -> &'static str {
    claim.value().map_or("unknown", |value| name(*value))
}

/// Visits every claim of a record under the key that its value has in the JSON record.
struct Visitor<'v> {
    visit: &'v mut dyn FnMut(&str, EvidenceSet, Option<Reason>),
}

impl Visitor<'_> {
    fn claim<T>(&mut self, key: &str, claim: &Claim<T>) {
        (self.visit)(key, claim.evidence(), claim.reason());
    }

    fn record(&mut self, record: &CloseRecord) {
        self.claim("role", &record.role);
        self.claim("opener", &record.opener);
        self.claim("closer", &record.closer);
        self.claim("first_closer", &record.first_closer);
        self.claim("kind", &record.kind);
        if let Some(reset) = &record.reset {
            self.reset(reset);
        }
        if let Some(timeout) = &record.timeout {
            self.claim("timeout_cause", timeout);
        }
        self.claim("error", &record.error);
        self.claim("waves", &record.waves);
        self.claim("successor", &record.successor);
        self.claim("life_ns", &record.life_ns);
        self.claim("handshake_ns", &record.handshake_ns);
        for dwell in &record.dwells {
            self.claim(&format!("dwell_ns.{}", dwell.state.name()), &dwell.duration_ns);
        }
        self.claim("sent_bytes", &record.bytes_sent);
        self.claim("received_bytes", &record.bytes_received);
        self.claim("srtt_us", &record.srtt_us);
    }

    fn reset(&mut self, reset: &Reset) {
        self.claim("reset_direction", &reset.direction);
        self.claim("reset_cause", &reset.cause);
        self.claim("reset_unread_bytes", &reset.unread_bytes);
    }
}

/// Known claims and what proves them.
pub(super) struct EvidenceMap<'a>(pub(super) &'a CloseRecord);

impl Serialize for EvidenceMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        Visitor {
            visit: &mut |key, evidence, reason| {
                if reason.is_none() && result.is_ok() {
                    result = map.serialize_entry(key, &Names(evidence));
                }
            },
        }
        .record(self.0);
        result?;
        map.end()
    }
}

/// Unknown claims and why they are.
pub(super) struct UnknownMap<'a>(pub(super) &'a CloseRecord);

impl Serialize for UnknownMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        Visitor {
            visit: &mut |key, _, reason| {
                if let (Some(reason), true) = (reason, result.is_ok()) {
                    result = map.serialize_entry(key, reason.name());
                }
            },
        }
        .record(self.0);
        result?;
        map.end()
    }
}

struct Names(EvidenceSet);

impl Serialize for Names {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for name in self.0.iter().map(Evidence::name) {
            list.serialize_element(name)?;
        }
        list.end()
    }
}
