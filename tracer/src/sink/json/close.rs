//! `finwait.close/1`

use std::net::IpAddr;

use finwait_core::observation::Family;
use finwait_core::record::{
    CloseKind, CloseRecord, Dwell, FinOutcome, FinRetransmits, FirstCloser, LocalCause, Reset, ResetCause,
    ResetDirection, Role, Step, Successor, TimeoutCause, Waves,
};
use finwait_core::{ConnId, TcpState};
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};

use super::capture::CaptureJson;
use super::claims::{EvidenceMap, UnknownMap, word};
use super::moments::MomentJson;
use super::workload::WorkloadJson;
use super::{OwnerJson, shown};
use crate::sink::{Context, human, when};

/// A close record. A value is null where it does not apply or is not known; a word is `unknown` where it is not known.
#[derive(Serialize)]
pub(crate) struct CloseJson<'a> {
    schema: &'static str,
    #[serde(serialize_with = "shown")]
    conn_id: ConnId,
    time: Option<String>,
    time_ns: Option<u64>,
    last_seen_ns: u64,
    family: Family,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    remote_addr: Option<IpAddr>,
    remote_port: Option<u16>,
    netns: Option<u32>,
    cgroup: Option<u64>,
    workload: Option<WorkloadJson<'a>>,
    uid: Option<u32>,
    mark: Option<u32>,
    is_mptcp: Option<bool>,
    seen_from: &'static str,
    role: &'static str,
    opener: Option<OwnerJson<'a>>,
    acceptor: Option<OwnerJson<'a>>,
    closer: Option<OwnerJson<'a>>,
    holder: Option<OwnerJson<'a>>,
    cause: &'static str,
    exit_signal: Option<u8>,
    first_closer: &'static str,
    kind: &'static str,
    reset_direction: Option<&'static str>,
    reset_cause: Option<&'static str>,
    reset_reason: Option<&'a str>,
    reset_state: Option<&'static str>,
    reset_unread_bytes: Option<u32>,
    timeout_cause: Option<&'static str>,
    error: Option<i32>,
    error_name: Option<&'static str>,
    waves: &'static str,
    wave_times: [Option<MomentJson>; 4],
    slow_wave: Option<u8>,
    half_closed_ns: Option<u64>,
    half_closed_bytes: Option<u64>,
    fin_retransmits: Option<FinRetransmitsJson>,
    fin_outcome: &'static str,
    successor: &'static str,
    life_ns: Option<u64>,
    handshake_ns: Option<u64>,
    dwell_ns: DwellMap<'a>,
    unsent_bytes: UnsentMap<'a>,
    slow_state: Option<&'static str>,
    sent_bytes: Option<u64>,
    received_bytes: Option<u64>,
    srtt_us: Option<u32>,
    total_retrans: Option<u32>,
    idle_send_ns: Option<u64>,
    idle_receive_ns: Option<u64>,
    sequence: Sequence<'a>,
    steps: Steps<'a>,
    steps_dropped: u32,
    chain_breaks: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    capture: Option<CaptureJson>,
    evidence: EvidenceMap<'a, CloseRecord>,
    unknown: UnknownMap<'a, CloseRecord>,
}

