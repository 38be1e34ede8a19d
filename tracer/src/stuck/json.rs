//! Stuck sockets as JSON lines: one for each socket, and a summary after each look. Names are listed in docs/events.md.

use std::io::{self, Write};
use std::net::SocketAddr;

use finwait_core::ClockPair;
use finwait_core::observation::Family;
use serde::Serialize;

use super::gather::{Owner, Picture, StuckSocket, UNKNOWN_NETNS};
use crate::enrich::Holder;
use crate::sink::when;
use crate::snapshot::TimerKind;

const MS: u64 = 1_000_000;

/// Writes `picture`; `unreachable` are namespaces that could not be opened.
pub(super) fn write(
    out: &mut dyn Write,
    picture: &Picture,
    clock: Option<ClockPair>,
    unreachable: &[String],
) -> io::Result<()> {
    let time = clock.and_then(|clock| clock.wall_of(picture.end)).map(when::utc);
    for socket in &picture.sockets {
        let line = SocketJson::of(socket, picture.end.0, time.as_deref());
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")?;
    }
    serde_json::to_writer(&mut *out, &SummaryJson::of(picture, time.as_deref(), unreachable))?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct SocketJson<'a> {
    schema: &'static str,
    time: Option<&'a str>,
    time_ns: u64,
    state: &'static str,
    mini_socket: bool,
    age_at_least_ns: u64,
    age_at_most_ns: Option<u64>,
    netns: Option<u32>,
    family: Family,
    local_addr: String,
    local_port: u16,
    remote_addr: String,
    remote_port: u16,
    cookie: Option<u64>,
    inode: Option<u64>,
    uid: Option<u32>,
    mark: Option<u32>,
    owner: Option<&'static str>,
    holders: Vec<HolderJson>,
    cgroup: Option<u64>,
    cgroup_path: Option<&'a str>,
    container_id: Option<&'a str>,
    container_runtime: Option<&'static str>,
    pod_uid: Option<&'a str>,
    unit: Option<&'a str>,
    timer: Option<&'static str>,
    timer_expires_ns: Option<u64>,
    retransmits: Option<u8>,
    total_retrans: Option<u32>,
    unread_bytes: Option<u32>,
    unacked_bytes: Option<u32>,
    srtt_us: Option<u32>,
    since_send_ns: Option<u64>,
    since_receive_ns: Option<u64>,
    since_ack_ns: Option<u64>,
    unknown: UnknownJson,
}

/// Why something is null.
#[derive(Serialize)]
struct UnknownJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_at_most_ns: Option<&'static str>,
}

#[derive(Serialize)]
struct HolderJson {
    pid: u32,
    comm: String,
    start_boot_ns: u64,
}

impl From<&Holder> for HolderJson {
    fn from(holder: &Holder) -> Self {
        Self { pid: holder.pid.0, comm: holder.comm.to_string(), start_boot_ns: holder.start_boot_ns }
    }
}

impl<'a> SocketJson<'a> {
    fn of(socket: &'a StuckSocket, time_ns: u64, time: Option<&'a str>) -> Self {
        let StuckSocket { row, owner, cgroup, age } = socket;
        let cgroup = cgroup.as_deref();
        let container = cgroup.and_then(|cgroup| cgroup.container.as_ref());
        let ((local_addr, local_port), (remote_addr, remote_port)) = (end(row.local), end(row.remote));
        let since = |ms: Option<u32>| ms.map(|ms| u64::from(ms) * MS);
        Self {
            schema: "finwait.stuck/1",
            time,
            time_ns,
            state: row.state.name(),
            mini_socket: row.is_mini_socket(),
            age_at_least_ns: age.at_least_ns,
            age_at_most_ns: age.at_most_ns,
            netns: (row.netns != UNKNOWN_NETNS).then_some(row.netns.0),
            family: row.family,
            local_addr,
            local_port,
            remote_addr,
            remote_port,
            cookie: row.cookie.map(|cookie| cookie.0),
            inode: row.inode,
            uid: row.uid,
            mark: row.mark,
            owner: (!matches!(owner, Owner::Unknown | Owner::NotRecorded)).then(|| owner.name()),
            holders: owner.holders().iter().map(HolderJson::from).collect(),
            cgroup: row.cgroup.map(|cgroup| cgroup.0),
            cgroup_path: cgroup.map(|cgroup| cgroup.path.as_str()),
            container_id: container.map(|container| container.id.as_str()),
            container_runtime: container.and_then(|container| Some(container.runtime?.name())),
            pod_uid: cgroup.and_then(|cgroup| cgroup.pod_uid.as_deref()),
            unit: cgroup.and_then(|cgroup| cgroup.unit.as_deref()),
            timer: row.timer.map(|timer| timer_name(timer.kind)),
            timer_expires_ns: row.timer.map(|timer| u64::from(timer.expires_ms) * MS),
            retransmits: row.retransmits,
            total_retrans: row.total_retrans,
            unread_bytes: row.unread_bytes,
            unacked_bytes: row.unacked_bytes,
            srtt_us: row.srtt_us,
            since_send_ns: since(row.last_data_sent_ms),
            since_receive_ns: since(row.last_data_recv_ms),
            since_ack_ns: since(row.last_ack_recv_ms),
            unknown: UnknownJson::of(owner, age.at_most_ns),
        }
    }
}

