//! Stuck sockets put together by state and owner.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use finwait_core::{Pid, TcpState};

use super::age::Age;
use super::gather::{Owner, StuckSocket};
use super::meaning;

/// Sockets of one state and owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their state
    pub state: TcpState,
    /// `java/2201 (billing.service)`, or in parentheses why there is no process
    pub owner: String,
    /// How many
    pub count: usize,
    /// Age of the oldest
    pub oldest: Age,
    /// Age of the one in the middle; of two, the younger
    pub median: Age,
    /// What their ends have in common
    pub place: String,
    /// What it means
    pub meaning: &'static str,
}

/// The groups of `sockets`: the one with the oldest socket first, of equals the larger.
#[must_use]
pub fn groups(sockets: &[StuckSocket]) -> Vec<Group> {
    let mut sorted: HashMap<Key<'_>, Vec<&StuckSocket>> = HashMap::new();
    for socket in sockets {
        sorted.entry(Key::of(socket)).or_default().push(socket);
    }
    let mut groups: Vec<Group> = sorted.into_values().filter_map(group).collect();
    groups.sort_by(|a, b| {
        let worse = (b.oldest.at_least_ns, b.count).cmp(&(a.oldest.at_least_ns, a.count));
        worse.then_with(|| (a.state, &a.owner).cmp(&(b.state, &b.owner)))
    });
    groups
}

#[derive(PartialEq, Eq, Hash)]
struct Key<'a> {
    state: TcpState,
    owner: &'static str,
    process: Option<Pid>,
    place: Option<&'a str>,
}

impl<'a> Key<'a> {
    fn of(socket: &'a StuckSocket) -> Self {
        Self {
            state: socket.row.state,
            owner: socket.owner.name(),
            process: socket.owner.holders().first().map(|holder| holder.pid),
            place: socket.cgroup.as_ref().map(|cgroup| cgroup.path.as_str()),
        }
    }
}

fn group(mut sockets: Vec<&StuckSocket>) -> Option<Group> {
    sockets.sort_by_key(|socket| std::cmp::Reverse(socket.age.at_least_ns));
    let oldest = sockets.first()?;
    let median = sockets.get(sockets.len() / 2)?;
    Some(Group {
        state: oldest.row.state,
        owner: owner(oldest),
        count: sockets.len(),
        oldest: oldest.age,
        median: median.age,
        place: place(&sockets),
        meaning: meaning::of(&sockets),
    })
}

fn owner(socket: &StuckSocket) -> String {
    let label = socket.cgroup.as_ref().filter(|cgroup| cgroup.path != "/").map(|cgroup| cgroup.short());
    let label = label.map_or_else(String::new, |label| format!(" ({label})"));
    match &socket.owner {
        Owner::Processes(holders) => match holders.as_slice() {
            [only] => format!("{}/{}{label}", only.comm, only.pid),
            [first, others @ ..] => format!("{}/{} +{}{label}", first.comm, first.pid, others.len()),
            [] => format!("?{label}"),
        },
        Owner::Nobody => format!("(no process){label}"),
        Owner::NotAccepted => format!("(not accepted){label}"),
        Owner::Unknown | Owner::NotRecorded => format!("?{label}"),
    }
}

/// Local and remote end as far as all have them in common. Who connected to whom is not known here: no arrow.
fn place(sockets: &[&StuckSocket]) -> String {
    let local = common(sockets, |socket| socket.row.local);
    let local_port = common(sockets, |socket| socket.row.local.port());
    let local = match (local, local_port) {
        (Some(end), _) if sockets.len() == 1 => end.to_string(),
        (_, Some(port)) => format!(":{port}"),
        _ => "*".to_owned(),
    };
    format!("{local} ↔ {}", peers(sockets))
}

