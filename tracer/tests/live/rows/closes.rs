//! Closes by FIN: FINs that cross, that are lost, that wait behind data; and how the application asked for them.

use std::net::Shutdown;
use std::time::Duration;

use finwait_core::Reason;
use finwait_core::TcpState::{Close, CloseWait, Closing, FinWait1, FinWait2, LastAck};
use finwait_core::record::{CloseKind, FinOutcome, FirstCloser, LocalCause, Successor, Waves};
use socket2::{Domain, SockRef, Socket, Type};
use tracer::scenario::sides::{ACTIVE, Orderly, PASSIVE, client_side, server_side};
use tracer::scenario::stage::{Pair, connect_socket, fill, pass, read_to_end, shut_send, until};
use tracer::scenario::{Fact, MadeSide, SideName};

use super::{client_closes_first, close_both, dwell_ns, exchange, orderly};
use crate::support::{Run, on_loopback, over_link, steps};
use crate::wire::link::{Fate, Toward};

/// Long enough for both ends to close before either hears of it.
const ONE_WAY: Duration = Duration::from_millis(50);
/// The shortest retransmission timeout (TCP_RTO_MIN) is 200 ms; the probe for the tail comes no sooner than half of it.
const LOST_NS: u64 = 100_000_000;

#[test]
fn simultaneous_close_50_ms_each_way() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        pass(&client, &server, 4)?;
        link.every(Fate::Delay(ONE_WAY), |_, _| true);
        let closing = stage.client().start(move || {
            drop(client);
            Ok(())
        });
        stage.server().close(server)?;
        closing.wait()?;
        let both = |mut side: MadeSide, closer| {
            side.kind = Fact::Shown(CloseKind::Simultaneous);
            side.first_closer = Fact::Shown(FirstCloser::Both);
            side.closer = Fact::Shown(closer);
            side.cause = Fact::True(LocalCause::Close);
            side.fin_outcome = Fact::Shown(FinOutcome::Acknowledged);
            side.waves = Fact::Shown(Waves::Four);
            side.successor = Fact::Shown(Successor::TimeWait);
            side
        };
        let path = [FinWait1, Closing, Close];
        let mut mine = both(client_side(stage, &path), stage.client().owner());
        let mut theirs = both(server_side(&path), stage.server().owner());
        (mine.bytes_sent, theirs.bytes_received) = (Fact::Shown(4), Fact::Shown(4));
        (mine.bytes_received, theirs.bytes_sent) = (Fact::Shown(0), Fact::Shown(0));
        stage.single("simultaneous close", listening, (local, remote), (mine, theirs))
    });
    run.assert_whole();
    for side in [SideName::Client, SideName::Server] {
        let wire = run.wire(0, side);
        assert!(wire.crossed && wire.segments == Some(4), "{wire:?}");
    }
}

/// The client closes first; its first `lost` FINs do not arrive.
fn with_fins_lost(lost: usize) -> Run {
    over_link(move |stage, link| {
        let (listening, pair) = stage.one_pair()?;
        link.first(lost, Fate::Drop, |segment, toward| toward == Toward::Server && segment.flags.fin);
        let connection = client_closes_first(stage, "FIN lost", pair)?;
        let listener = stage.close_listener(listening)?;
        Ok(tracer::scenario::Made { connections: vec![connection], listeners: vec![listener] })
    })
}

#[test]
fn fin_lost() {
    let run = with_fins_lost(1);
    let (client, server) = (run.assert_whole().client(0), run.server(0));
    assert_eq!(run.wire(0, SideName::Client).sent_again, (1, 0));
    assert_eq!(run.wire(0, SideName::Server).sent_again, (0, 0));
    assert_eq!((client.total_retrans, server.total_retrans), (Some(1), Some(0)));
    let again = client.fin_retransmits.value().expect("the hook for retransmissions");
    assert_eq!((again.fins(), again.data), (1, 0), "{again:?}");
    assert!(dwell_ns(client, FinWait1).is_some_and(|ns| ns > LOST_NS), "{:?}", client.dwells);
    // Answered within 40 ms the client's socket lives to see it.
    let hidden = client.successor.reason() == Some(Reason::HiddenFinWait2);
    assert!(hidden || client.waves.value().is_some(), "{:?}", client.waves);
    assert!(server.waves.value().is_some(), "{:?}", server.waves);
}

