//! Who a hook was called for: a full socket, one of the small kinds that share only its beginning, or none.

use aya_ebpf::helpers::generated;
use tracer_common::{
    Field, SOCKET_FULL, SOCKET_NONE, SOCKET_REQUEST, SOCKET_TIME_WAIT, TcpState, hook_present, present,
};

use crate::{
    consts,
    filter::{self, Subject},
    object::Object,
    socket,
};

const AF_INET: u16 = 2;

/// What every record of a hook says of its socket. Ports in host order.
pub(crate) struct Identity {
    pub(crate) kind: u8,
    pub(crate) address: *const u8,
    pub(crate) cookie: u64,
    pub(crate) netns: u32,
    pub(crate) state: u8,
    pub(crate) family: u16,
    pub(crate) local_port: u16,
    pub(crate) remote_port: u16,
    pub(crate) local: [u64; 2],
    pub(crate) remote: [u64; 2],
    /// Bits of the fields above.
    pub(crate) present: u64,
}

impl Identity {
    /// No socket; its network namespace, where the segment tells.
    #[inline(always)]
    pub(crate) fn none(netns: u32) -> Self {
        Self {
            kind: SOCKET_NONE,
            address: core::ptr::null(),
            cookie: 0,
            netns,
            state: 0,
            family: 0,
            local_port: 0,
            remote_port: 0,
            local: [0; 2],
            remote: [0; 2],
            present: if netns == 0 { 0 } else { present::NETNS },
        }
    }

    /// A full TCP socket, which `tcp` is as well.
    #[inline(always)]
    pub(crate) fn full(sk: Object, tcp: Object) -> Self {
        let bound = u16::from_be(tcp.read(Field::Sport));
        Self {
            state: sk.read(Field::State),
            cookie: socket::cookie(sk),
            // Given back already where the socket is in CLOSE.
            local_port: if bound == 0 { sk.read(Field::Num) } else { bound },
            ..Self::common(sk, SOCKET_FULL, sk.address(), socket::netns(sk))
        }
        .without_cookie()
    }

    /// A request or a time-wait socket: of a full one they have the beginning (struct sock_common).
    #[inline(always)]
    pub(crate) fn small(sk: Object, kind: u8) -> Self {
        Self::common(sk, kind, sk.address(), socket::netns(sk)).without_cookie()
    }

    /// A time-wait socket with its own state.
    #[inline(always)]
    pub(crate) fn time_wait(tw: Object) -> Self {
        Self { state: tw.read(Field::TwSubstate), ..Self::small(tw, SOCKET_TIME_WAIT) }
    }

    /// A copy of a time-wait socket that lies at `address`.
    #[inline(always)]
    pub(crate) fn copied(copy: Object, address: *const u8, netns: u32) -> Self {
        Self { state: copy.read(Field::TwSubstate), ..Self::common(copy, SOCKET_TIME_WAIT, address, netns) }
            .without_cookie()
    }

    /// What the kinds have in common; the cookie as it is.
    #[inline(always)]
    fn common(sk: Object, kind: u8, address: *const u8, netns: u32) -> Self {
        let family: u16 = sk.read(Field::Family);
        let (local, remote) = if family == AF_INET {
            // skc_addrpair: the remote address lies first.
            let pair: u64 = sk.read(Field::AddrPair);
            ([pair >> 32, 0], [pair & 0xffff_ffff, 0])
        } else {
            (sk.read_words(Field::LocalV6), sk.read_words(Field::RemoteV6))
        };
        let known =
            present::COOKIE | present::NETNS | present::DPORT | present::ADDRESSES | present::SOCK_ADDR;
        Self {
            kind,
            address,
            cookie: sk.read(Field::Cookie),
            netns,
            state: sk.read(Field::State),
            family,
            local_port: sk.read(Field::Num),
            remote_port: u16::from_be(sk.read(Field::Dport)),
            local,
            remote,
            present: consts::present() & known | hook_present::LOCAL_PORT | hook_present::STATE,
        }
    }

    #[inline(always)]
    fn without_cookie(mut self) -> Self {
        if self.cookie == 0 {
            self.present &= !present::COOKIE;
        }
        self
    }

    /// Whether it may match the filter.
    #[inline(always)]
    pub(crate) fn passes(&self) -> bool {
        if !filter::is_set() {
            return true;
        }
        filter::passes(&Subject {
            // No hook is called for a socket whose ports are yet to come; an unknown one is 0 and passes.
            old: TcpState::Established.raw(),
            family: self.family,
            local_port: self.local_port,
            remote_port: self.remote_port,
            local_v6: self.local,
            remote_v6: self.remote,
            netns: if self.present & present::NETNS == 0 { None } else { Some(self.netns) },
        })
    }
}

/// The same socket as tcp_sock; `None` where the kernel says it is not one.
#[inline(always)]
pub(crate) fn tcp_of(sk: Object) -> Option<Object> {
    // SAFETY: the helper takes any socket and returns null where it is no full TCP socket.
    let tcp = unsafe { generated::bpf_skc_to_tcp_sock(sk.address().cast_mut().cast()) } as *const u8;
    // SAFETY: BTF-typed by the helper.
    if tcp.is_null() { None } else { Some(unsafe { Object::new(tcp) }) }
}

/// Which kind of socket hides behind `struct sock *`, as its state tells (net/ipv4/tcp_ipv4.c does the same).
#[inline(always)]
pub(crate) fn small_kind(sk: Object) -> Option<u8> {
    let state: u8 = sk.read(Field::State);
    if state == TcpState::TimeWait.raw() {
        Some(SOCKET_TIME_WAIT)
    } else if state == TcpState::NewSynRecv.raw() {
        Some(SOCKET_REQUEST)
    } else {
        None
    }
}
