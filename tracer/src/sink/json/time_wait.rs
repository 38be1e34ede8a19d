//! `finwait.time_wait/1`

use std::net::IpAddr;

use finwait_core::ConnId;
use finwait_core::observation::{Family, TimeWaitSource};
use finwait_core::record::{TimeWaitEnd, TimeWaitRecord};
use serde::Serialize;

use super::claims::{EvidenceMap, UnknownMap, word};
use super::moments::{MomentJson, SpanJson};
use super::{OwnerJson, shown};
use crate::sink::{Context, when};

/// What became of a connection after its socket was gone. `time` is when that was over at the latest.
#[derive(Serialize)]
pub(crate) struct TimeWaitJson<'a> {
    schema: &'static str,
    #[serde(serialize_with = "shown")]
    conn_id: ConnId,
    time: Option<String>,
    time_ns: Option<u64>,
    family: Family,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    remote_addr: Option<IpAddr>,
    remote_port: Option<u16>,
    netns: Option<u32>,
    cgroup: Option<u64>,
    source: TimeWaitSource,
    began: Option<MomentJson>,
    from_fin_wait2: Option<bool>,
    entered: Option<MomentJson>,
    ended: Option<MomentJson>,
    end: &'static str,
    fin_wait2_ns: Option<SpanJson>,
    time_wait_ns: Option<SpanJson>,
    timeout_ns: Option<u64>,
    rearmed: Option<u32>,
    ended_by: Option<OwnerJson<'a>>,
    evidence: EvidenceMap<'a, TimeWaitRecord>,
    unknown: UnknownMap<'a, TimeWaitRecord>,
}

impl<'a> TimeWaitJson<'a> {
    pub(crate) fn new(record: &'a TimeWaitRecord, context: &Context) -> Self {
        let over = record.ended.value().map(|ended| ended.latest);
        Self {
            schema: "finwait.time_wait/1",
            conn_id: record.conn_id,
            time: over.and_then(|at| when::utc_of(context, at)),
            time_ns: over.map(|at| at.0),
            family: record.family,
            local_addr: record.local.addr,
            local_port: record.local.port.map(|port| port.0),
            remote_addr: record.remote.addr,
            remote_port: record.remote.port.map(|port| port.0),
            netns: record.netns.map(|netns| netns.0),
            cgroup: record.cgroup.map(|cgroup| cgroup.0),
            source: record.source,
            began: record.began.value().map(MomentJson::from),
            from_fin_wait2: record.from_fin_wait2.value().copied(),
            entered: record.entered.value().map(MomentJson::from),
            ended: record.ended.value().map(MomentJson::from),
            end: word(&record.end, TimeWaitEnd::name),
            fin_wait2_ns: record.fin_wait2_ns.value().map(SpanJson::from),
            time_wait_ns: record.time_wait_ns.value().map(SpanJson::from),
            timeout_ns: record.timeout_ns,
            rearmed: record.rearmed,
            ended_by: record.ended_by.value().map(OwnerJson::from),
            evidence: EvidenceMap(record),
            unknown: UnknownMap(record),
        }
    }
}
