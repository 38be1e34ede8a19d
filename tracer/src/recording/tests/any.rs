//! Any observation, and many that are alike.

use std::net::IpAddr;

use finwait_core::observation::{
    AcceptEvent, CallSite, CgroupNames, Comm, Counters, DumpBegin, DumpEnd, DumpScope, Family, Hooks, Host,
    Numbered, PortBounds, Program, ReasonName, ResetEvent, Resumed, RetransmitCause, RetransmitEvent,
    Shutdown, SockFlags, SocketKind, SocketRow, StateChange, Stream, Subject, Sysctls, Task, TcpFields, Tier,
    TimeWaitChange, TimeWaitEvent, TimeWaitSource, Watermark, Workload,
};
use finwait_core::{
    BootId, CgroupId, ClockPair, Cookie, MonoNs, NetNs, Observation, Pid, Port, SockAddr, TcpState, WallNs,
};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::layout::{self, blank_change};
use super::super::wire::Read;

const PROGRAMS: u8 = 16;

fn from_code<T: core::fmt::Debug>(codes: u8, from: fn(u8) -> Read<T>) -> impl Strategy<Value = T> {
    (0..codes).prop_map(move |code| from(code).unwrap())
}

fn at() -> BoxedStrategy<MonoNs> {
    prop_oneof![any::<u64>(), 0..5000u64].prop_map(MonoNs).boxed()
}

/// Few, so that later ones are compared with earlier ones.
fn cookie() -> BoxedStrategy<Option<Cookie>> {
    of(prop_oneof![0..5u64, any::<u64>()].prop_map(Cookie)).boxed()
}

fn address() -> BoxedStrategy<Option<SockAddr>> {
    of(prop_oneof![0..3u64, any::<u64>()].prop_map(SockAddr)).boxed()
}

fn state() -> BoxedStrategy<TcpState> {
    select(&TcpState::ALL[..]).boxed()
}

fn port() -> BoxedStrategy<Option<Port>> {
    of(any::<u16>().prop_map(Port)).boxed()
}

fn netns() -> BoxedStrategy<NetNs> {
    any::<u32>().prop_map(NetNs).boxed()
}

fn stream() -> BoxedStrategy<Stream> {
    let program = from_code::<Program>(PROGRAMS, layout::program);
    (prop_oneof![0..3u16, any::<u16>()], program, any::<u8>())
        .prop_map(|(cpu, program, depth)| Stream { cpu, program, depth })
        .boxed()
}

fn task() -> BoxedStrategy<Option<Task>> {
    let comm = any::<[u8; 16]>().prop_map(Comm::from_kernel);
    let who = (0..9u32, prop_oneof![0..3u32, any::<u32>()], comm, of(any::<u64>()));
    let task = (who, any::<[Option<bool>; 2]>(), of(any::<u8>()));
    of(task.prop_map(|((tgid, pid, comm, start_boot_ns), [kthread, exiting], exit_signal)| Task {
        tgid: Pid(tgid),
        pid: Pid(pid),
        comm,
        start_boot_ns,
        kthread,
        exiting,
        exit_signal,
    }))
    .boxed()
}

fn tcp() -> BoxedStrategy<TcpFields> {
    let narrow = any::<([Option<u32>; 9], [Option<u8>; 2], Option<i32>, Option<bool>)>();
    (narrow, any::<[Option<u64>; 6]>())
        .prop_map(|((narrow, counts, linger2, is_mptcp), wide)| TcpFields {
            linger2,
            snd_una: narrow[0],
            snd_nxt: narrow[1],
            write_seq: narrow[2],
            rcv_nxt: narrow[3],
            rcv_wup: narrow[4],
            copied_seq: narrow[5],
            clock_cache_ns: wide[0],
            bytes_acked: wide[1],
            bytes_received: wide[2],
            srtt_us: narrow[6],
            rto_ns: wide[3],
            since_send_ns: wide[4],
            since_receive_ns: wide[5],
            total_retrans: narrow[7],
            retransmits: counts[0],
            probes_out: counts[1],
            snd_wnd: narrow[8],
            is_mptcp,
        })
        .boxed()
}

