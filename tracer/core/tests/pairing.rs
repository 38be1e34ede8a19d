//! Which close records are the two ends of one connection, and what the two prove together.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod ends;

use ends::{End, MILLI, SECOND};
use finwait_core::pairing::{Pairing, PairingConfig};
use finwait_core::record::{
    BothEnds, CloseKind, CloseRecord, Contradiction, FirstCloser, Role, Side, WaveTime, Waves,
};
use finwait_core::{Claim, Evidence, MonoNs, NetNs, Reason, Record};
use proptest::prelude::*;

const CLIENT: &str = "10.0.0.1:40000";
const SERVER: &str = "10.0.0.2:80";

fn opened(cookie: u64, netns: u32, life: (u64, u64)) -> CloseRecord {
    End::new(cookie, CLIENT, SERVER).role(Role::Opened).netns(netns).life(life.0, life.1).record()
}

fn accepted(cookie: u64, netns: u32, life: (u64, u64)) -> CloseRecord {
    End::new(cookie, SERVER, CLIENT).role(Role::Accepted).netns(netns).life(life.0, life.1).record()
}

fn paired(records: impl IntoIterator<Item = CloseRecord>) -> Vec<Record> {
    let mut pairing = Pairing::default();
    for record in records {
        pairing.take(Record::Close(Box::new(record)));
    }
    pairing.finish();
    std::iter::from_fn(|| pairing.next_record()).collect()
}

fn joined(records: impl IntoIterator<Item = CloseRecord>) -> BothEnds {
    match &paired(records)[..] {
        [Record::BothEnds(both)] => BothEnds::clone(both),
        other => panic!("not joined: {other:?}"),
    }
}

fn alone(records: impl IntoIterator<Item = CloseRecord>) -> bool {
    paired(records).iter().all(|record| matches!(record, Record::Close(_)))
}

#[test]
fn ends_that_name_each_other_are_joined_whichever_comes_first() {
    let (client, server) = (opened(1, 7, (0, 500)), accepted(2, 7, (1, 501)));
    let both = joined([client.clone(), server.clone()]);
    assert_eq!((&both.opener_side, &both.acceptor_side), (&client, &server));
    assert_eq!(joined([server, client]), both);
}

#[test]
fn one_role_tells_the_other() {
    let unknown = |mut record: CloseRecord| {
        record.role = Claim::Unknown(Reason::SeenFromMiddle);
        record
    };
    let (client, server) = (opened(1, 7, (0, 500)), accepted(2, 7, (1, 501)));
    let both = joined([unknown(client.clone()), server.clone()]);
    assert_eq!(both.acceptor_side, server);
    let both = joined([unknown(server.clone()), client.clone()]);
    assert_eq!(both.opener_side, client);
    assert!(alone([unknown(client), unknown(server)]));
}

#[test]
fn mapped_addresses_are_the_ipv4_they_are() {
    let server = End::new(2, "[::ffff:10.0.0.2]:80", "[::ffff:10.0.0.1]:40000")
        .role(Role::Accepted)
        .netns(7)
        .life(1, 501)
        .record();
    joined([opened(1, 7, (0, 500)), server]);
}

#[test]
fn ends_in_different_namespaces_are_joined_but_not_over_loopback() {
    joined([opened(1, 7, (0, 500)), accepted(2, 8, (1, 501))]);
    let over_loopback = |netns: u32, cookie, local, remote, role| {
        End::new(cookie, local, remote).role(role).netns(netns).life(0, 500).record()
    };
    let client = |netns| over_loopback(netns, 1, "127.0.0.1:40000", "127.0.0.1:80", Role::Opened);
    let server = |netns| over_loopback(netns, 2, "127.0.0.1:80", "127.0.0.1:40000", Role::Accepted);
    assert!(alone([client(7), server(8)]));
    joined([client(7), server(7)]);
}