fn peers(sockets: &[&StuckSocket]) -> String {
    let end = common(sockets, |socket| socket.row.remote);
    let address = common(sockets, |socket| socket.row.remote.ip());
    let port = common(sockets, |socket| socket.row.remote.port());
    match (end, address, port) {
        (Some(end), ..) => end.to_string(),
        (None, Some(address), _) => bracketed(address),
        (None, None, port) => {
            let mut addresses: Vec<IpAddr> = sockets.iter().map(|socket| socket.row.remote.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            let port = port.map_or_else(String::new, |port| format!(" :{port}"));
            format!("{} peers{port}", addresses.len())
        }
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(_) => SocketAddr::new(address, 0).to_string().trim_end_matches(":0").to_owned(),
    }
}

fn common<T: PartialEq>(sockets: &[&StuckSocket], part: impl Fn(&StuckSocket) -> T) -> Option<T> {
    let mut parts = sockets.iter().map(|socket| part(socket));
    let first = parts.next()?;
    parts.all(|part| part == first).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stuck::samples_for_tests::{holder, socket};

    fn java(seconds: u64, local_port: u16) -> StuckSocket {
        let owner = Owner::Processes(vec![holder("java", 2201)]);
        let mut socket = socket(TcpState::CloseWait, owner, seconds, false);
        socket.row.local.set_port(local_port);
        socket
    }

    #[test]
    fn sockets_of_one_state_and_owner_are_one_group() {
        let last_ack = socket(TcpState::LastAck, Owner::Nobody, 100, true);
        let groups = groups(&[java(5, 40_000), java(300, 40_001), java(7, 40_002), last_ack]);
        assert_eq!(groups.len(), 2);
        let [java, last_ack] = groups.as_slice() else { panic!("{groups:#?}") };
        assert_eq!((java.state, java.owner.as_str(), java.count), (TcpState::CloseWait, "java/2201", 3));
        assert_eq!((java.oldest.at_least_ns, java.median.at_least_ns), (300_000_000_000, 7_000_000_000));
        assert_eq!(java.place, "* ↔ 10.0.0.9:5432");
        assert_eq!((last_ack.owner.as_str(), last_ack.count), ("(no process)", 1));
        assert_eq!(last_ack.place, "10.0.0.5:40000 ↔ 10.0.0.9:5432");
    }

    #[test]
    fn several_holders_are_one_owner_and_cgroups_tell_owners_apart() {
        let shared = Owner::Processes(vec![holder("nginx", 811), holder("nginx", 812)]);
        let shared = socket(TcpState::CloseWait, shared, 1, false);
        assert_eq!(owner(&shared), "nginx/811 +1");
        let mut in_unit = shared.clone();
        let name = crate::enrich::CgroupName::of("/system.slice/nginx.service");
        in_unit.cgroup = Some(std::sync::Arc::new(name));
        assert_eq!(owner(&in_unit), "nginx/811 +1 (nginx.service)");
        assert_eq!(groups(&[shared, in_unit]).len(), 2);
    }

    #[test]
    fn the_place_is_what_the_ends_have_in_common() {
        let with = |local: &str, remote: &str| {
            let mut socket = socket(TcpState::FinWait2, Owner::Nobody, 1, false);
            (socket.row.local, socket.row.remote) = (local.parse().unwrap(), remote.parse().unwrap());
            socket
        };
        let place = |sockets: &[StuckSocket]| place(&sockets.iter().collect::<Vec<_>>());
        let (one, two) = (with("10.0.0.5:443", "10.0.0.7:50000"), with("10.0.0.5:443", "10.0.0.8:50001"));
        assert_eq!(place(&[one.clone(), two]), ":443 ↔ 2 peers");
        assert_eq!(place(&[one, with("10.0.0.5:443", "10.0.0.7:50001")]), ":443 ↔ 10.0.0.7");
        let v6 = [with("[::1]:1", "[2001:db8::7]:5"), with("[::1]:2", "[2001:db8::7]:6")];
        assert_eq!(place(&v6), "* ↔ [2001:db8::7]");
        let many = [with("[::1]:1", "10.0.0.7:80"), with("[::1]:2", "10.0.0.8:80")];
        assert_eq!(place(&many), "* ↔ 2 peers :80");
    }
}