fn change() -> BoxedStrategy<StateChange> {
    let what = (at(), stream(), any::<u64>(), state(), state(), any::<bool>());
    let ends = (cookie(), address(), any::<[Option<IpAddr>; 2]>(), port(), port(), port());
    let whose = (of(netns()), of(any::<u64>().prop_map(CgroupId)), any::<[Option<u32>; 2]>(), task());
    let rest =
        any::<(Option<bool>, Option<[bool; 3]>, Option<[bool; 2]>, [Option<u64>; 2], [Option<i32>; 2])>();
    (what, ends, whose, rest, tcp())
        .prop_map(|(what, ends, whose, rest, tcp)| StateChange {
            at: what.0,
            stream: what.1,
            seq: what.2,
            old: what.3,
            new: what.4,
            family: if what.5 { Family::Inet6 } else { Family::Inet },
            cookie: ends.0,
            sock_addr: ends.1,
            local_addr: ends.2[0],
            remote_addr: ends.2[1],
            inet_sport: ends.3,
            num: ends.4,
            dport: ends.5,
            netns: whose.0,
            cgroup: whose.1,
            inode: rest.3[0],
            uid: whose.2[0],
            mark: whose.2[1],
            lock_owned: rest.0,
            task: whose.3,
            flags: rest.1.map(|[dead, done, linger]| SockFlags { dead, done, linger }),
            shutdown: rest.2.map(|[receive, send]| Shutdown { receive, send }),
            linger_ns: rest.3[1],
            err: rest.4[0],
            err_soft: rest.4[1],
            captured: None,
            tcp,
        })
        .boxed()
}

fn subject() -> BoxedStrategy<Subject> {
    let kind = from_code::<SocketKind>(4, layout::socket_kind);
    (kind, cookie(), address(), of(netns()), any::<[Option<IpAddr>; 2]>(), port(), port())
        .prop_map(|(kind, cookie, sock_addr, netns, [local_addr, remote_addr], local_port, remote_port)| {
            Subject { kind, cookie, sock_addr, netns, local_addr, local_port, remote_addr, remote_port }
        })
        .boxed()
}

fn event() -> BoxedStrategy<(MonoNs, Stream, u64, Subject)> {
    (at(), stream(), any::<u64>(), subject()).boxed()
}

fn hook() -> BoxedStrategy<Observation> {
    let reason = of("[A-Z_]{0,40}".prop_map(|name: String| ReasonName::new(&name)));
    let reset = (event(), of(state()), any::<Option<bool>>(), reason, task()).prop_map(
        |((at, stream, seq, subject), state, answers_segment, reason, task)| {
            let event = ResetEvent { at, stream, seq, subject, state, answers_segment, reason, task };
            Observation::Reset(Box::new(event))
        },
    );
    let cause = of(from_code::<RetransmitCause>(3, layout::retransmit_cause));
    let retransmit = (event(), of(state()), any::<[Option<bool>; 2]>(), cause).prop_map(
        |((at, stream, seq, subject), state, [fin, failed], cause)| {
            let event = RetransmitEvent { at, stream, seq, subject, state, fin, cause, failed };
            Observation::Retransmit(Box::new(event))
        },
    );
    let accept = (event(), task()).prop_map(|((at, stream, seq, subject), task)| {
        Observation::Accept(Box::new(AcceptEvent { at, stream, seq, subject, task }))
    });
    let what = from_code::<TimeWaitChange>(4, layout::time_wait_change);
    let site = of(from_code::<CallSite>(7, layout::call_site));
    let time_wait = (event(), what, of(state()), any::<Option<u64>>(), site, task()).prop_map(
        |((at, stream, seq, subject), change, substate, timeout_ns, site, task)| {
            let event = TimeWaitEvent { at, stream, seq, change, subject, substate, timeout_ns, site, task };
            Observation::TimeWait(Box::new(event))
        },
    );
    prop_oneof![reset, retransmit, accept, time_wait].boxed()
}

fn row() -> BoxedStrategy<SocketRow> {
    let ends = (cookie(), any::<[IpAddr; 2]>(), port(), port());
    let whose = (netns(), of(any::<u64>().prop_map(CgroupId)), any::<[Option<u32>; 2]>(), task());
    (state(), any::<[bool; 2]>(), ends, whose, any::<[Option<u64>; 2]>())
        .prop_map(|(state, [mini, inet6], ends, whose, [inode, timer_ns])| SocketRow {
            netns: whose.0,
            family: if inet6 { Family::Inet6 } else { Family::Inet },
            state,
            mini,
            cookie: ends.0,
            local_addr: ends.1[0],
            local_port: ends.2,
            remote_addr: ends.1[1],
            remote_port: ends.3,
            inode,
            uid: whose.2[0],
            mark: whose.2[1],
            cgroup: whose.1,
            holder: whose.3,
            timer_ns,
        })
        .boxed()
}

fn counters() -> BoxedStrategy<Counters> {
    (at(), any::<[u64; 4]>(), any::<[Option<u64>; 2]>())
        .prop_map(|(at, n, [recursion_missed, rescued])| Counters {
            at,
            transitions: n[0],
            lost_ring: n[1],
            recursion_missed,
            rescued,
            decode_errors: n[2],
            hooks_lost: n[3],
        })
        .boxed()
}