#[test]
fn what_does_not_fit_stays_alone() {
    let client = || opened(1, 7, (0, 500));
    let elsewhere = End::new(2, "10.0.0.2:81", CLIENT).role(Role::Accepted).life(0, 500).record();
    let nameless =
        CloseRecord { remote: finwait_core::record::Endpoint::default(), ..accepted(2, 7, (0, 500)) };
    let itself = End::new(1, CLIENT, CLIENT).role(Role::OpenedBoth).life(0, 500).record();
    let same = || CloseRecord { conn_id: accepted(3, 7, (0, 1)).conn_id, ..itself.clone() };
    for (situation, records) in [
        ("no other end", vec![client()]),
        ("another port", vec![client(), elsewhere]),
        ("an end that is not known", vec![client(), nameless]),
        ("lives that do not overlap", vec![client(), accepted(2, 7, (501, 600))]),
        ("two openers", vec![client(), CloseRecord { role: client().role, ..accepted(2, 7, (0, 500)) }]),
        ("closes too far apart", vec![client(), accepted(2, 7, (1, 1_501))]),
        ("sockets connected to themselves", vec![itself.clone(), same()]),
    ] {
        let count = records.len();
        let out = paired(records);
        assert!(out.len() == count && out.iter().all(|r| matches!(r, Record::Close(_))), "{situation}");
    }
}

#[test]
fn with_two_that_fit_none_is_chosen() {
    let servers = [accepted(2, 8, (1, 501)), accepted(3, 9, (1, 502))];
    assert!(alone([opened(1, 7, (0, 500))].into_iter().chain(servers.clone())));
    let clients = [opened(1, 7, (0, 500)), opened(4, 6, (0, 510))];
    assert!(alone(clients.into_iter().chain(servers)), "not even the two that are left at the end");
}

#[test]
fn a_port_used_again_is_another_pair() {
    let out = paired([
        opened(1, 7, (0, 100)),
        accepted(2, 7, (0, 101)),
        opened(3, 7, (102, 200)),
        accepted(4, 7, (102, 201)),
    ]);
    assert_eq!(out.len(), 2);
    assert!(out.iter().all(|record| matches!(record, Record::BothEnds(_))), "{out:?}");
}

#[test]
fn the_first_end_waits_one_second_of_event_time_and_no_longer() {
    let mut pairing = Pairing::default();
    pairing.take(Record::Close(Box::new(opened(1, 7, (0, 500)))));
    pairing.advance(MonoNs(500 * MILLI + SECOND - 1));
    assert_eq!((pairing.next_record(), pairing.waiting()), (None, 1));
    pairing.advance(MonoNs(500 * MILLI + SECOND));
    assert!(matches!(pairing.next_record(), Some(Record::Close(_))));
}

#[test]
fn a_full_table_lets_the_first_closed_go_and_counts_it() {
    let mut pairing = Pairing::new(PairingConfig { capacity: 1, ..PairingConfig::default() });
    pairing.take(Record::Close(Box::new(opened(1, 7, (0, 500)))));
    let other = End::new(2, "10.0.0.9:1", SERVER).role(Role::Opened).life(0, 100).record();
    pairing.take(Record::Close(Box::new(other.clone())));
    assert_eq!(pairing.next_record(), Some(Record::Close(Box::new(other))));
    assert_eq!((pairing.waiting(), pairing.hurried()), (1, 1));
}

fn both(opener: FirstCloser, acceptor: FirstCloser) -> BothEnds {
    let mut both = BothEnds { opener_side: opened(1, 7, (0, 500)), acceptor_side: accepted(2, 7, (1, 501)) };
    both.opener_side.first_closer = Claim::known(opener, [Evidence::FinWait2]);
    both.acceptor_side.first_closer = Claim::known(acceptor, [Evidence::CloseWait]);
    both
}

