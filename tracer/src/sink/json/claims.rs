//! What each claim of a record rests on: the `evidence` and `unknown` maps.

use finwait_core::record::{BothEnds, CloseRecord, Reset, TimeWaitRecord};
use finwait_core::{Claim, Evidence, EvidenceSet, Reason};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

/// The value's name; `unknown` where it is not known.
pub(super) fn word<T: Copy>(claim: &Claim<T>, name: fn(T) -> &'static str) -> &'static str {
    claim.value().map_or("unknown", |value| name(*value))
}

/// Takes every claim of a record under the key that its value has in the JSON record.
pub(super) struct Visitor<'v> {
    visit: &'v mut dyn FnMut(&str, EvidenceSet, Option<Reason>),
}

impl Visitor<'_> {
    fn claim<T>(&mut self, key: &str, claim: &Claim<T>) {
        (self.visit)(key, claim.evidence(), claim.reason());
    }

    fn reset(&mut self, reset: &Reset) {
        self.claim("reset_direction", &reset.direction);
        self.claim("reset_cause", &reset.cause);
        self.claim("reset_reason", &reset.reason);
        self.claim("reset_unread_bytes", &reset.unread_bytes);
    }
}

/// A record that makes claims.
pub(super) trait Claims {
    fn claims(&self, visitor: &mut Visitor<'_>);
}

impl Claims for CloseRecord {
    fn claims(&self, visitor: &mut Visitor<'_>) {
        visitor.claim("role", &self.role);
        visitor.claim("opener", &self.opener);
        visitor.claim("acceptor", &self.acceptor);
        visitor.claim("closer", &self.closer);
        visitor.claim("cause", &self.cause);
        visitor.claim("first_closer", &self.first_closer);
        visitor.claim("kind", &self.kind);
        if let Some(reset) = &self.reset {
            visitor.reset(reset);
        }
        if let Some(timeout) = &self.timeout {
            visitor.claim("timeout_cause", timeout);
        }
        visitor.claim("error", &self.error);
        visitor.claim("waves", &self.waves);
        for (key, wave) in WAVES.iter().zip(&self.wave_times.waves) {
            visitor.claim(key, wave);
        }
        visitor.claim("half_closed_ns", &self.half_closed_ns);
        visitor.claim("half_closed_bytes", &self.half_closed_bytes);
        visitor.claim("fin_retransmits", &self.fin_retransmits);
        visitor.claim("fin_outcome", &self.fin_outcome);
        visitor.claim("successor", &self.successor);
        visitor.claim("life_ns", &self.life_ns);
        visitor.claim("handshake_ns", &self.handshake_ns);
        for dwell in &self.dwells {
            visitor.claim(&format!("dwell_ns.{}", dwell.state.name()), &dwell.duration_ns);
        }
        visitor.claim("sent_bytes", &self.bytes_sent);
        visitor.claim("received_bytes", &self.bytes_received);
        visitor.claim("srtt_us", &self.srtt_us);
    }
}

const WAVES: [&str; 4] = ["wave_times.1", "wave_times.2", "wave_times.3", "wave_times.4"];

impl Claims for TimeWaitRecord {
    fn claims(&self, visitor: &mut Visitor<'_>) {
        visitor.claim("began", &self.began);
        visitor.claim("from_fin_wait2", &self.from_fin_wait2);
        visitor.claim("entered", &self.entered);
        visitor.claim("ended", &self.ended);
        visitor.claim("end", &self.end);
        visitor.claim("fin_wait2_ns", &self.fin_wait2_ns);
        visitor.claim("time_wait_ns", &self.time_wait_ns);
        visitor.claim("ended_by", &self.ended_by);
    }
}

/// What the two ends prove together; each end has maps of its own.
impl Claims for BothEnds {
    fn claims(&self, visitor: &mut Visitor<'_>) {
        visitor.claim("first_closer", &self.first_closer());
        visitor.claim("first_wave_ns", &self.first_wave_ns());
        visitor.claim("waves", &self.waves());
    }
}

/// Known claims and what proves them.
pub(super) struct EvidenceMap<'a, R>(pub(super) &'a R);

impl<R: Claims> Serialize for EvidenceMap<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        let visit = &mut |key: &str, evidence, reason: Option<Reason>| {
            if reason.is_none() && result.is_ok() {
                result = map.serialize_entry(key, &Names(evidence));
            }
        };
        self.0.claims(&mut Visitor { visit });
        result?;
        map.end()
    }
}

/// Unknown claims and why they are.
pub(super) struct UnknownMap<'a, R>(pub(super) &'a R);

impl<R: Claims> Serialize for UnknownMap<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut result = Ok(());
        let visit = &mut |key: &str, _, reason: Option<Reason>| {
            if let (Some(reason), true) = (reason, result.is_ok()) {
                result = map.serialize_entry(key, reason.name());
            }
        };
        self.0.claims(&mut Visitor { visit });
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
