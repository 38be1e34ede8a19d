//! Each way to open and close: what was made is what is reported, on both sides.

use std::net::IpAddr;

use finwait_core::TcpState::{Close, Closing, Established, FinWait1, FinWait2, SynRecv, SynSent};
use finwait_core::observation::Family;
use finwait_core::record::{
    CloseKind, CloseRecord, FirstCloser, ResetCause, ResetDirection, Role, SeenFrom, Successor, Waves,
};
use finwait_core::{Claim, Reason, SocketKey, TcpState};
use tracer::scenario::check::{Depth, compare};
use tracer::scenario::{Namespace, catalog};

use crate::support::{on_loopback_of, run, steps};

#[test]
fn the_namespace_is_not_the_callers_and_its_addresses_are_distinct() {
    let namespace = Namespace::new().expect("namespace");
    let inside =
        namespace.client().run(|| Ok(std::fs::read_link("/proc/thread-self/ns/net")?)).expect("inside");
    let second =
        namespace.server().run(|| Ok(std::fs::read_link("/proc/thread-self/ns/net")?)).expect("inside");
    let outside = std::fs::read_link("/proc/thread-self/ns/net").expect("outside");
    assert_eq!(inside.to_string_lossy(), format!("net:[{}]", namespace.inode()));
    assert_eq!(inside, second);
    assert_ne!(inside, outside);
    let distinct: std::collections::HashSet<_> = (0..60_000).map(|_| namespace.fresh_address()).collect();
    assert_eq!(distinct.len(), 60_000);
    assert!(distinct.iter().all(IpAddr::is_loopback));
}