#[test]
fn who_closed_first_is_what_both_ends_say() {
    use FirstCloser::{Both, Local, Peer};
    for (opener, acceptor, side) in [
        (Local, Peer, Some(Side::Opener)),
        (Peer, Local, Some(Side::Acceptor)),
        (Both, Both, Some(Side::Both)),
        (Both, Local, Some(Side::Both)),
        (Local, Both, Some(Side::Both)),
        (Local, Local, None),
        (Peer, Peer, None),
        (Both, Peer, None),
        (Peer, Both, None),
    ] {
        let both = both(opener, acceptor);
        let first = both.first_closer();
        assert_eq!(first.value().copied(), side, "{opener} and {acceptor}");
        assert_eq!(both.contradictions().contains(&Contradiction::FirstCloser), side.is_none());
        match side {
            Some(_) => assert_eq!(first.evidence().iter().count(), 2),
            None => assert_eq!(first.reason(), Some(Reason::EndsContradict)),
        }
    }
}

#[test]
fn one_end_that_knows_speaks_for_both() {
    let mut both = both(FirstCloser::Local, FirstCloser::Peer);
    both.opener_side.first_closer = Claim::Unknown(Reason::TransitionMissing);
    assert_eq!(both.first_closer(), Claim::known(Side::Opener, [Evidence::CloseWait]));
    both.acceptor_side.first_closer = Claim::Unknown(Reason::DidNotHappen);
    assert_eq!(both.first_closer(), Claim::Unknown(Reason::TransitionMissing));
}

#[test]
fn the_first_wave_took_from_the_one_end_to_the_other() {
    let wave = |earliest, latest| {
        Claim::known(WaveTime { earliest: MonoNs(earliest), latest: MonoNs(latest) }, [Evidence::FinWait1])
    };
    for (sent, received, took) in [
        (wave(100, 100), wave(150, 150), Ok((50, 50))),
        (wave(100, 120), wave(150, 170), Ok((30, 70))),
        (wave(100, 160), wave(150, 170), Ok((0, 70))),
        (wave(200, 200), wave(150, 170), Err(Reason::TimeBackwards)),
        (Claim::Unknown(Reason::NotVisible), wave(1, 1), Err(Reason::NotVisible)),
        (wave(1, 1), Claim::Unknown(Reason::HookLoss), Err(Reason::HookLoss)),
    ] {
        let mut both = both(FirstCloser::Local, FirstCloser::Peer);
        both.opener_side.wave_times.waves[0] = sent;
        both.acceptor_side.wave_times.waves[0] = received;
        let claim = both.first_wave_ns();
        assert_eq!(claim.value().copied().ok_or_else(|| claim.reason().unwrap()), took);
    }
    assert_eq!(
        both(FirstCloser::Both, FirstCloser::Both).first_wave_ns(),
        Claim::Unknown(Reason::DidNotHappen)
    );
}

#[test]
fn what_cannot_both_be_true_is_named_and_nothing_is_chosen() {
    let fine = both(FirstCloser::Local, FirstCloser::Peer);
    assert_eq!(fine.contradictions(), []);
    let known = |kind| Claim::known(kind, [Evidence::StateLeft]);
    let mut kinds = fine.clone();
    (kinds.opener_side.kind, kinds.acceptor_side.kind) = (known(CloseKind::Active), known(CloseKind::Active));
    assert_eq!(kinds.contradictions(), [Contradiction::Kind]);
    kinds.opener_side.kind = known(CloseKind::Reset);
    assert_eq!(kinds.contradictions(), []);
    let mut waves = fine.clone();
    waves.opener_side.waves = Claim::known(Waves::Three, [Evidence::SameSegment]);
    waves.acceptor_side.waves = Claim::known(Waves::Four, [Evidence::AckSent]);
    assert_eq!(waves.contradictions(), [Contradiction::Waves]);
    assert_eq!(waves.waves(), Claim::Unknown(Reason::EndsContradict));
    waves.opener_side.waves = Claim::Unknown(Reason::HiddenFinWait2);
    assert_eq!(waves.waves(), Claim::known(Waves::Four, [Evidence::AckSent]));
    let mut bytes = fine;
    bytes.acceptor_side.bytes_sent = Claim::known(11, [Evidence::StateLeft]);
    bytes.opener_side.bytes_received = Claim::known(10, [Evidence::StateLeft]);
    assert_eq!(bytes.contradictions(), [Contradiction::Bytes]);
}

