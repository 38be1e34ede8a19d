//! `GET /api/v1/stuck?state=&process=&older_s=&limit=`: connections in a closing state now, the oldest first.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use finwait_core::{ClosingConnection, MonoNs};
use serde::{Deserialize, Serialize};

use super::{Shared, json, too_early};
use crate::sink::{OwnerJson, WorkloadJson};

const LIMIT: usize = 200;
const NS: f64 = 1e9;

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    state: Option<String>,
    process: Option<String>,
    older_s: Option<f64>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct StuckJson<'a> {
    schema: &'static str,
    connections: Vec<ConnectionJson<'a>>,
    total: usize,
}

#[derive(Serialize)]
struct ConnectionJson<'a> {
    conn_id: String,
    state: &'static str,
    age_ns: Option<u64>,
    age_is_minimum: bool,
    owner: Option<OwnerJson<'a>>,
    local_addr: Option<IpAddr>,
    local_port: Option<u16>,
    remote_addr: Option<IpAddr>,
    remote_port: Option<u16>,
    netns: Option<u32>,
    workload: Option<WorkloadJson<'a>>,
}

/// Those that fit.
pub(super) async fn answer(State(shared): State<Arc<Shared>>, Query(asked): Query<Asked>) -> Response {
    let Some(served) = shared.reader.sheet().await else { return too_early() };
    let (sheet, now) = (&served.snapshot, served.snapshot.now());
    let mut fitting: Vec<_> = sheet.closing.iter().filter(|one| asked.fits(one, now)).collect();
    fitting.sort_by_key(|connection| connection.seen_since);
    let limit = asked.limit.unwrap_or(LIMIT).min(sheet.closing.len());
    let connections = fitting.iter().take(limit).map(|connection| connection_json(connection, now)).collect();
    json(&shared, &StuckJson { schema: "finwait.stuck_open/1", connections, total: fitting.len() })
}

impl Asked {
    fn fits(&self, connection: &ClosingConnection, now: MonoNs) -> bool {
        let older_ns = (self.older_s.unwrap_or(0.0).max(0.0) * NS) as u64;
        let is = |asked: &Option<String>, given: &dyn Fn(&str) -> bool| {
            asked.as_deref().filter(|asked| !asked.is_empty()).is_none_or(given)
        };
        is(&self.state, &|state| connection.state.name() == state)
            && is(&self.process, &|process| {
                let owner = connection.owner.as_ref();
                owner.is_some_and(|owner| {
                    owner.comm.to_string() == process || owner.tgid.to_string() == process
                })
            })
            && now.since(connection.seen_since).is_some_and(|age| age >= older_ns)
    }
}

fn connection_json(connection: &ClosingConnection, now: MonoNs) -> ConnectionJson<'_> {
    ConnectionJson {
        conn_id: connection.conn_id.to_string(),
        state: connection.state.name(),
        age_ns: now.since(connection.seen_since),
        age_is_minimum: connection.since.is_none(),
        owner: connection.owner.as_ref().map(OwnerJson::from),
        local_addr: connection.local.addr,
        local_port: connection.local.port.map(|port| port.0),
        remote_addr: connection.remote.addr,
        remote_port: connection.remote.port.map(|port| port.0),
        netns: connection.netns.map(|netns| netns.0),
        workload: connection.workload.as_deref().map(WorkloadJson::from),
    }
}
