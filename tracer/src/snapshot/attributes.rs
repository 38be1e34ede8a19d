//! What the sock_diag crate does not decode: the timer's time of a mini-socket, the cgroup, struct tcp_info.
//!
//! tcp_info only ever grows at its end (include/uapi/linux/tcp.h), so a field is there if the attribute is long enough.

/// INET_DIAG_CGROUP_ID of include/uapi/linux/inet_diag.h, since 5.7.
pub(super) const INET_DIAG_CGROUP_ID: u16 = 21;

/// Offsets within struct inet_diag_msg.
const RETRANS: usize = 3;
const EXPIRES: usize = 52;

/// `idiag_retrans` and `idiag_expires` (milliseconds), which the crate gives only for some timers.
pub(super) fn timer_fields(inet_diag_msg: &[u8]) -> Option<(u8, u32)> {
    Some((*inet_diag_msg.get(RETRANS)?, u32_at(inet_diag_msg, EXPIRES)?))
}

/// struct tcp_info as far as the kernel has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpInfo<'a>(pub(super) &'a [u8]);

impl TcpInfo<'_> {
    pub(super) fn unacked(self) -> Option<u32> {
        u32_at(self.0, 24)
    }

    pub(super) fn last_data_sent_ms(self) -> Option<u32> {
        u32_at(self.0, 44)
    }

    pub(super) fn last_data_recv_ms(self) -> Option<u32> {
        u32_at(self.0, 52)
    }

    pub(super) fn last_ack_recv_ms(self) -> Option<u32> {
        u32_at(self.0, 56)
    }

    /// None before the first sample.
    pub(super) fn rtt_us(self) -> Option<u32> {
        u32_at(self.0, 68).filter(|rtt| *rtt != 0)
    }

    pub(super) fn total_retrans(self) -> Option<u32> {
        u32_at(self.0, 100)
    }

    pub(super) fn bytes_acked(self) -> Option<u64> {
        u64_at(self.0, 120)
    }

    pub(super) fn bytes_received(self) -> Option<u64> {
        u64_at(self.0, 128)
    }
}

/// The number in an attribute of eight bytes.
pub(super) fn u64_value(bytes: &[u8]) -> Option<u64> {
    u64_at(bytes, 0)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..offset.checked_add(8)?)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_a_kernel_does_not_have_is_absent() {
        let whole: Vec<u8> = (0..=255).collect();
        let info = TcpInfo(&whole);
        assert_eq!(info.bytes_acked(), Some(u64::from_ne_bytes([120, 121, 122, 123, 124, 125, 126, 127])));
        let old = TcpInfo(&whole[..104]);
        assert_eq!(old.total_retrans(), Some(u32::from_ne_bytes([100, 101, 102, 103])));
        assert_eq!((old.bytes_acked(), old.bytes_received()), (None, None));
        assert_eq!(TcpInfo(&whole[..58]).last_ack_recv_ms(), None);
    }

    #[test]
    fn no_round_trip_is_not_one_of_zero() {
        assert_eq!(TcpInfo(&[0; 240]).rtt_us(), None);
    }
}
