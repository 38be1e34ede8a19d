//! The programs in the running kernel, with traffic on loopback in a network namespace of its own.
//! Needs root: `cargo test -p tracer --features live --test probe_live -- --nocapture`

use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
    sync::Mutex,
    time::Duration,
};

use finwait_core::observation::{Program, Tier};
use finwait_core::{NetNs, StateChange, TcpState};
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use tracer::probe::{Decoder, HostReport, KernelCounters, Probe, ProbeConfig, Stop, TierChoice, host};
use tracer_common::KernelFilter;

/// One at a time: two probes would see each other's traffic, and time each other.
static SERIAL: Mutex<()> = Mutex::new(());

const CONNECTIONS: u64 = 20_000;
/// Five transitions of the client, five of the accepted socket.
const PER_CONNECTION: u64 = 10;
/// CLOSE → LISTEN → CLOSE.
const LISTENER: u64 = 2;

/// Runs `body` on a thread in a new network namespace whose loopback is up.
fn in_namespace<T: Send>(name: &str, body: impl FnOnce(NetNs) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = move || {
            // SAFETY: a new network namespace touches no memory and no descriptor of this process.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("unshare(CLONE_NEWNET)");
            assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
            body(host::netns_of(Path::new("/proc/thread-self/ns/net")).expect("namespace"))
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn_scoped(scope, run)
            .expect("thread")
            .join()
            .expect("body")
    })
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("listener")
}