impl<'a> CloseJson<'a> {
    pub(crate) fn new(record: &'a CloseRecord, context: &Context) -> Self {
        let reset = record.reset.as_ref();
        let error = record.error.value().copied();
        Self {
            schema: "finwait.close/1",
            conn_id: record.conn_id,
            time: record.closed_at.and_then(|at| when::utc_of(context, at)),
            time_ns: record.closed_at.map(|at| at.0),
            last_seen_ns: record.last_seen_at.0,
            family: record.family,
            local_addr: record.local.addr,
            local_port: record.local.port.map(|port| port.0),
            remote_addr: record.remote.addr,
            remote_port: record.remote.port.map(|port| port.0),
            netns: record.netns.map(|netns| netns.0),
            cgroup: record.cgroup.map(|cgroup| cgroup.0),
            workload: record.workload.as_deref().map(WorkloadJson::from),
            uid: record.uid,
            mark: record.mark,
            is_mptcp: record.is_mptcp,
            seen_from: record.seen_from.name(),
            role: word(&record.role, Role::name),
            opener: record.opener.value().map(OwnerJson::from),
            acceptor: record.acceptor.value().map(OwnerJson::from),
            closer: record.closer.value().map(OwnerJson::from),
            holder: record.holder.as_ref().map(OwnerJson::from),
            cause: word(&record.cause, LocalCause::name),
            exit_signal: record.exit_signal,
            first_closer: word(&record.first_closer, FirstCloser::name),
            kind: word(&record.kind, CloseKind::name),
            reset_direction: reset.map(|reset| word(&reset.direction, ResetDirection::name)),
            reset_cause: reset.map(|reset| word(&reset.cause, ResetCause::name)),
            reset_reason: reset.map(reason),
            reset_state: reset.map(|reset| reset.state.name()),
            reset_unread_bytes: reset.and_then(unread),
            timeout_cause: record.timeout.as_ref().map(|cause| word(cause, TimeoutCause::name)),
            error,
            error_name: error.and_then(human::errno),
            waves: word(&record.waves, Waves::name),
            wave_times: record.wave_times.waves.map(|wave| wave.value().map(MomentJson::from)),
            slow_wave: record.wave_times.slow,
            half_closed_ns: record.half_closed_ns.value().copied(),
            half_closed_bytes: record.half_closed_bytes.value().copied(),
            fin_retransmits: record.fin_retransmits.value().map(FinRetransmitsJson::from),
            fin_outcome: word(&record.fin_outcome, FinOutcome::name),
            successor: word(&record.successor, Successor::name),
            life_ns: record.life_ns.value().copied(),
            handshake_ns: record.handshake_ns.value().copied(),
            dwell_ns: DwellMap(&record.dwells),
            unsent_bytes: UnsentMap(&record.dwells),
            slow_state: record.dwells.iter().find(|dwell| dwell.slow).map(|dwell| dwell.state.name()),
            sent_bytes: record.bytes_sent.value().copied(),
            received_bytes: record.bytes_received.value().copied(),
            srtt_us: record.srtt_us.value().copied(),
            total_retrans: record.total_retrans,
            idle_send_ns: record.idle_send_ns,
            idle_receive_ns: record.idle_receive_ns,
            sequence: Sequence(&record.steps),
            steps: Steps(&record.steps),
            steps_dropped: record.steps_dropped,
            chain_breaks: record.chain_breaks,
            capture: CaptureJson::of(record),
            evidence: EvidenceMap(record),
            unknown: UnknownMap(record),
        }
    }
}

fn unread(reset: &Reset) -> Option<u32> {
    reset.unread_bytes.value().copied()
}

/// The kernel's name: in capitals, so none is the word `unknown`.
fn reason(reset: &Reset) -> &str {
    reset.reason.value().map_or("unknown", |reason| reason.as_str())
}

#[derive(Serialize)]
struct FinRetransmitsJson {
    by_timeout: u32,
    by_probe: u32,
    by_recovery: u32,
    data: u32,
}

impl From<&FinRetransmits> for FinRetransmitsJson {
    fn from(resent: &FinRetransmits) -> Self {
        let FinRetransmits { by_timeout, by_probe, by_recovery, data } = *resent;
        Self { by_timeout, by_probe, by_recovery, data }
    }
}

/// `{"FIN_WAIT1": 400000}`, null where it is not known.
struct DwellMap<'a>(&'a [Dwell]);

impl Serialize for DwellMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|dwell| (dwell.state.name(), dwell.duration_ns.value())))
    }
}

/// `{"FIN_WAIT1": 18842}`, for the states where it was seen.
struct UnsentMap<'a>(&'a [Dwell]);

impl Serialize for UnsentMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for dwell in self.0 {
            if let Some(bytes) = dwell.unsent_bytes {
                map.serialize_entry(dwell.state.name(), &bytes)?;
            }
        }
        map.end()
    }
}

/// The states passed through, in order; `unknown` where transitions are missing.
struct Sequence<'a>(&'a [Step]);

impl Serialize for Sequence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        let mut last: Option<TcpState> = None;
        for step in self.0 {
            if last != Some(step.old) {
                if last.is_some() {
                    list.serialize_element("unknown")?;
                }
                list.serialize_element(step.old.name())?;
            }
            list.serialize_element(step.new.name())?;
            last = Some(step.new);
        }
        list.end()
    }
}

struct Steps<'a>(&'a [Step]);

#[derive(Serialize)]
struct StepJson {
    time_ns: u64,
    old: &'static str,
    new: &'static str,
}

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|step| StepJson {
            time_ns: step.at.0,
            old: step.old.name(),
            new: step.new.name(),
        }))
    }
}
