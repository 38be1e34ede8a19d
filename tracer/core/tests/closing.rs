//! How a close went: who began it and how, when each wave passed, what was sent again, which reset it was.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod script;

use finwait_core::TcpState::{Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck};
use finwait_core::observation::{
    Program, ReasonName, ResetEvent, RetransmitCause, RetransmitEvent, SocketKind, Stream, Subject,
};
use finwait_core::record::{
    CloseKind, CloseRecord, FinOutcome, FinRetransmits, LocalCause, ResetCause, ResetDirection, WaveTime,
};
use finwait_core::{Evidence, MonoNs, Observation, Reason};
use script::{MILLI, RESETS, SECOND, Script, Sock, accepted, opened};

fn hooked() -> Script {
    Script::new().hooks(RESETS)
}

fn subject(cookie: u64) -> Subject {
    Subject {
        kind: SocketKind::Full,
        cookie: Some(finwait_core::Cookie(cookie)),
        sock_addr: None,
        netns: None,
        local_addr: None,
        local_port: None,
        remote_addr: None,
        remote_port: None,
    }
}

fn stream(program: Program) -> Stream {
    Stream { cpu: 0, program, depth: 0 }
}

fn reset_sent(at: u64, seq: u64, reason: &str) -> Observation {
    Observation::Reset(Box::new(ResetEvent {
        at: MonoNs(at),
        stream: stream(Program::SendReset),
        seq,
        subject: subject(1),
        state: Some(Close),
        answers_segment: Some(true),
        reason: Some(ReasonName::new(reason)),
        task: None,
    }))
}

fn fin_again(at: u64, seq: u64, cause: RetransmitCause) -> Observation {
    Observation::Retransmit(Box::new(RetransmitEvent {
        at: MonoNs(at),
        stream: stream(Program::Retransmit),
        seq,
        subject: subject(1),
        state: Some(FinWait1),
        fin: Some(true),
        cause: Some(cause),
        failed: None,
    }))
}

/// An opened connection whose application shuts `receive` and `send` at 10 ms, its FIN queued.
fn begin(script: &mut Script, receive: bool) -> Sock {
    let mut sock = opened(script, 1);
    sock.by(100, "curl").shut(receive, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq();
    let tcp = sock.tcp();
    tcp.write_seq = tcp.write_seq.map(|n| n + 1);
    sock
}

fn fin_acked(sock: &mut Sock, clock: u64) -> &mut Sock {
    let tcp = sock.tcp();
    (tcp.snd_una, tcp.snd_nxt) = (tcp.write_seq, tcp.write_seq);
    tcp.bytes_acked = tcp.bytes_acked.map(|n| n + 1);
    tcp.clock_cache_ns = Some(clock);
    sock
}

/// The rest of an active close: acknowledged at 11 ms, the peer's FIN after 100 bytes at 500 ms.
fn finish(mut script: Script, mut sock: Sock, dead: bool) -> CloseRecord {
    fin_acked(&mut sock, 7).flags(dead, false);
    script.step(&mut sock, 11 * MILLI, FinWait1, FinWait2);
    sock.flags(dead, true).received(101);
    sock.tcp().clock_cache_ns = Some(8);
    script.step(&mut sock, 500 * MILLI, FinWait2, Close).quiet(SECOND, 0);
    script.close()
}

fn wave(close: &CloseRecord, number: usize) -> Result<(u64, u64), Reason> {
    let wave = &close.wave_times.waves[number - 1];
    wave.value().map(|w| (w.earliest.0, w.latest.0)).ok_or_else(|| wave.reason().unwrap())
}

#[test]
fn a_socket_without_owner_at_the_next_event_was_closed() {
    let mut script = Script::new();
    let sock = begin(&mut script, true);
    let close = finish(script, sock, true);
    assert_eq!(close.cause.value(), Some(&LocalCause::Close));
    assert!(close.cause.evidence().contains(Evidence::SockDead));
}

#[test]
fn a_socket_still_owned_at_the_next_event_was_shut_down() {
    let mut script = Script::new();
    let sock = begin(&mut script, true);
    assert_eq!(finish(script, sock, false).cause.value(), Some(&LocalCause::Shutdown));
    let mut script = Script::new();
    let sock = begin(&mut script, false);
    assert_eq!(finish(script, sock, false).cause.value(), Some(&LocalCause::Shutdown));
}

#[test]
fn a_lingering_close_is_not_told_from_a_shutdown() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.now.flags = Some(finwait_core::observation::SockFlags { dead: false, done: false, linger: true });
    sock.now.linger_ns = Some(5 * SECOND);
    sock.by(100, "curl").shut(true, true);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq();
    sock.tcp().write_seq = Some(1002);
    assert_eq!(finish(script, sock, false).cause.reason(), Some(Reason::CloseOrShutdown));
}