/// Connections between few addresses and namespaces, so that many fit each other; some with an end missing.
fn records() -> impl Strategy<Value = Vec<CloseRecord>> {
    let one = (0..3u16, 0..3u32, 0..3u32, 0..400u64, 1..1_200u64, 0..20u64, 0..6u8);
    prop::collection::vec(one, 0..24).prop_map(|all| {
        let ends =
            all.into_iter().zip(1u64..).flat_map(|((port, netns, other, from, life, lag, keep), n)| {
                let client = format!("10.0.0.1:{}", 40_000 + port);
                let close = from + life;
                let opened =
                    End::new(2 * n, &client, SERVER).role(Role::Opened).netns(netns).life(from, close);
                let accepted = End::new(2 * n + 1, SERVER, &client)
                    .role(Role::Accepted)
                    .netns(other)
                    .life(from, close + lag);
                [(keep != 1).then(|| opened.record()), (keep != 2).then(|| accepted.record())]
            });
        ends.flatten().collect()
    })
}

fn ids(records: &[Record]) -> Vec<finwait_core::ConnId> {
    let mut ids: Vec<_> = records
        .iter()
        .flat_map(|record| match record {
            Record::BothEnds(both) => vec![both.opener_side.conn_id, both.acceptor_side.conn_id],
            other => vec![other.conn_id()],
        })
        .collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_and_the_order_of_arrival_does_not_matter(
        (records, shuffled) in records().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        capacity in prop_oneof![Just(65_536_usize), 1..8_usize],
    ) {
        let mut expected: Vec<_> = records.iter().map(|record| record.conn_id).collect();
        expected.sort_unstable();
        let whole = paired(records);
        prop_assert_eq!(&ids(&whole), &expected);
        prop_assert_eq!(&paired(shuffled.clone()), &whole);

        let mut small = Pairing::new(PairingConfig { capacity, ..PairingConfig::default() });
        for (at, record) in shuffled.into_iter().enumerate() {
            small.take(Record::Close(Box::new(record)));
            small.advance(MonoNs(at as u64 * 100 * MILLI));
        }
        small.finish();
        let out: Vec<_> = std::iter::from_fn(|| small.next_record()).collect();
        prop_assert_eq!(ids(&out), expected);
    }

    #[test]
    fn what_is_joined_fits_and_fitted_nothing_else(records in records()) {
        let alike = |one: &CloseRecord, other: &CloseRecord| {
            (one.local, one.remote) == (other.remote, other.local)
                && one.steps[0].at <= other.last_seen_at
                && other.steps[0].at <= one.last_seen_at
        };
        for record in paired(records.clone()) {
            let Record::BothEnds(both) = record else { continue };
            prop_assert!(alike(&both.opener_side, &both.acceptor_side));
            let first = both.opener_side.last_seen_at.min(both.acceptor_side.last_seen_at);
            for end in [&both.opener_side, &both.acceptor_side] {
                let near = |other: &&CloseRecord| {
                    other.last_seen_at >= first && other.last_seen_at <= first.plus(SECOND)
                };
                prop_assert_eq!(records.iter().filter(near).filter(|other| alike(end, other)).count(), 1);
            }
        }
    }
}

#[test]
fn namespaces_that_are_not_known_do_not_part_two_ends() {
    let nowhere = |record| CloseRecord { netns: None::<NetNs>, ..record };
    joined([nowhere(opened(1, 7, (0, 500))), nowhere(accepted(2, 8, (1, 501)))]);
}