/// Connects, accepts, closes the client first.
fn churn(connections: u64) {
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

fn filter_for(netns: NetNs) -> KernelFilter {
    let mut filter = KernelFilter { netns_count: 1, ..KernelFilter::default() };
    filter.netns[0] = netns.0;
    filter
}

fn attach(filter: KernelFilter, tier: TierChoice) -> Probe {
    Probe::attach(&ProbeConfig { filter, tier, ..ProbeConfig::default() }).expect("attach")
}

/// Reads on a thread of its own while `traffic` runs; hands each transition to `each`.
fn observe<T>(probe: &mut Probe, traffic: impl FnOnce() -> T, mut each: impl FnMut(StateChange) + Send) -> T {
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
                            if let Some(change) = decoder.decode(bytes) {
                                each(change);
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

fn report(label: &str, probe: &Probe, counters: &KernelCounters, received: u64) {
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

#[test]
fn every_transition_arrives_and_is_counted() {
    let _serial = SERIAL.lock();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    in_namespace("churn", |netns| {
        for round in 0..3 {
            let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
            let (mut received, mut repeated, mut last) = (0, 0, None);
            observe(
                &mut probe,
                || churn(CONNECTIONS),
                |change| {
                    received += 1;
                    let key = (change.sock_addr, change.old, change.new);
                    repeated += u64::from(change.stream.program == Program::Shadow && last == Some(key));
                    last = Some(key);
                    assert_eq!(change.netns, Some(netns));
                },
            );
            let counters = probe.counters().expect("counters");
            report(&format!("round {round}"), &probe, &counters, received);
            assert_eq!(received + counters.lost_ring, counters.transitions());
            assert_eq!(received - repeated, CONNECTIONS * PER_CONNECTION + LISTENER);
            assert_eq!(counters.pair(TcpState::Close, TcpState::SynSent), CONNECTIONS);
        }
    });
}

#[test]
fn without_a_filter_every_transition_of_the_host_is_seen() {
    let _serial = SERIAL.lock();
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    let mut probe = attach(KernelFilter::default(), TierChoice::TpBtf);
    let (mut received, mut mine) = (0, 0);
    in_namespace("churn", |netns| {
        observe(
            &mut probe,
            || churn(CONNECTIONS),
            |change| {
                received += 1;
                mine += u64::from(change.netns == Some(netns));
            },
        );
    });
    let counters = probe.counters().expect("counters");
    report("unfiltered", &probe, &counters, received);
    assert_eq!(mine, CONNECTIONS * PER_CONNECTION + LISTENER);
}

#[test]
fn a_full_ring_loses_what_the_counters_say() {
    let _serial = SERIAL.lock();
    in_namespace("churn", |netns| {
        let config = ProbeConfig { ring_bytes: 4096, filter: filter_for(netns), tier: TierChoice::TpBtf };
        let mut probe = Probe::attach(&config).expect("attach");
        churn(1000);
        std::thread::sleep(Duration::from_millis(100));
        let mut numbers = std::collections::HashMap::new();
        let mut received = 0;
        observe(
            &mut probe,
            || (),
            |change| {
                received += 1;
                *numbers.entry(change.stream).or_insert(0u64) = change.seq;
            },
        );
        let counters = probe.counters().expect("counters");
        report("full ring", &probe, &counters, received);
        assert!(counters.lost_ring > 0);
        assert_eq!(received + counters.lost_ring, counters.transitions());
        assert_eq!(counters.transitions(), 1000 * PER_CONNECTION + LISTENER);
    });
}

#[test]
fn values_are_those_of_the_socket() {
    let _serial = SERIAL.lock();
    in_namespace("finwait-values", |netns| {
        let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
        let mut changes = Vec::new();
        let (client, server, cookie, inode, started) = observe(
            &mut probe,
            || {
                let started = host::monotonic_now();
                let listener = listener();
                let port = listener.local_addr().expect("address").port();
                let mut client = TcpStream::connect(("127.0.0.7", port)).expect("connect");
                let (server, _) = listener.accept().expect("accept");
                client.write_all(b"hello").expect("write");
                let cookie = rustix::net::sockopt::socket_cookie(&client).expect("cookie");
                let inode = rustix::fs::fstat(client.as_fd()).expect("fstat").st_ino;
                let ends = (client.local_addr().expect("local"), client.peer_addr().expect("peer"));
                std::thread::sleep(Duration::from_millis(50));
                drop(client);
                drop(server);
                (ends.0, ends.1, cookie, inode, started)
            },
            |change| changes.push(change),
        );
        let of = |old, new, port: SocketAddr| {
            changes
                .iter()
                .find(|change| {
                    change.old == old
                        && change.new == new
                        && change.inet_sport.map(|port| port.0) == Some(port.port())
                })
                .unwrap_or_else(|| panic!("{old:?} to {new:?}"))
        };
        let closing = of(TcpState::Established, TcpState::FinWait1, client);
        println!("{closing:#?}");
        assert_eq!(closing.cookie.map(|cookie| cookie.0), Some(cookie));
        assert_eq!(closing.inode, Some(inode));
        assert_eq!(closing.netns, Some(netns));
        assert_eq!((closing.local_addr, closing.remote_addr), (Some(client.ip()), Some(server.ip())));
        assert_eq!(closing.remote_addr, Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7))));
        assert_eq!(closing.dport.map(|port| port.0), Some(server.port()));
        assert_eq!(closing.num.map(|port| port.0), Some(client.port()));
        assert_eq!(
            (closing.uid, closing.mark, closing.err, closing.lock_owned),
            (Some(0), Some(0), Some(0), Some(true))
        );
        let task = closing.task.expect("task");
        assert_eq!(task.tgid.0, std::process::id());
        assert_eq!(task.pid.0, gettid().as_raw_nonzero().get() as u32);
        assert_eq!(task.comm.as_bytes(), b"finwait-values");
        assert_eq!((task.kthread, task.exiting), (Some(false), Some(false)));
        assert!(closing.at >= started && closing.at <= host::monotonic_now());
        let tcp = closing.tcp;
        // The SYN counts as one byte acknowledged.
        assert_eq!(tcp.bytes_acked, Some(6));
        assert_eq!(tcp.write_seq.zip(tcp.snd_una).map(|(end, una)| end.wrapping_sub(una)), Some(0));
        assert_eq!(tcp.linger2, Some(0));
        assert!(
            tcp.rto_ns.is_some_and(|rto| (200_000_000..2_000_000_000).contains(&rto)),
            "{:?}",
            tcp.rto_ns
        );
        assert!(tcp.since_send_ns.is_some_and(|since| (40_000_000..1_000_000_000).contains(&since)));
        assert!(tcp.srtt_us.is_some_and(|srtt| srtt > 0 && srtt < 100_000));
        if let Some(cgroup) = own_cgroup() {
            assert_eq!(closing.cgroup.map(|cgroup| cgroup.0), Some(cgroup));
        }
        let child = changes.iter().find(|change| change.new == TcpState::CloseWait).expect("CLOSE_WAIT");
        assert_eq!((child.local_addr, child.remote_addr), (Some(server.ip()), Some(client.ip())));
        assert_eq!(child.tcp.bytes_received, Some(6), "five bytes and the FIN");
        assert_eq!(child.flags.map(|flags| flags.done), Some(true));
        let ended = changes.iter().find(|change| change.old == TcpState::FinWait2).expect("FIN_WAIT2");
        assert_eq!(
            (ended.inode, ended.flags.map(|flags| flags.dead)),
            (None, Some(true)),
            "an orphan has no file"
        );
    });
}

fn own_cgroup() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .into_iter()
        .map(|root| format!("{root}{path}"))
        .find(|path| Path::new(path).join("cgroup.procs").exists())
        .and_then(|path| std::fs::metadata(path).ok())
        .map(|directory| directory.ino())
}