#[test]
fn fin_lost_again_and_again() {
    let run = with_fins_lost(3);
    let client = run.assert_whole().client(0);
    assert_eq!(run.wire(0, SideName::Client).sent_again, (3, 0));
    assert_eq!(client.total_retrans, Some(3));
    let again = client.fin_retransmits.value().expect("the hook for retransmissions");
    assert_eq!((again.fins(), again.data), (3, 0), "{again:?}");
    assert!(again.by_timeout > 0, "{again:?}");
    assert!(dwell_ns(client, FinWait1).is_some_and(|ns| ns > 4 * LOST_NS), "{:?}", client.dwells);
    let dwell = client.dwells.iter().find(|dwell| dwell.state == FinWait1).expect("time in FIN_WAIT1");
    assert!(dwell.slow, "{dwell:?}");
}

#[test]
fn close_against_a_zero_window_keeps_the_fin_behind_the_data() {
    const NARROW: usize = 4096;
    const WIDE: usize = 128 * 1024;
    let run = over_link(|stage, link| {
        let at = std::net::SocketAddr::new(stage.address(), 0);
        let listening = stage.listen_with(at, 16, Some(NARROW))?;
        let to = listening.address;
        let client = stage.client().run(move || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_send_buffer_size(WIDE)?;
            connect_socket(socket, to)
        })?;
        let Pair { client, server, local, remote } = stage.pair_of(client, &listening)?;
        let sent = fill(&client)?;
        stage.client().close(client)?;
        // A probe repeats the last byte's number without carrying it (tcp_xmit_probe_skb).
        until("a probe of the closed window", || {
            let log = link.log();
            let mut data = log.iter().filter(|judged| judged.toward == Toward::Server).map(|j| j.segment);
            let last = data.clone().rfind(|segment| segment.payload_bytes > 0);
            let before = last.map(|segment| segment.end_seq().wrapping_sub(1));
            Ok(data.any(|probe| probe.payload_bytes == 0 && Some(probe.seq) == before).then_some(()))
        })?;
        let received = stage.server().run(move || read_to_end(&server).inspect(|_| drop(server)))?;
        assert_eq!(sent, received);
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
        let facts = Orderly { sent, received: 0, ..orderly(true) };
        facts.describe(stage, &mut mine, &mut theirs);
        mine.unsent = true;
        stage.single("zero window", listening, (local, remote), (mine, theirs))
    });
    let client = run.assert_whole().client(0);
    let dwell = client.dwells.iter().find(|dwell| dwell.state == FinWait1).expect("time in FIN_WAIT1");
    assert!(dwell.unsent_bytes.is_some_and(|bytes| bytes > 0), "{dwell:?}");
    // The first probe goes out one retransmission timeout after the window closed.
    let fin = run.wire(0, SideName::Client).waves[0].expect("a FIN").at;
    let queued = client.steps.iter().find(|step| step.new == FinWait1).expect("FIN_WAIT1").at;
    assert!(fin.since(queued).is_some_and(|ns| ns > LOST_NS), "{fin:?} {queued:?}");
}

#[test]
fn so_linger_above_0_waits_in_close_for_the_acknowledgement() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        SockRef::from(&client).set_linger(Some(Duration::from_secs(5)))?;
        // Returns when the FIN is acknowledged: 40 ms later, as the server says nothing.
        stage.client().close(client)?;
        stage.server().close(server)?;
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
        orderly(true).describe(stage, &mut mine, &mut theirs);
        theirs.waves = Fact::Shown(Waves::Four);
        stage.single("SO_LINGER above 0", listening, (local, remote), (mine, theirs))
    });
    let client = run.assert_whole().client(0);
    assert_eq!(client.successor.reason(), Some(Reason::HiddenFinWait2));
}