impl UnknownJson {
    fn of(owner: &Owner, at_most_ns: Option<u64>) -> Self {
        Self {
            owner: match owner {
                Owner::Unknown => Some("holder_not_found"),
                Owner::NotRecorded => Some(owner.name()),
                Owner::Processes(_) | Owner::Nobody | Owner::NotAccepted => None,
            },
            age_at_most_ns: at_most_ns.is_none().then_some("began_before_watch"),
        }
    }
}

fn end(end: SocketAddr) -> (String, u16) {
    (end.ip().to_string(), end.port())
}

const fn timer_name(kind: TimerKind) -> &'static str {
    match kind {
        TimerKind::Retransmit => "retransmit",
        TimerKind::Keepalive => "keepalive",
        TimerKind::TimeWait => "time_wait",
        TimerKind::Probe => "probe",
    }
}

#[derive(Serialize)]
struct SummaryJson<'a> {
    schema: &'static str,
    time: Option<&'a str>,
    time_ns: u64,
    sockets: usize,
    younger: usize,
    namespaces: usize,
    hidden_processes: Option<usize>,
    interrupted: bool,
    failures: Vec<String>,
    unreachable: &'a [String],
}

impl<'a> SummaryJson<'a> {
    fn of(picture: &Picture, time: Option<&'a str>, unreachable: &'a [String]) -> Self {
        Self {
            schema: "finwait.stuck_summary/1",
            time,
            time_ns: picture.end.0,
            sockets: picture.sockets.len(),
            younger: picture.younger,
            namespaces: picture.namespaces,
            hidden_processes: picture.hidden_processes,
            interrupted: picture.interrupted,
            failures: picture.failures.iter().map(ToString::to_string).collect(),
            unreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use finwait_core::{MonoNs, TcpState, WallNs};
    use serde_json::Value;

    use super::*;
    use crate::enrich::CgroupName;
    use crate::stuck::samples_for_tests::{holder, socket};

    fn lines(sockets: Vec<StuckSocket>) -> Vec<Value> {
        let picture = Picture {
            begin: MonoNs(1),
            end: MonoNs(2_000_000_000),
            sockets,
            younger: 4,
            namespaces: 1,
            failures: Vec::new(),
            interrupted: false,
            hidden_processes: None,
        };
        let clock = ClockPair { mono: MonoNs(0), wall: WallNs(1_790_197_449_000_000_000) };
        let mut out = Vec::new();
        write(&mut out, &picture, Some(clock), &["network namespace 7: gone".to_owned()]).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_socket_is_a_line_with_its_owner_and_both_bounds_of_its_age() {
        let owner = Owner::Processes(vec![holder("java", 2201)]);
        let mut watched = socket(TcpState::CloseWait, owner, 7, true);
        watched.cgroup = Some(Arc::new(CgroupName::of("/system.slice/billing.service")));
        let unwatched = socket(TcpState::LastAck, Owner::Unknown, 9, false);
        let lines = lines(vec![watched, unwatched]);
        let [watched, unwatched, summary] = lines.as_slice() else { panic!("{lines:#?}") };
        assert_eq!(
            (&watched["schema"], &watched["state"]),
            (&"finwait.stuck/1".into(), &"CLOSE_WAIT".into())
        );
        assert_eq!(watched["time"], "2026-09-23T21:04:11.000000Z");
        assert_eq!((&watched["owner"], &watched["holders"][0]["pid"]), (&"process".into(), &2201.into()));
        assert_eq!((&watched["unit"], &watched["cookie"]), (&"billing.service".into(), &0x2a.into()));
        assert_eq!(watched["age_at_least_ns"], 7_000_000_000_u64);
        assert_eq!(
            (&watched["age_at_most_ns"], &watched["unknown"]),
            (&9_000_000_000_u64.into(), &serde_json::json!({}))
        );
        assert_eq!((&unwatched["owner"], &unwatched["age_at_most_ns"]), (&Value::Null, &Value::Null));
        assert_eq!(unwatched["unknown"]["owner"], "holder_not_found");
        assert_eq!(unwatched["unknown"]["age_at_most_ns"], "began_before_watch");
        assert_eq!((&summary["schema"], &summary["sockets"]), (&"finwait.stuck_summary/1".into(), &2.into()));
        assert_eq!((&summary["younger"], &summary["hidden_processes"]), (&4.into(), &Value::Null));
    }

    #[test]
    fn every_name_and_word_is_documented() {
        let documented = include_str!("../../../docs/events.md");
        let mut words = Vec::new();
        for owner in [
            Owner::Nobody,
            Owner::NotAccepted,
            Owner::Unknown,
            Owner::NotRecorded,
            Owner::Processes(vec![holder("a", 1)]),
        ] {
            words.push(owner.name().to_owned());
            for line in lines(vec![socket(TcpState::LastAck, owner, 1, false)]) {
                let object = line.as_object().unwrap();
                words.extend(object.keys().cloned());
                for inner in ["holders", "unknown"].iter().filter_map(|name| object.get(*name)) {
                    let inner = inner.get(0).unwrap_or(inner);
                    words.extend(inner.as_object().into_iter().flat_map(|object| object.keys().cloned()));
                    let reasons = inner.as_object().into_iter().flat_map(|object| object.values());
                    words.extend(reasons.filter_map(|reason| reason.as_str().map(str::to_owned)));
                }
            }
        }
        for timer in [TimerKind::Retransmit, TimerKind::Keepalive, TimerKind::TimeWait, TimerKind::Probe] {
            words.push(timer_name(timer).to_owned());
        }
        words.retain(|word| word != "a");
        for word in words {
            assert!(documented.contains(&format!("`{word}`")), "{word}");
        }
    }
}
