use std::net::Ipv4Addr;

use super::*;
use finwait_core::observation::{Program, ReasonName};
use tracer_common::{
    PROGRAM_ACCEPT, PROGRAM_RECEIVE_RESET, PROGRAM_RETRANSMIT, PROGRAM_SEND_RESET, PROGRAM_TIME_WAIT_KILL,
    TimeWaitRecord,
};

const PRESENT: usize = core::mem::offset_of!(Head, present);
const SOCKET: usize = size_of::<Head>();
const AFTER_SOCKET: usize = SOCKET + size_of::<SocketPart>();
const AFTER_TASK: usize = AFTER_SOCKET + size_of::<TaskPart>();

/// Every record with all bits set and each byte other than its neighbours, and yet sound.
fn sample(kind: u8) -> Vec<u8> {
    let (size, program) = match kind {
        KIND_RESET => (size_of::<ResetRecord>(), PROGRAM_SEND_RESET),
        KIND_RETRANSMIT => (size_of::<RetransmitRecord>(), PROGRAM_RETRANSMIT),
        KIND_ACCEPT => (size_of::<AcceptRecord>(), PROGRAM_ACCEPT),
        _ => (size_of::<TimeWaitRecord>(), PROGRAM_TIME_WAIT_KILL),
    };
    let mut bytes: Vec<u8> = (0..size).map(|at| (at as u8).wrapping_mul(7) | 1).collect();
    set(&mut bytes, 0, &[RECORD_VERSION, kind]);
    set(&mut bytes, 2, &(size as u16).to_ne_bytes());
    set(&mut bytes, 4, &[program, 2]);
    set(&mut bytes, PRESENT, &u64::MAX.to_ne_bytes());
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, family), &AF_INET.to_ne_bytes());
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, local_addr), &[127, 0, 0, 1]);
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, socket_kind), &[SOCKET_FULL]);
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, state), &[TcpState::FinWait1.raw()]);
    if kind == KIND_TIME_WAIT {
        set(&mut bytes, size - 8, &u64::from(CHANGE_DISARMED).to_ne_bytes());
    }
    bytes
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn told_by(bytes: &[u8]) -> Result<Observation, DecodeError> {
    decode(bytes, &Decoder::new(4_000_000))
}

fn event(bytes: &[u8]) -> Observation {
    told_by(bytes).unwrap()
}

#[test]
fn every_part_is_read_where_the_layout_has_it() {
    let bytes = sample(KIND_RESET);
    // SAFETY: a structure of numbers without padding, of the vector's size; read_unaligned asks for no alignment.
    let expected = unsafe { bytes.as_ptr().cast::<ResetRecord>().read_unaligned() };
    let mut rest = &bytes[..];
    assert_eq!(
        (head(&mut rest), socket(&mut rest), task(&mut rest)),
        (expected.head, expected.socket, expected.task)
    );
    assert_eq!((rest.get_u32_ne(), rest.get_u32_ne()), (expected.reason, expected.answers_segment));
}

#[test]
fn a_reset_sent_has_a_reason_only_by_name() {
    let Observation::Reset(reset) = event(&sample(KIND_RESET)) else { panic!() };
    assert_eq!((reset.stream.program, reset.stream.depth), (Program::SendReset, 2));
    assert_eq!((reset.subject.kind, reset.state), (SocketKind::Full, Some(TcpState::FinWait1)));
    assert_eq!(reset.subject.local_addr, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(reset.answers_segment, Some(true));
    assert_eq!(reset.reason, None, "no name is known for that number");
    assert!(reset.task.is_some() && reset.subject.cookie.is_some() && reset.subject.netns.is_some());
}

#[test]
fn reasons_are_those_of_the_running_kernel() {
    let Ok(btf) = crate::probe::btf::Btf::from_kernel() else { return };
    let Some(number) = btf.enumerator("sk_rst_reason", "SK_RST_REASON_TCP_ABORT_ON_CLOSE") else { return };
    let decoder = Decoder::new(1).with_reasons(crate::probe::ResetReasons::of(&btf));
    let mut bytes = sample(KIND_RESET);
    set(&mut bytes, AFTER_TASK, &u32::try_from(number).unwrap().to_ne_bytes());
    let Ok(Observation::Reset(reset)) = decode(&bytes, &decoder) else { panic!() };
    assert_eq!(reset.reason, Some(ReasonName::new("TCP_ABORT_ON_CLOSE")));
}

#[test]
fn a_reset_received_answers_nothing() {
    let mut bytes = sample(KIND_RESET);
    bytes[4] = PROGRAM_RECEIVE_RESET;
    let Observation::Reset(reset) = event(&bytes) else { panic!() };
    assert_eq!((reset.stream.program, reset.answers_segment), (Program::ReceiveReset, None));
}

#[test]
fn a_reset_without_a_socket_has_no_addresses() {
    let mut bytes = sample(KIND_RESET);
    set(&mut bytes, PRESENT, &present::NETNS.to_ne_bytes());
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, family), &[0, 0]);
    set(&mut bytes, SOCKET + core::mem::offset_of!(SocketPart, socket_kind), &[SOCKET_NONE]);
    let Observation::Reset(reset) = event(&bytes) else { panic!() };
    assert_eq!((reset.subject.kind, reset.state, reset.task), (SocketKind::None, None, None));
    assert_eq!(
        (reset.subject.local_addr, reset.subject.local_port, reset.subject.cookie),
        (None, None, None)
    );
    assert!(reset.subject.netns.is_some());
}

