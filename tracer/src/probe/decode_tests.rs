use finwait_core::observation::Program;

use super::*;

/// A record in which every byte differs from its neighbours, so that a field read at the wrong place shows.
fn sample() -> [u8; STATE_RECORD_BYTES] {
    let mut bytes: [u8; STATE_RECORD_BYTES] = core::array::from_fn(|at| (at as u8).wrapping_mul(7) | 1);
    let mut set = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    set(core::mem::offset_of!(StateRecord, version), &[RECORD_VERSION]);
    set(core::mem::offset_of!(StateRecord, kind), &[KIND_STATE]);
    set(core::mem::offset_of!(StateRecord, size), &(STATE_RECORD_BYTES as u16).to_ne_bytes());
    set(core::mem::offset_of!(StateRecord, program), &[1]);
    set(core::mem::offset_of!(StateRecord, depth), &[2]);
    set(core::mem::offset_of!(StateRecord, present), &u64::MAX.to_ne_bytes());
    set(core::mem::offset_of!(StateRecord, family), &AF_INET.to_ne_bytes());
    set(core::mem::offset_of!(StateRecord, old_state), &[1]);
    set(core::mem::offset_of!(StateRecord, new_state), &[4]);
    bytes
}

fn with(at: usize, value: u8) -> [u8; STATE_RECORD_BYTES] {
    let mut bytes = sample();
    bytes[at] = value;
    bytes
}

#[test]
fn every_field_is_read_where_the_layout_has_it() {
    let bytes = sample();
    // SAFETY: a structure of numbers without padding, of the array's size; read_unaligned asks for no alignment.
    let expected = unsafe { bytes.as_ptr().cast::<StateRecord>().read_unaligned() };
    assert_eq!(read(&bytes), Ok(expected));
}

#[test]
fn a_full_record_becomes_a_full_observation() {
    let mut bytes = sample();
    let at = core::mem::offset_of!(StateRecord, local_addr);
    bytes[at..at + 4].copy_from_slice(&[127, 0, 0, 1]);
    let at = core::mem::offset_of!(StateRecord, rto_jiffies);
    bytes[at..at + 4].copy_from_slice(&50u32.to_ne_bytes());
    let change = decode(&bytes, 4_000_000).unwrap();
    assert_eq!((change.old, change.new), (TcpState::Established, TcpState::FinWait1));
    assert_eq!((change.stream.program, change.stream.depth), (Program::Shadow, 2));
    assert_eq!(change.local_addr, Some(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(change.tcp.rto_ns, Some(200_000_000));
    assert!(change.task.is_some() && change.flags.is_some() && change.netns.is_some());
}

#[test]
fn what_is_not_present_is_none() {
    let mut bytes = sample();
    let at = core::mem::offset_of!(StateRecord, present);
    bytes[at..at + 8].fill(0);
    let change = decode(&bytes, 1).unwrap();
    assert_eq!(change.tcp, TcpFields::default());
    assert_eq!((change.cookie, change.sock_addr, change.local_addr, change.task), (None, None, None, None));
    assert_eq!((change.inet_sport, change.num, change.dport, change.err), (None, None, None, None));
}

#[test]
fn a_port_of_zero_is_none() {
    let mut bytes = sample();
    let at = core::mem::offset_of!(StateRecord, dport);
    bytes[at..at + 2].fill(0);
    assert_eq!(decode(&bytes, 1).unwrap().dport, None);
}

#[test]
fn what_cannot_be_is_an_error() {
    let state = core::mem::offset_of!(StateRecord, old_state);
    let family = core::mem::offset_of!(StateRecord, family);
    assert_eq!(decode(&sample()[..247], 1), Err(DecodeError::Length(247)));
    assert_eq!(decode(&[], 1), Err(DecodeError::Length(0)));
    assert_eq!(decode(&with(0, 9), 1), Err(DecodeError::Version(9)));
    assert_eq!(decode(&with(1, 9), 1), Err(DecodeError::Kind(9)));
    assert_eq!(decode(&with(4, 5), 1), Err(DecodeError::Program { program: 5, depth: 2 }));
    assert_eq!(decode(&with(4, 3), 1), Err(DecodeError::Program { program: 3, depth: 2 }), "it never nests");
    assert_eq!(decode(&with(5, 4), 1), Err(DecodeError::Program { program: 1, depth: 4 }));
    assert_eq!(decode(&with(state, 0), 1), Err(DecodeError::State { old: 0, new: 4 }));
    assert_eq!(decode(&with(state, 13), 1), Err(DecodeError::State { old: 13, new: 4 }));
    assert_eq!(decode(&with(family, 1), 1), Err(DecodeError::Family(1)));
}

#[test]
fn errors_are_counted() {
    let mut decoder = Decoder::new(1);
    assert!(decoder.decode(&sample()).is_some());
    assert!(decoder.decode(&[0; 8]).is_none());
    assert_eq!((decoder.errors(), decoder.last_error()), (1, Some(DecodeError::Length(8))));
}