#[test]
fn a_task_on_its_way_out_did_not_call_close() {
    for (signal, cause, told) in [
        (Some(0), Ok(LocalCause::ProcessExit), None),
        (Some(9), Ok(LocalCause::ProcessKilled), Some(9)),
        (None, Err(Reason::FieldAbsent), None),
    ] {
        let mut script = Script::new();
        let mut sock = opened(&mut script, 1);
        sock.by(100, "curl").shut(true, true);
        let task = sock.now.task.as_mut().unwrap();
        (task.exiting, task.exit_signal) = (Some(true), signal);
        script.step(&mut sock, 10 * MILLI, Established, FinWait1);
        sock.softirq();
        sock.tcp().write_seq = Some(1002);
        let close = finish(script, sock, true);
        assert_eq!(close.cause.value().copied().ok_or_else(|| close.cause.reason().unwrap()), cause);
        assert_eq!(close.exit_signal, told);
    }
}

#[test]
fn a_timer_gave_up_and_no_process_closed() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.tcp().probes_out = Some(3);
    sock.err(110);
    script.step(&mut sock, SECOND, Established, Close).quiet(2 * SECOND, 0);
    let close = script.close();
    assert_eq!(close.cause.value(), Some(&LocalCause::KernelTimer));
    assert_eq!(close.closer.reason(), Some(Reason::DidNotHappen));
}

#[test]
fn nobody_here_closed_what_the_peer_reset() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.err(104);
    script.step(&mut sock, SECOND, Established, Close).quiet(2 * SECOND, 0);
    assert_eq!(script.close().cause.reason(), Some(Reason::DidNotHappen));
}

#[test]
fn what_flowed_through_the_half_open_direction_is_counted() {
    let mut script = Script::new();
    let sock = begin(&mut script, false);
    let close = finish(script, sock, false);
    assert_eq!(close.half_closed_ns.value(), Some(&(490 * MILLI)));
    assert_eq!(close.half_closed_bytes.value(), Some(&100));
}

#[test]
fn what_was_sent_after_the_peers_fin_is_counted() {
    let mut script = Script::new();
    let mut sock = accepted(&mut script, 2);
    sock.acked(50).received(11).read_all();
    sock.flags(false, true).shut(true, false);
    script.step(&mut sock, 20 * MILLI, Established, CloseWait);
    sock.acked(700).by(5, "nginx").shut(true, true);
    script.step(&mut sock, 60 * MILLI, CloseWait, LastAck);
    sock.softirq().flags(true, true);
    let tcp = sock.tcp();
    tcp.write_seq = tcp.write_seq.map(|n| n + 1);
    fin_acked(&mut sock, 9);
    script.step(&mut sock, 61 * MILLI, LastAck, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Passive));
    assert_eq!(close.half_closed_ns.value(), Some(&(40 * MILLI)));
    assert_eq!(close.half_closed_bytes.value(), Some(&700));
    assert_eq!(close.cause.value(), Some(&LocalCause::Close));
    assert_eq!(wave(&close, 1), Ok((20 * MILLI, 20 * MILLI)));
    assert_eq!(wave(&close, 3), Ok((60 * MILLI, 60 * MILLI)));
    assert_eq!(wave(&close, 4), Ok((61 * MILLI, 61 * MILLI)));
}