#[test]
fn client_closes_first_and_the_server_answers_at_once() {
    let run = run(catalog::CLIENT_CLOSES_FIRST);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(client.kind.value(), Some(&CloseKind::Active));
    assert_eq!(client.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(server.first_closer.value(), Some(&FirstCloser::Peer));
    assert_eq!(server.kind.value(), Some(&CloseKind::Passive));
    assert_eq!((client.seen_from, server.seen_from), (SeenFrom::Handshake, SeenFrom::Handshake));
    assert_eq!(client.netns, Some(run.namespace().inode()));
    assert_eq!(client.bytes_sent.value(), Some(&4));
    assert_eq!(client.bytes_received.value(), Some(&6));
}

#[test]
fn the_processes_that_open_and_close_are_named() {
    let run = run(catalog::CLIENT_CLOSES_FIRST);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    let opener = client.opener.value().expect("opener");
    assert_eq!(
        (opener.tgid, opener.comm),
        (run.namespace().client().owner().tgid, run.namespace().client().owner().comm)
    );
    assert_eq!(opener.pid, run.namespace().client().owner().pid);
    assert_eq!(client.closer.value().map(|owner| owner.pid), Some(run.namespace().client().owner().pid));
    let closer = server.closer.value().expect("closer");
    assert_eq!(
        (closer.pid, closer.comm),
        (run.namespace().server().owner().pid, run.namespace().server().owner().comm)
    );
    assert_eq!(server.opener.value(), None);
    assert_ne!(opener.pid, closer.pid);
}

#[test]
fn client_closes_first_and_the_server_answers_late() {
    let run = run(catalog::SLOW_SERVER);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    // The socket is gone when the server's FIN comes: only its mini-socket sees it.
    assert_eq!(client.successor.reason(), Some(Reason::HiddenFinWait2));
    assert_eq!(server.waves.value(), Some(&Waves::Four));
}

#[test]
fn server_closes_first_and_the_client_answers_at_once() {
    let run = run(catalog::SERVER_CLOSES_FIRST);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(client.first_closer.value(), Some(&FirstCloser::Peer));
    assert_eq!(server.first_closer.value(), Some(&FirstCloser::Local));
    assert_eq!(client.role.value(), Some(&Role::Opened));
    assert_eq!(server.role.value(), Some(&Role::Accepted));
}

#[test]
fn half_close_with_data_after_the_fin() {
    let run = run(catalog::HALF_CLOSE);
    let client = run.assert_whole().client(0);
    assert_eq!(client.waves.value(), Some(&Waves::Four));
    assert_eq!(client.successor.value(), Some(&Successor::TimeWait));
    assert_eq!(client.bytes_received.value(), Some(&6));
}

#[test]
fn shutdown_then_close_before_the_peers_fin_keeps_the_self_transition() {
    let run = run(catalog::SHUTDOWN_THEN_CLOSE);
    let client = run.assert_whole().client(0);
    assert!(steps(client).contains(&(FinWait2, FinWait2)), "{:?}", steps(client));
    assert_eq!(client.kind.value(), Some(&CloseKind::Active));
    let dwell = client.dwells.iter().find(|dwell| dwell.state == FinWait2).expect("time in FIN_WAIT2");
    // The mini-socket waits on in FIN_WAIT2, out of sight.
    assert_eq!(dwell.duration_ns.reason(), Some(Reason::HiddenFinWait2), "{dwell:?}");
}

#[test]
fn close_with_unsent_data_queues_the_fin_behind_it() {
    let run = run(catalog::UNSENT_DATA);
    let client = run.assert_whole().client(0);
    let dwell = client.dwells.iter().find(|dwell| dwell.state == FinWait1).expect("time in FIN_WAIT1");
    assert!(dwell.unsent_bytes.is_some_and(|bytes| bytes > 0), "{dwell:?}");
    assert_eq!(client.bytes_sent.value(), run.server(0).bytes_received.value());
}

#[test]
fn a_fin_that_waits_behind_data_is_not_the_first() {
    let run = run(catalog::CROSSED);
    let client = run.assert_whole().client(0);
    assert!(steps(client).contains(&(FinWait1, Closing)));
    assert_eq!(client.first_closer.value(), Some(&FirstCloser::Peer));
}

#[test]
fn self_connect_is_one_socket_that_opens_and_closes_with_itself() {
    let run = run(catalog::SELF_CONNECT);
    let client = run.assert_whole().client(0);
    let path = [Close, SynSent, SynRecv, Established, FinWait1, Closing, Close];
    let expected: Vec<_> = path.windows(2).map(|pair| (pair[0], pair[1])).collect();
    assert_eq!(steps(client), expected);
    assert_eq!(client.role.value(), Some(&Role::OpenedBoth));
    assert_eq!(client.local, client.remote);
}

#[test]
fn reset_by_so_linger_0() {
    let run = run(catalog::LINGER_ZERO);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    let sent = client.reset.expect("reset");
    assert_eq!(sent.direction.value(), Some(&ResetDirection::Sent));
    assert_eq!(sent.cause.value(), Some(&ResetCause::LingerZero));
    let received = server.reset.expect("reset");
    assert_eq!(received.direction.value(), Some(&ResetDirection::Received));
    assert_eq!(server.error.value(), Some(&104));
    assert_eq!(server.closer.value(), None);
    assert_eq!(client.first_closer.value(), None);
}

#[test]
fn reset_by_unread_data_tells_how_much() {
    let run = run(catalog::UNREAD_DATA);
    let sent = run.assert_whole().client(0).reset.expect("reset");
    assert_eq!(sent.cause.value(), Some(&ResetCause::UnreadData));
    assert_eq!(sent.unread_bytes.value(), Some(&10));
}

#[test]
fn child_dropped_with_its_listener() {
    let run = run(catalog::UNACCEPTED);
    let (client, child) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(child.kind.value(), Some(&CloseKind::Dropped));
    assert_eq!(client.kind.value(), Some(&CloseKind::Reset));
}

#[test]
fn refused_connect() {
    let run = run(catalog::REFUSED);
    let client = run.assert_whole().client(0);
    assert_eq!(client.kind.value(), Some(&CloseKind::Refused));
    assert_eq!(client.error.value(), Some(&111));
    assert_eq!(run.seen.closes.len(), 1);
}

#[test]
fn connect_given_up_before_an_answer() {
    let run = run(catalog::CANCELLED);
    let client = run.assert_whole().client(1);
    assert_eq!(client.kind.value(), Some(&CloseKind::ConnectCancelled));
    assert_eq!(client.handshake_ns.value(), None);
}

#[test]
fn reconnect_of_one_descriptor_is_two_connections_of_one_socket() {
    let run = run(catalog::RECONNECT);
    let (refused, connected) = (run.assert_whole().client(0), run.client(1));
    // 5.10 may show the cookie of the second connection only: a dump made it.
    let renamed = matches!(refused.conn_id.socket, SocketKey::Address(_))
        && matches!(connected.conn_id.socket, SocketKey::Cookie(_));
    assert!(renamed || refused.conn_id.socket == connected.conn_id.socket, "{:?}", connected.conn_id);
    assert!(refused.conn_id.generation < connected.conn_id.generation);
    assert_eq!(refused.kind.value(), Some(&CloseKind::Refused));
    assert_eq!(connected.kind.value(), Some(&CloseKind::Active));
    assert_ne!(refused.local.port, connected.local.port, "the old port is not carried over");
}

#[test]
fn ipv6() {
    let run = run(catalog::IPV6);
    let client = run.assert_whole().client(0);
    assert_eq!(client.family, Family::Inet6);
    assert_eq!(client.remote.addr, Some("::1".parse().expect("address")));
}

#[test]
fn ipv4_mapped_ipv6_is_given_as_ipv4() {
    let run = run(catalog::MAPPED);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.family, server.family), (Family::Inet6, Family::Inet6));
    assert!(client.remote.addr.is_some_and(|address| address.is_ipv4()), "{:?}", client.remote);
}

