//! `finwait.state/1`

use std::net::IpAddr;

use finwait_core::observation::{Comm, Family};
use finwait_core::record::TransitionRecord;
use finwait_core::{ConnId, StateChange};
use serde::Serialize;

use super::{OwnerJson, shown};
use crate::sink::{Context, table, when};

/// A transition. `tgid`, `pid` and `comm` are the actor's, else the owner's.
#[derive(Serialize)]
pub(in crate::sink) struct StateJson<'a> {
    schema: &'static str,
    #[serde(serialize_with = "shown")]
    conn_id: ConnId,
    time: Option<String>,
    time_ns: u64,
    cookie: Option<u64>,
    family: Family,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    remote_addr: Option<IpAddr>,
    remote_port: Option<u16>,
    netns: Option<u32>,
    cgroup: Option<u64>,
    old_state: &'static str,
    new_state: &'static str,
    in_old_state_ns: Option<u64>,
    chain_broken: bool,
    tgid: Option<u32>,
    pid: Option<u32>,
    comm: Option<Comm>,
    actor: Option<OwnerJson<'a>>,
    owner: Option<OwnerJson<'a>>,
    unknown: UnknownMap,
    /// What was observed, named as in a recording
    #[serde(skip_serializing_if = "Option::is_none")]
    socket: Option<&'a StateChange>,
}

#[derive(Serialize)]
struct UnknownMap {
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_old_state_ns: Option<&'static str>,
}

impl<'a> StateJson<'a> {
    /// The record alone.
    pub(in crate::sink) fn new(record: &'a TransitionRecord, context: &Context) -> Self {
        let change = &record.change;
        let process = table::process(record);
        Self {
            schema: "finwait.state/1",
            conn_id: record.conn_id,
            time: when::utc_of(context, change.at),
            time_ns: change.at.0,
            cookie: change.cookie.map(|cookie| cookie.0),
            family: change.family,
            local_addr: record.local.addr,
            local_port: record.local.port.map(|port| port.0),
            remote_addr: record.remote.addr,
            remote_port: record.remote.port.map(|port| port.0),
            netns: change.netns.map(|netns| netns.0),
            cgroup: change.cgroup.map(|cgroup| cgroup.0),
            old_state: change.old.name(),
            new_state: change.new.name(),
            in_old_state_ns: record.in_old_state_ns.value().copied(),
            chain_broken: record.chain_broken,
            tgid: process.map(|owner| owner.tgid.0),
            pid: process.map(|owner| owner.pid.0),
            comm: process.map(|owner| owner.comm),
            actor: record.actor.value().map(OwnerJson::from),
            owner: record.owner.as_ref().map(OwnerJson::from),
            unknown: UnknownMap {
                actor: record.actor.reason().map(finwait_core::Reason::name),
                in_old_state_ns: record.in_old_state_ns.reason().map(finwait_core::Reason::name),
            },
            socket: None,
        }
    }

    /// The record and what it was made from.
    pub(super) fn with_socket(record: &'a TransitionRecord, context: &Context) -> Self {
        Self { socket: Some(&record.change), ..Self::new(record, context) }
    }
}