#[test]
fn each_wave_of_an_active_close_has_its_time_and_the_late_one_is_named() {
    let mut script = Script::new();
    let sock = begin(&mut script, false);
    let close = finish(script, sock, false);
    let times: Vec<_> = (1..=4).map(|number| wave(&close, number)).collect();
    let at = |ms| Ok((ms * MILLI, ms * MILLI));
    assert_eq!(times, [at(10), at(11), at(500), at(500)]);
    assert_eq!(close.wave_times.slow, Some(3));
    assert_eq!(close.wave_times.waves[0].value().and_then(WaveTime::exact), Some(MonoNs(10 * MILLI)));
}

#[test]
fn behind_unsent_data_the_first_wave_is_an_interval() {
    let mut script = Script::new();
    let mut sock = opened(&mut script, 1);
    sock.by(100, "curl").shut(true, true);
    sock.tcp().write_seq = Some(5001);
    script.step(&mut sock, 10 * MILLI, Established, FinWait1);
    sock.softirq();
    sock.tcp().write_seq = Some(5002);
    assert_eq!(wave(&finish(script, sock, true), 1), Ok((10 * MILLI, 11 * MILLI)));
}

#[test]
fn a_segment_taken_in_under_the_lock_may_have_come_before() {
    let mut script = Script::new();
    let mut sock = begin(&mut script, true);
    fin_acked(&mut sock, 7).by(100, "curl").flags(true, false);
    script.step(&mut sock, 11 * MILLI, FinWait1, FinWait2);
    sock.softirq().flags(true, true).received(1);
    script.step(&mut sock, 12 * MILLI, FinWait2, Close).quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(wave(&close, 2), Ok((10 * MILLI, 11 * MILLI)));
    assert_eq!(wave(&close, 3), Ok((12 * MILLI, 12 * MILLI)));
}

#[test]
fn fins_that_cross_have_four_times() {
    let mut script = Script::new();
    let mut sock = begin(&mut script, true);
    sock.flags(true, true).received(1);
    script.step(&mut sock, 15 * MILLI, FinWait1, Closing);
    fin_acked(&mut sock, 9);
    script.step(&mut sock, 20 * MILLI, Closing, Close).quiet(SECOND, 0);
    let times: Vec<_> = (1..=4).map(|number| wave(&script.close(), number)).collect();
    let at = |ms| Ok((ms * MILLI, ms * MILLI));
    assert_eq!(times, [at(10), at(15), at(15), at(20)]);
}

/// close() at 10 ms; the kernel resets the connection at 12 ms through tcp_reset.
fn reset_in_fin_wait1(mut script: Script, sent: Option<Observation>) -> CloseRecord {
    let mut sock = begin(&mut script, true);
    sock.flags(true, false).err(104);
    script.step(&mut sock, 12 * MILLI, FinWait1, Close);
    script.observations.extend(sent);
    script.quiet(SECOND, 0);
    script.close()
}

#[test]
fn data_after_close_is_told_from_the_peers_reset_by_our_own() {
    let ours = reset_in_fin_wait1(hooked(), Some(reset_sent(12 * MILLI + 900, 1, "TCP_ABORT_ON_DATA")));
    let reset = ours.reset.unwrap();
    assert_eq!(reset.direction.value(), Some(&ResetDirection::Sent));
    assert_eq!(reset.cause.value(), Some(&ResetCause::DataAfterClose));
    assert_eq!(reset.reason.value(), Some(&ReasonName::new("TCP_ABORT_ON_DATA")));
    assert_eq!(reset.state, FinWait1);
    let theirs = reset_in_fin_wait1(hooked(), None).reset.unwrap();
    assert_eq!(theirs.direction.value(), Some(&ResetDirection::Received));
    assert!(theirs.direction.evidence().contains(Evidence::NoResetSent));
    assert_eq!(theirs.reason.reason(), Some(Reason::DidNotHappen));
}

#[test]
fn without_the_hook_the_two_stay_undecided() {
    let reset = reset_in_fin_wait1(Script::new(), None).reset.unwrap();
    assert_eq!(reset.direction.reason(), Some(Reason::ResetOrLateData));
    assert_eq!(reset.reason.reason(), Some(Reason::NotVisible));
}

