//! Traffic, and a reader that runs beside it.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Mutex,
    time::Duration,
};

use finwait_core::observation::Program;
use finwait_core::{NetNs, Observation, StateChange};
use tracer::probe::{Decoder, KernelCounters, Probe, ProbeConfig, Stop, TierChoice, host};
use tracer::scenario::enter_new;
use tracer_common::KernelFilter;

/// One at a time: two probes would see each other's traffic, and time each other.
pub(crate) static SERIAL: Mutex<()> = Mutex::new(());

pub(crate) const CONNECTIONS: u64 = 20_000;
/// Five transitions of the client, five of the accepted socket.
pub(crate) const PER_CONNECTION: u64 = 10;
/// Runs `body` on a thread in a new network namespace whose loopback is up.
pub(crate) fn in_namespace<T: Send>(name: &str, body: impl FnOnce(NetNs) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = move || body(enter_new().expect("namespace"));
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, run)
            .expect("thread")
            .join()
            .expect("body")
    })
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("listener")
}

/// Connects, accepts, closes the client first.
pub(crate) fn churn(connections: u64) {
    let listener = listener();
    let port = listener.local_addr().expect("address").port();
    for number in 0..connections {
        let destination = Ipv4Addr::new(127, 0, (number >> 8) as u8, (number & 0xff) as u8 | 1);
        let client = TcpStream::connect((destination, port)).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        drop(client);
        drop(server);
    }
}

pub(crate) fn filter_for(netns: NetNs) -> KernelFilter {
    let mut filter = KernelFilter { netns_count: 1, ..KernelFilter::default() };
    filter.netns[0] = netns.0;
    filter
}

pub(crate) fn attach(filter: KernelFilter, tier: TierChoice) -> Probe {
    Probe::attach(&ProbeConfig { filter, tier, ..ProbeConfig::default() }).expect("attach")
}

/// Reads on a thread of its own while `traffic` runs; hands each transition to `each`.
pub(crate) fn observe<T>(
    probe: &mut Probe,
    traffic: impl FnOnce() -> T,
    mut each: impl FnMut(StateChange) + Send,
) -> T {
    let mut reader = probe.take_ring().expect("ring");
    let stop = Stop::new().expect("eventfd");
    std::thread::scope(|scope| {
        let reading = scope.spawn({
            let stop = stop.clone();
            move || {
                let mut decoder = Decoder::new(host::jiffy_ns());
                loop {
                    let batch = reader
                        .read(&stop, Duration::from_secs(1), |bytes| {
                            if let Some(Observation::StateChange(change)) = decoder.decode(bytes) {
                                each(*change);
                            }
                        })
                        .expect("read");
                    if batch.stopped && batch.watermark.is_some() {
                        assert_eq!(decoder.errors(), 0, "{:?}", decoder.last_error());
                        return;
                    }
                }
            }
        });
        let result = traffic();
        // The last transitions of a closed connection come in softirq, soon after.
        std::thread::sleep(Duration::from_millis(100));
        stop.raise();
        reading.join().expect("reader");
        result
    })
}

pub(crate) fn report(label: &str, probe: &Probe, counters: &KernelCounters, received: u64) {
    println!(
        "{label}: received {received}, pairs {}, prime {}, shadow {}, classic {}, lost {}, missed {:?}, rescued {:?}, untokened {:?}",
        counters.transitions(),
        counters.emitted(Program::Prime),
        counters.emitted(Program::Shadow),
        counters.emitted(Program::Classic),
        counters.lost_ring,
        counters.recursion_missed,
        counters.rescued_candidates,
        counters.untokened,
    );
    for (name, runs, ns) in probe.run_times() {
        println!("{label}: {name} {} ns/run over {runs} runs", ns.checked_div(runs).unwrap_or(0));
    }
}
