//! A ring that overflows: the loss is exactly counted, and what is still said is true.

use std::thread;

use finwait_core::record::{CloseRecord, Endpoint};
use finwait_core::{NetNs, Observation, TrackerConfig};
use tracer::probe::{Probe, ProbeConfig, TierChoice};
use tracer::scenario::check::{Depth, compare, false_claims, sides};
use tracer::scenario::watch::{Reading, Seen, track_with};
use tracer::scenario::{Made, Namespace, SideName, catalog};
use tracer_common::{AcceptRecord, KernelFilter, ResetRecord, RetransmitRecord, StateRecord, TimeWaitRecord};

use crate::replay::assert_replays;

/// Room for fifteen transitions.
const SMALL_RING: u32 = 4096;
/// What the kernel puts before each record (BPF_RINGBUF_HDR_SZ).
const HEADER: usize = 8;
const NAMESPACES: usize = 4;

/// What went through the ring.
struct Overflown {
    made: Vec<(NetNs, Made)>,
    seen: Seen,
    /// Bytes that the received records took in the ring, those of hooks among them
    ring_bytes: usize,
}

/// Every scenario in several namespaces at once, under a ring that is far too small.
fn overflow(reading: Reading) -> Overflown {
    let namespaces: Vec<_> = (0..NAMESPACES).map(|_| Namespace::new().expect("namespace")).collect();
    let mut filter = KernelFilter { netns_count: NAMESPACES as u32, ..KernelFilter::default() };
    for (slot, namespace) in filter.netns.iter_mut().zip(&namespaces) {
        *slot = namespace.inode().0;
    }
    let probe = Probe::attach(&ProbeConfig {
        ring_bytes: SMALL_RING,
        filter,
        tier: TierChoice::TpBtf,
        ..ProbeConfig::default()
    })
    .expect("attach");
    let _shared = crate::support::undisturbed();
    let traffic = || {
        thread::scope(|scope| {
            let all: Vec<_> =
                namespaces.iter().map(|namespace| scope.spawn(|| everything(namespace))).collect();
            all.into_iter().map(|made| made.join().expect("thread")).collect::<anyhow::Result<_>>()
        })
    };
    let mut observations = Vec::new();
    let keep = |observation: &Observation| observations.push(observation.clone());
    let (made, seen) = track_with(probe, reading, TrackerConfig::default(), traffic, keep).expect("run");
    assert_replays(&observations, &seen);
    let ring_bytes = observations.iter().map(bytes_in_ring).sum();
    Overflown { made, seen, ring_bytes }
}

fn bytes_in_ring(observation: &Observation) -> usize {
    match observation {
        Observation::StateChange(_) => size_of::<StateRecord>() + HEADER,
        Observation::Reset(_) => size_of::<ResetRecord>() + HEADER,
        Observation::Retransmit(_) => size_of::<RetransmitRecord>() + HEADER,
        Observation::Accept(_) => size_of::<AcceptRecord>() + HEADER,
        Observation::TimeWait(_) => size_of::<TimeWaitRecord>() + HEADER,
        _ => 0,
    }
}

fn everything(namespace: &Namespace) -> anyhow::Result<(NetNs, Made)> {
    Ok((namespace.inode(), catalog::run(catalog::ALL, namespace)?))
}

fn assert_books_balance(made: &[(NetNs, Made)], seen: &Seen) {
    let made: usize = made.iter().map(|(_, made)| made.transition_count()).sum();
    let books = &seen.accounting;
    // A repetition that was lost itself looks like a rescue: it makes the difference negative.
    let unrescued =
        i128::from(books.recursion_missed.expect("counted")) - i128::from(books.rescued.expect("counted"));
    let sum = i128::from(books.received) + i128::from(books.lost_ring) + unrescued;
    assert_eq!(sum, made as i128, "{books:?}");
    assert!(books.lost_ring > 0, "nothing was lost: {books:?}");
}

/// A record that lacks an end may be any connection's that fits; it lies only if it is false of all of them.
fn assert_no_false_claim(made: &[(NetNs, Made)], seen: &Seen) {
    for record in &seen.closes {
        let candidates: Vec<_> = made
            .iter()
            .filter(|(netns, _)| record.netns.is_none_or(|seen| seen == *netns))
            .flat_map(|(_, made)| sides(made))
            .filter(|(connection, side, _)| fits(record, connection.ends(*side)))
            .collect();
        assert!(!candidates.is_empty(), "nothing like this was made: {record:#?}");
        let lies: Vec<_> = candidates.iter().map(|(_, _, made)| false_claims(record, made)).collect();
        assert!(
            lies.iter().any(Vec::is_empty),
            "{lies:#?}\nin {record:#?}\nof {:?}",
            candidates
                .iter()
                .map(|(connection, side, _)| (connection.name, *side))
                .collect::<Vec<(_, SideName)>>()
        );
    }
}

fn fits(record: &CloseRecord, (local, remote): (std::net::SocketAddr, std::net::SocketAddr)) -> bool {
    let end = |seen: Endpoint, made: std::net::SocketAddr| {
        seen.addr.is_none_or(|address| address == made.ip() || address.is_unspecified())
            && (made.port() == 0 || seen.port.is_none_or(|port| port.0 == made.port()))
    };
    end(record.local, local) && end(record.remote, remote)
}

#[test]
fn a_consumer_that_does_not_read_loses_exactly_what_is_counted() {
    let Overflown { made, seen, ring_bytes } = overflow(Reading::Afterwards);
    assert_books_balance(&made, &seen);
    assert_no_false_claim(&made, &seen);
    // It was filled until no transition found room; it is never quite full.
    let (ring, one) = (SMALL_RING as usize, size_of::<StateRecord>() + HEADER);
    assert!(ring_bytes < ring && ring_bytes + one >= ring, "{ring_bytes}, {:?}", seen.accounting);
}

#[test]
fn a_consumer_that_is_too_slow_says_nothing_false() {
    let Overflown { made, seen, .. } = overflow(Reading::Always);
    assert_books_balance(&made, &seen);
    assert_no_false_claim(&made, &seen);
    assert!(seen.accounting.received > 15, "{:?}", seen.accounting);
}

#[test]
fn connections_seen_in_part_are_not_called_whole() {
    let Overflown { made, seen, .. } = overflow(Reading::Always);
    let whole: usize = made
        .iter()
        .map(|(netns, made)| {
            let closes: Vec<_> =
                seen.closes.iter().filter(|close| close.netns == Some(*netns)).cloned().collect();
            compare(made, &closes, Depth::Claims).whole
        })
        .sum();
    let all: usize = made.iter().map(|(_, made)| made.side_count()).sum();
    assert!(whole < all, "with {:?} at least one side must be incomplete", seen.accounting);
}