#[test]
fn ipv4_client_of_an_ipv6_listener() {
    let run = run(catalog::DUAL_STACK);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!((client.family, server.family), (Family::Inet, Family::Inet6));
    assert_eq!((client.local, client.remote), (server.remote, server.local));
}

#[test]
fn time_in_each_state_adds_up_to_the_life() {
    let run = run(catalog::HALF_CLOSE);
    for record in [run.assert_whole().client(0), run.server(0)] {
        let known: Vec<u64> =
            record.dwells.iter().filter_map(|dwell| dwell.duration_ns.value().copied()).collect();
        assert_eq!(known.len(), record.dwells.len(), "{:?}", record.dwells);
        assert_eq!(Some(&known.iter().sum::<u64>()), record.life_ns.value(), "{:?}", record.dwells);
    }
}

#[test]
fn waiting_for_a_late_answer_counts_as_time_in_close_wait() {
    let run = run(catalog::SLOW_SERVER);
    let server = run.assert_whole().server(0);
    let wait =
        server.dwells.iter().find(|dwell| dwell.state == TcpState::CloseWait).expect("time in CLOSE_WAIT");
    // The server answered only after the delayed acknowledgement, 40 ms.
    assert!(wait.duration_ns.value().is_some_and(|ns| *ns > 20_000_000), "{wait:?}");
}

#[test]
fn all_scenarios_at_once_are_told_apart() {
    let namespace = Namespace::new().expect("namespace");
    on_loopback_of(namespace, |namespace| catalog::run(catalog::ALL, namespace)).assert_whole();
}

#[test]
fn the_comparison_finds_what_is_missing_or_false() {
    let run = run(catalog::CLIENT_CLOSES_FIRST);
    let whole = run.assert_whole().seen.closes.clone();
    let complaints = |change: &dyn Fn(&mut Vec<CloseRecord>)| {
        let mut closes = whole.clone();
        change(&mut closes);
        let verdict = compare(&run.made, &closes, Depth::Claims);
        assert!(!verdict.all_whole() && !verdict.complaints.is_empty());
        verdict.complaints.join("; ")
    };
    assert!(complaints(&|closes| closes.truncate(1)).contains("no close record"));
    assert!(complaints(&|closes| closes[0].steps.truncate(3)).contains("transitions"));
    assert!(complaints(&|closes| closes[0].steps.swap(1, 2)).contains("another order"));
    assert!(complaints(&|closes| closes[0].kind = Claim::known(CloseKind::Reset, [])).contains("said Reset"));
    let unknown = Claim::Unknown(Reason::LossInInterval);
    assert!(complaints(&|closes| closes[0].first_closer = unknown).contains("unknown (loss_in_interval)"));
    assert!(complaints(&|closes| closes[0].chain_breaks = 1).contains("chain breaks"));
}