#[test]
fn shutdown_of_both_directions_and_close_later() {
    let run = on_loopback(|stage| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        let answer = tracer::scenario::stage::answer_end(stage.server(), server);
        let client = stage.client().run(move || {
            client.shutdown(Shutdown::Both)?;
            Ok(client)
        })?;
        answer.wait()?;
        // The socket is in CLOSE by now, its mini-socket in TIME_WAIT: close() changes no state.
        stage.settle(local, remote)?;
        stage.client().close(client)?;
        let (mut mine, mut theirs) = (client_side(stage, &ACTIVE), server_side(&PASSIVE));
        let facts = Orderly { successor: Fact::Shown(Successor::TimeWait), ..orderly(true) };
        facts.describe(stage, &mut mine, &mut theirs);
        mine.cause = Fact::True(LocalCause::Shutdown);
        stage.single("shutdown of both directions", listening, (local, remote), (mine, theirs))
    });
    let client = run.assert_whole().client(0);
    assert!(client.waves.value().is_some(), "{:?}", client.waves);
}

#[test]
fn the_passive_end_answers_by_shutdown_and_closes_before_its_fin_is_acknowledged() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        stage.client().close(client)?;
        stage.wait_for(remote, local, CloseWait)?;
        // The server's FIN stays on its way while the server closes.
        link.every(Fate::Hold, |segment, toward| toward == Toward::Client && segment.flags.fin);
        let server = shut_send(stage.server(), server)?;
        stage.server().close(server)?;
        link.heal();
        link.release()?;
        let mut mine = client_side(stage, &ACTIVE);
        let mut theirs = server_side(&[CloseWait, LastAck, LastAck, Close]);
        orderly(true).describe(stage, &mut mine, &mut theirs);
        theirs.cause = Fact::True(LocalCause::Shutdown);
        stage.single("passive shutdown", listening, (local, remote), (mine, theirs))
    });
    let server = run.assert_whole().server(0);
    assert!(steps(server).contains(&(LastAck, LastAck)), "{:?}", steps(server));
}

#[test]
fn close_on_a_socket_in_fin_wait1_after_shutdown() {
    let run = over_link(|stage, link| {
        let (listening, Pair { client, server, local, remote }) = stage.one_pair()?;
        exchange(&client, &server)?;
        link.every(Fate::Hold, |segment, toward| toward == Toward::Server && segment.flags.fin);
        let client = shut_send(stage.client(), client)?;
        link.wait_kept(1)?;
        stage.client().close(client)?;
        link.heal();
        link.release()?;
        stage.wait_for(local, remote, FinWait2)?;
        stage.server().close(server)?;
        let mut mine = client_side(stage, &[FinWait1, FinWait1, FinWait2, Close]);
        let mut theirs = server_side(&PASSIVE);
        orderly(true).describe(stage, &mut mine, &mut theirs);
        theirs.waves = Fact::Shown(Waves::Four);
        mine.cause = Fact::True(LocalCause::Shutdown);
        stage.single("close in FIN_WAIT1", listening, (local, remote), (mine, theirs))
    });
    let client = run.assert_whole().client(0);
    assert_eq!(client.first_closer.value(), Some(&FirstCloser::Local));
}

#[test]
fn server_closes_first_over_a_link() {
    let run = over_link(|stage, _| {
        let (listening, pair) = stage.one_pair()?;
        let Pair { client, server, local, remote } = pair;
        exchange(&client, &server)?;
        close_both((stage.server(), server), (stage.client(), client))?;
        let (mut mine, mut theirs) = (client_side(stage, &PASSIVE), server_side(&ACTIVE));
        orderly(false).describe(stage, &mut mine, &mut theirs);
        stage.single("server first over a link", listening, (local, remote), (mine, theirs))
    });
    assert_eq!(run.assert_whole().server(0).first_closer.value(), Some(&FirstCloser::Local));
}