#[test]
fn a_hook_that_lost_something_proves_nothing_by_silence() {
    let later = reset_sent(40 * MILLI, 2, "TCP_STATE");
    let reset = reset_in_fin_wait1(hooked(), Some(later)).reset.unwrap();
    // The later one is the event's own evidence only if it is near: it is, so look at one of another socket.
    assert_eq!(reset.direction.value(), Some(&ResetDirection::Sent));
    let mut other = reset_sent(40 * MILLI, 2, "TCP_STATE");
    if let Observation::Reset(event) = &mut other {
        event.subject.cookie = Some(finwait_core::Cookie(99));
    }
    let reset = reset_in_fin_wait1(hooked(), Some(other)).reset.unwrap();
    assert_eq!(reset.direction.reason(), Some(Reason::ResetOrLateData));
    assert_eq!(reset.reason.reason(), Some(Reason::HookLoss));
}

#[test]
fn an_abort_without_error_is_a_reset_of_the_kernels() {
    let mut script = hooked();
    let mut sock = begin(&mut script, true);
    sock.flags(true, false);
    script.step(&mut sock, 12 * MILLI, FinWait1, Close);
    script.observations.push(reset_sent(12 * MILLI + 900, 1, "TCP_ABORT_ON_MEMORY"));
    script.quiet(SECOND, 0);
    let close = script.close();
    assert_eq!(close.kind.value(), Some(&CloseKind::Reset));
    let reset = close.reset.unwrap();
    assert_eq!(reset.cause.value(), Some(&ResetCause::Kernel));
    assert_eq!(reset.reason.value(), Some(&ReasonName::new("TCP_ABORT_ON_MEMORY")));
    assert_eq!(close.fin_outcome.value(), Some(&FinOutcome::Reset));
}

#[test]
fn a_fin_that_went_again_is_counted_by_why() {
    let mut script = hooked();
    let sock = begin(&mut script, true);
    for (seq, cause) in
        [(1, RetransmitCause::LossProbe), (2, RetransmitCause::Timeout), (3, RetransmitCause::Timeout)]
    {
        script.observations.push(fin_again(10 * MILLI + seq * 100_000, seq, cause));
    }
    let close = finish(script, sock, true);
    let counts = FinRetransmits { by_timeout: 2, by_probe: 1, by_recovery: 0, data: 0 };
    assert_eq!(close.fin_retransmits.value(), Some(&counts));
    assert_eq!(close.fin_outcome.value(), Some(&FinOutcome::Acknowledged));
}

#[test]
fn a_retransmission_that_is_missing_leaves_no_count() {
    let mut script = hooked();
    let sock = begin(&mut script, true);
    script.observations.push(fin_again(10 * MILLI + 500_000, 2, RetransmitCause::Timeout));
    assert_eq!(finish(script, sock, true).fin_retransmits.reason(), Some(Reason::HookLoss));
    let mut script = Script::new();
    let sock = begin(&mut script, true);
    assert_eq!(finish(script, sock, true).fin_retransmits.reason(), Some(Reason::NotVisible));
}

#[test]
fn a_retransmission_that_only_the_kernel_counted_leaves_no_count() {
    let told = |kernel: u32| {
        let mut script = hooked();
        let mut sock = begin(&mut script, true);
        script.observations.push(fin_again(10 * MILLI + 100_000, 1, RetransmitCause::Timeout));
        sock.tcp().total_retrans = Some(kernel);
        finish(script, sock, true).fin_retransmits
    };
    assert_eq!(told(1).value().map(FinRetransmits::fins), Some(1));
    assert_eq!(told(2).reason(), Some(Reason::HookLoss));
}

#[test]
fn a_fin_that_nobody_acknowledges_is_given_up() {
    let mut script = hooked();
    let mut sock = begin(&mut script, true);
    sock.flags(true, false).err(110);
    sock.tcp().retransmits = Some(3);
    script.step(&mut sock, 2 * SECOND, FinWait1, Close).quiet(3 * SECOND, 0);
    let close = script.close();
    assert_eq!(close.fin_outcome.value(), Some(&FinOutcome::GivenUp));
    assert_eq!(close.cause.value(), Some(&LocalCause::Close));
    assert_eq!(wave(&close, 2), Err(Reason::DidNotHappen));
}