#[test]
fn the_timer_that_is_pending_tells_why_a_segment_goes_again() {
    for (pending, cause) in
        [(0, RetransmitCause::Timeout), (5, RetransmitCause::LossProbe), (1, RetransmitCause::Recovery)]
    {
        let mut bytes = sample(KIND_RETRANSMIT);
        set(&mut bytes, AFTER_SOCKET, &[0x11, pending, 0]);
        let Observation::Retransmit(retransmit) = event(&bytes) else { panic!() };
        assert_eq!(
            (retransmit.cause, retransmit.fin, retransmit.failed),
            (Some(cause), Some(true), Some(false))
        );
    }
    let mut bytes = sample(KIND_RETRANSMIT);
    set(&mut bytes, AFTER_SOCKET, &[0x10, 0, 1]);
    let Observation::Retransmit(retransmit) = event(&bytes) else { panic!() };
    assert_eq!((retransmit.fin, retransmit.failed), (Some(false), Some(true)));
}

#[test]
fn an_accepted_socket_names_who_accepted_it() {
    let Observation::Accept(accept) = event(&sample(KIND_ACCEPT)) else { panic!() };
    let task = accept.task.unwrap();
    assert!(task.start_boot_ns.is_some() && task.kthread.is_some());
    assert!(task.exit_signal.is_some() == (task.exiting == Some(true)));
}

#[test]
fn without_symbols_the_clock_alone_tells_how_a_time_wait_socket_ended() {
    let Observation::TimeWait(event) = event(&sample(KIND_TIME_WAIT)) else { panic!() };
    assert_eq!((event.change, event.site, event.task), (TimeWaitChange::Disarmed, None, None));
    assert_eq!(event.substate, Some(TcpState::FinWait1));
}

#[test]
fn the_stack_outweighs_the_clock() {
    use TimeWaitChange::{Armed, Disarmed, Expired};
    let connect = Some(Taken::From(CallSite::Connect));
    assert_eq!(told(Disarmed, connect), (Disarmed, Some(CallSite::Connect)));
    assert_eq!(told(Expired, connect), (Disarmed, Some(CallSite::Connect)), "quicker than the timer wheel");
    assert_eq!(told(Expired, Some(Taken::RanOut)), (Expired, None));
    assert_eq!(told(Expired, None), (Expired, None));
    assert_eq!(told(Expired, Some(Taken::From(CallSite::Rearm))), (Expired, None));
    assert_eq!(told(Disarmed, None), (Disarmed, Some(CallSite::Other)));
    assert_eq!(told(Armed, connect), (Armed, None));
}

#[test]
fn what_is_not_present_is_none() {
    for kind in [KIND_RESET, KIND_RETRANSMIT, KIND_ACCEPT, KIND_TIME_WAIT] {
        let mut bytes = sample(kind);
        set(&mut bytes, PRESENT, &[0; 8]);
        let subject = match event(&bytes) {
            Observation::Reset(event) => {
                assert_eq!((event.state, event.reason, event.task), (None, None, None));
                event.subject
            }
            Observation::Retransmit(event) => {
                assert_eq!((event.state, event.fin, event.cause, event.failed), (None, None, None, None));
                event.subject
            }
            Observation::Accept(event) => {
                assert_eq!(event.task, None);
                event.subject
            }
            Observation::TimeWait(event) => {
                assert_eq!((event.substate, event.timeout_ns, event.task), (None, None, None));
                event.subject
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((subject.cookie, subject.sock_addr, subject.netns), (None, None, None));
        assert_eq!((subject.local_addr, subject.local_port, subject.remote_port), (None, None, None));
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    let wrong = |kind, at: usize, value: u8| {
        let mut bytes = sample(kind);
        bytes[at] = value;
        told_by(&bytes).unwrap_err()
    };
    let field = |kind, field, value| DecodeError::HookField { kind, field, value };
    assert_eq!(wrong(KIND_RESET, 0, 9), DecodeError::Version(9));
    assert_eq!(wrong(KIND_RESET, 1, 9), DecodeError::Kind(9));
    assert_eq!(wrong(KIND_RESET, 2, 1), DecodeError::HookLength { kind: KIND_RESET, bytes: 1 });
    assert_eq!(wrong(KIND_RESET, 4, 1), DecodeError::Program { program: 1, depth: 2 });
    assert_eq!(wrong(KIND_ACCEPT, 5, 4), DecodeError::Program { program: PROGRAM_ACCEPT, depth: 4 });
    let family = SOCKET + core::mem::offset_of!(SocketPart, family);
    assert_eq!(wrong(KIND_ACCEPT, family, 1), DecodeError::Family(1));
    let socket_kind = SOCKET + core::mem::offset_of!(SocketPart, socket_kind);
    assert_eq!(wrong(KIND_ACCEPT, socket_kind, 9), field(KIND_ACCEPT, "socket kind", 9));
    let state = SOCKET + core::mem::offset_of!(SocketPart, state);
    assert_eq!(wrong(KIND_RETRANSMIT, state, 13), field(KIND_RETRANSMIT, "state", 13));
    let change = size_of::<TimeWaitRecord>() - 8;
    assert_eq!(wrong(KIND_TIME_WAIT, change, 5), field(KIND_TIME_WAIT, "change", 5));
}

/// Whatever the damage: an error or an event, no panic.
#[test]
fn damaged_records_are_survived() {
    for kind in [KIND_RESET, KIND_RETRANSMIT, KIND_ACCEPT, KIND_TIME_WAIT] {
        let whole = sample(kind);
        for length in 0..whole.len() {
            assert!(told_by(&whole[..length]).is_err(), "{length} bytes of kind {kind}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                let _ = told_by(&damaged);
            }
        }
    }
}