fn any_host() -> BoxedStrategy<Host> {
    let bounds = any::<Option<(u16, u16)>>();
    let sysctls = (of(netns()), any::<[Option<u32>; 5]>(), bounds).prop_map(|(netns, n, ports)| Sysctls {
        netns,
        tcp_fin_timeout: n[0],
        tcp_tw_reuse: n[1],
        tcp_orphan_retries: n[2],
        tcp_max_orphans: n[3],
        tcp_max_tw_buckets: n[4],
        ip_local_port_range: ports.map(|(first, last)| PortBounds { first, last }),
    });
    let tier = from_code::<Tier>(3, layout::tier);
    let time_wait = from_code::<TimeWaitSource>(4, layout::time_wait_source);
    (any::<(u32, u128, String, Option<bool>, bool, [bool; 6])>(), tier, at(), time_wait, sysctls)
        .prop_map(|((schema, boot, kernel, rps, filtered, on), tier, since, time_wait, sysctls)| Host {
            schema,
            boot_id: BootId(boot),
            kernel,
            tier,
            since,
            rps,
            filtered,
            hooks: Hooks {
                resets_sent: on[0],
                reset_reasons: on[1],
                resets_received: on[2],
                retransmits: on[3],
                accepts: on[4],
                sockets: on[5],
                time_wait,
            },
            sysctls,
        })
        .boxed()
}

fn described() -> BoxedStrategy<Observation> {
    let names = any::<(u64, String, [Option<String>; 4])>().prop_map(|(cgroup, path, names)| {
        let [container, runtime, pod, unit] = names;
        let workload = Workload { path, container, runtime, pod, unit };
        Observation::Cgroup(Box::new(CgroupNames { cgroup: CgroupId(cgroup), workload }))
    });
    let clock = (at(), any::<u64>())
        .prop_map(|(mono, wall)| Observation::Clock(ClockPair { mono, wall: WallNs(wall) }));
    let scope = || from_code::<DumpScope>(2, layout::dump_scope);
    let begin = (at(), scope()).prop_map(|(at, scope)| Observation::DumpBegin(DumpBegin { at, scope }));
    let end = (at(), scope(), prop::collection::vec(netns(), 0..4))
        .prop_map(|(at, scope, complete)| Observation::DumpEnd(DumpEnd { at, scope, complete }));
    let numbered = (stream(), any::<u64>()).prop_map(|(stream, seq)| Numbered { stream, seq });
    let resumed =
        (at(), counters(), prop::collection::vec(numbered, 0..4)).prop_map(|(at, counters, numbers)| {
            Observation::Resumed(Box::new(Resumed { at, counters, numbers }))
        });
    let watermark = at().prop_map(|at| Observation::Watermark(Watermark { at }));
    prop_oneof![
        any_host().prop_map(|host| Observation::Host(Box::new(host))),
        counters().prop_map(|counters| Observation::Counters(Box::new(counters))),
        row().prop_map(|row| Observation::Socket(Box::new(row))),
        names,
        clock,
        begin,
        end,
        resumed,
        watermark,
    ]
    .boxed()
}

/// Any observation that there can be.
pub(super) fn observation() -> BoxedStrategy<Observation> {
    prop_oneof![change().prop_map(|change| Observation::StateChange(Box::new(change))), hook(), described(),]
        .boxed()
}

/// A host of this version.
pub(super) fn host() -> Observation {
    Observation::Host(Box::new(crate::sink::samples_for_tests::host(Tier::TpBtf)))
}

/// Transitions of `count` connections, each with a task of its own, and then one more of each.
pub(super) fn many(count: u64) -> Vec<Observation> {
    let change = |number: u64, seq: u64, new: TcpState| {
        let pid = Pid(number as u32 + 1);
        let task = Task {
            tgid: pid,
            pid,
            comm: Comm::from_text(&format!("task-{number}")),
            start_boot_ns: Some(number),
            kthread: Some(false),
            exiting: None,
            exit_signal: None,
        };
        let change = StateChange {
            at: MonoNs(1000 + seq),
            seq,
            new,
            cookie: Some(Cookie(number + 1)),
            dport: Port::new(443),
            task: Some(task),
            ..blank_change()
        };
        Observation::StateChange(Box::new(change))
    };
    let opened = (0..count).map(|number| change(number, number + 1, TcpState::SynSent));
    let closed = (0..count).map(|number| change(number, count + number + 1, TcpState::Established));
    opened.chain(closed).collect()
}
