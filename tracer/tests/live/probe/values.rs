//! What records say, against what the system calls say of the same socket.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    os::unix::fs::MetadataExt,
    path::Path,
    time::Duration,
};

use finwait_core::{NetNs, TcpState};
use rustix::thread::gettid;
use tracer::probe::{TierChoice, host};
use tracer_common::KernelFilter;

use super::harness::*;

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
                let (mut server, _) = listener.accept().expect("accept");
                client.write_all(b"hello").expect("write");
                // Unread data would turn the close into a reset.
                server.read_exact(&mut [0; 5]).expect("read");
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