#[test]
fn addresses_of_version_6_and_the_filter_by_family_and_port() {
    let _serial = SERIAL.lock();
    in_namespace("families", |netns| {
        let connect = |to: &str, at: &TcpListener| {
            let port = at.local_addr().expect("address").port();
            let client = TcpStream::connect((to, port)).expect("connect");
            let local = client.local_addr().expect("local").port();
            drop(at.accept().expect("accept"));
            drop(client);
            local
        };
        let (four, six) = (listener(), TcpListener::bind("[::]:0").expect("IPv6"));
        let run = |filter: KernelFilter| {
            let mut changes = Vec::new();
            let mut probe = attach(filter, TierChoice::TpBtf);
            let ports = observe(
                &mut probe,
                || (connect("127.0.0.1", &four), connect("::1", &six), connect("127.0.0.1", &six)),
                |change| changes.push(change),
            );
            let counters = probe.counters().expect("counters");
            assert_eq!(counters.transitions(), changes.len() as u64, "a filtered transition is not counted");
            let count = move |port: u16| {
                changes
                    .iter()
                    .filter(|change| {
                        [change.inet_sport, change.dport].iter().flatten().any(|known| known.0 == port)
                    })
                    .filter(|change| !matches!(change.old, TcpState::Close | TcpState::Listen))
                    .inspect(|change| println!("{:?} {:?} {:?}", change.local_addr, change.old, change.new))
                    .count()
            };
            (count(ports.0), count(ports.1), count(ports.2))
        };
        let base = filter_for(netns);
        // Client and accepted socket, four transitions each after the first one.
        assert_eq!(run(base), (8, 8, 8));
        assert_eq!(run(KernelFilter { family: 2, ..base }), (8, 0, 8), "IPv4, also in IPv6's clothes");
        assert_eq!(
            run(KernelFilter { family: 10, ..base }),
            (0, 8, 4),
            "the accepted socket of a dual-stack listener"
        );
        let mut local = KernelFilter { local_port_count: 1, ..base };
        local.local_ports[0] = six.local_addr().expect("address").port();
        assert_eq!(run(local), (0, 4, 4), "the accepted sockets");
        let mut remote = KernelFilter { remote_port_count: 1, ..base };
        remote.remote_ports[0] = four.local_addr().expect("address").port();
        assert_eq!(run(remote), (4, 0, 0), "the client");
        assert_eq!(run(filter_for(NetNs(1))), (0, 0, 0));
    });
}

#[test]
fn the_classic_tier_streams_the_same_transitions() {
    let _serial = SERIAL.lock();
    let report_ = HostReport::gather();
    println!("{report_:#?}");
    assert_eq!(report_.tier, Some(Tier::TpBtf));
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).expect("statistics");
    // Its tracepoint's number stands in tracefs: mounted where only this thread sees it.
    let run = || {
        in_namespace("classic", |_| {
            let listening = listener();
            let port = listening.local_addr().expect("address").port();
            drop(listening);
            let mut filter = KernelFilter { remote_port_count: 1, ..KernelFilter::default() };
            filter.remote_ports[0] = port;
            let config = ProbeConfig {
                filter: KernelFilter::default(),
                tier: TierChoice::Classic,
                ..ProbeConfig::default()
            };
            let mut probe = match Probe::attach(&config) {
                Ok(probe) => probe,
                Err(error) => {
                    println!("skipped: {error}");
                    return;
                }
            };
            assert_eq!(probe.tier(), Tier::Classic);
            let mut received = 0;
            observe(
                &mut probe,
                || churn(CONNECTIONS),
                |change| {
                    received += 1;
                    assert!(change.sock_addr.is_some() && change.cookie.is_none() && change.task.is_none());
                    assert!(change.netns.is_none() && change.num.is_none());
                },
            );
            let counters = probe.counters().expect("counters");
            report("classic", &probe, &counters, received);
            assert_eq!(received + counters.lost_ring, counters.transitions());
            assert!(received >= CONNECTIONS * PER_CONNECTION * 99 / 100);
            assert_eq!(counters.recursion_missed, None);
        });
    };
    run();
}

#[test]
fn privileges_are_given_up_and_the_counters_stay_readable() {
    let _serial = SERIAL.lock();
    in_namespace("privileges", |netns| {
        let mut probe = attach(filter_for(netns), TierChoice::TpBtf);
        // On a thread of its own: it is gone with its lack of privileges.
        std::thread::scope(|scope| {
            let probe = &mut probe;
            scope.spawn(move || {
                let left = probe.drop_privileges(&[]).expect("drop");
                println!("{left:?}");
                assert!(left.kept.iter().all(|kept| Some(*kept) == left.for_counters));
                let mut received = 0;
                observe(probe, || churn(10), |_| received += 1);
                let counters = probe.counters().expect("counters");
                assert_eq!((received, counters.transitions()), (102, 102));
                assert!(counters.recursion_missed.is_some());
                assert!(Probe::attach(&ProbeConfig::default()).is_err());
            });
        });
    });
}
