//! What the running kernel lets the programs read: offsets of fields, and which of a record's fields follow from them.

use tracer_common::{Field, OFFSET_ABSENT, OFFSET_SLOTS, classic, feature, present};

use super::btf::Btf;

/// Without these a record would say nothing of a connection.
const ESSENTIAL: [Field; 6] =
    [Field::Protocol, Field::Family, Field::AddrPair, Field::LocalV6, Field::RemoteV6, Field::Dport];

/// Values of the load-time constants for the tp_btf programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte offsets by [`Field`]; [`OFFSET_ABSENT`] where the kernel lacks one
    pub offsets: [u16; OFFSET_SLOTS],
    /// [`feature`] bits
    pub features: u32,
    /// [`present`] bits that can be set at all
    pub present: u64,
}

impl Layout {
    /// Resolves every field in `btf`. A field whose size is not the one that the programs load counts as absent.
    #[must_use]
    pub fn resolve(btf: &Btf) -> Self {
        let mut offsets = [OFFSET_ABSENT; OFFSET_SLOTS];
        let mut root = ("", None);
        for field in Field::ALL {
            let Some((structure, members)) = field.path().split_once('.') else { continue };
            // Fields of one structure stand together: each is looked up once.
            if root.0 != structure {
                root = (structure, btf.structure(structure));
            }
            let member = root.1.and_then(|id| btf.member_of(id, members));
            if let Some(member) = member.filter(|member| fits(*field, member.size)) {
                offsets[*field as usize] = u16::try_from(member.offset).unwrap_or(OFFSET_ABSENT);
            }
        }
        let has = |field: Field| offsets[field as usize] != OFFSET_ABSENT;
        let mut features = 0;
        // The variant for tracing programs; it came with 5.12.
        if btf.has_function("bpf_get_socket_ptr_cookie") {
            features |= feature::COOKIE_HELPER;
        }
        if btf.enumerator("bpf_func_id", "BPF_FUNC_get_current_task_btf").is_some()
            && [Field::TaskPid, Field::TaskTgid, Field::TaskComm].into_iter().all(has)
        {
            features |= feature::TASK_BTF;
        }
        if !has(Field::Cgroup) && has(Field::CgroupTagged) {
            features |= feature::CGROUP_TAGGED;
        }
        features |= newer_arguments(btf);
        Self { offsets, features, present: presence(&offsets, features) }
    }

    /// The same without the helpers that a kernel might refuse although its BTF knows them.
    #[must_use]
    pub fn without_newer_helpers(&self) -> Self {
        let features = self.features & !(feature::COOKIE_HELPER | feature::TASK_BTF);
        Self { offsets: self.offsets, features, present: presence(&self.offsets, features) }
    }

    /// Whether the kernel has `field` in the size that the programs load.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.offsets[field as usize] != OFFSET_ABSENT
    }

    /// Fields without which the tp_btf programs are of no use and that this kernel lacks.
    #[must_use]
    pub fn missing_essential(&self) -> Vec<Field> {
        ESSENTIAL.into_iter().filter(|field| !self.has(*field)).collect()
    }

    /// Other fields that this kernel lacks: what they carry is absent from every record. Of the two forms that the cgroup
    /// has had, one is enough.
    #[must_use]
    pub fn missing_optional(&self) -> Vec<Field> {
        let lacks = |field: Field| match field {
            Field::Cgroup | Field::CgroupTagged => !self.has(Field::Cgroup) && !self.has(Field::CgroupTagged),
            other => !self.has(other),
        };
        Field::ALL.iter().copied().filter(|field| lacks(*field) && !ESSENTIAL.contains(field)).collect()
    }
}

/// Whether BTF confirms the layout that the classic program was compiled for; `None` where BTF does not know the record.
#[must_use]
pub fn classic_layout_matches(btf: &Btf) -> Option<bool> {
    let record = btf.structure("trace_event_raw_inet_sock_set_state")?;
    Some((0..classic::MEMBERS.len()).all(|slot| {
        btf.member_of(record, classic::MEMBERS[slot]).is_some_and(|member| {
            member.offset == u32::from(classic::OFFSETS[slot])
                && member.size == u32::from(classic::SIZES[slot])
        })
    }))
}

/// Tracepoints that have got an argument more: (socket, segment, and then what the bit says).
fn newer_arguments(btf: &Btf) -> u32 {
    let third = |tracepoint| btf.tracepoint_arguments(tracepoint).is_some_and(|arguments| arguments >= 3);
    (if third("tcp_send_reset") { feature::RESET_REASON } else { 0 })
        | (if third("tcp_retransmit_skb") { feature::RETRANSMIT_ERR } else { 0 })
}

/// What the classic program fills.
pub const CLASSIC_PRESENT: u64 = present::SOCK_ADDR | present::SPORT | present::DPORT | present::ADDRESSES;

/// Whether a member of `bytes` bytes is what the programs take it for.
fn fits(field: Field, bytes: u32) -> bool {
    // A byte until 6.15, two since: the lower one is loaded.
    bytes == size(field) || field == Field::SegmentFlags && bytes == 2
}

/// Bytes that the programs load of a field, or of which they only want to know the place.
fn size(field: Field) -> u32 {
    match field {
        Field::LocalV6 | Field::RemoteV6 | Field::TaskComm => 16,
        Field::AddrPair
        | Field::Net
        | Field::Flags
        | Field::Cookie
        | Field::LingerTime
        | Field::Socket
        | Field::Cgroup
        | Field::CgroupTagged
        | Field::SocketFile
        | Field::FileInode
        | Field::InodeNumber
        | Field::ClockCache
        | Field::BytesAcked
        | Field::BytesReceived
        | Field::CgroupNode
        | Field::KernfsId
        | Field::SegmentDevice
        | Field::DeviceNet
        | Field::TwExpires
        | Field::TwFunction
        | Field::TimerFunction
        | Field::TaskStart => 8,
        Field::SegmentControl => 48,
        Field::TwTimer => 40,
        Field::Dport | Field::Num | Field::Family | Field::Protocol | Field::Sport => 2,
        Field::Shutdown
        | Field::Retransmits
        | Field::ProbesOut
        | Field::IsMptcp
        | Field::State
        | Field::Pending
        | Field::SegmentFlags
        | Field::TwSubstate => 1,
        Field::Err
        | Field::ErrSoft
        | Field::Uid
        | Field::Mark
        | Field::LockOwned
        | Field::Rto
        | Field::LastReceiveTime
        | Field::SndUna
        | Field::SndNxt
        | Field::SndWnd
        | Field::WriteSeq
        | Field::RcvNxt
        | Field::RcvWup
        | Field::CopiedSeq
        | Field::SrttUs
        | Field::TotalRetrans
        | Field::LastSendTime
        | Field::Linger2
        | Field::NetnsInum
        | Field::TaskPid
        | Field::TaskTgid
        | Field::TaskFlags
        | Field::TaskExitCode => 4,
    }
}

fn presence(offsets: &[u16; OFFSET_SLOTS], features: u32) -> u64 {
    let has = |field: Field| offsets[field as usize] != OFFSET_ABSENT;
    let needs: &[(u64, &[Field])] = &[
        (present::NETNS, &[Field::Net, Field::NetnsInum]),
        (present::INODE, &[Field::Socket, Field::SocketFile, Field::FileInode, Field::InodeNumber]),
        (present::UID, &[Field::Uid]),
        (present::MARK, &[Field::Mark]),
        (present::LOCK_OWNED, &[Field::LockOwned]),
        (present::SOCK_FLAGS, &[Field::Flags]),
        (present::SHUTDOWN, &[Field::Shutdown]),
        (present::LINGER_TIME, &[Field::LingerTime]),
        (present::ERR, &[Field::Err]),
        (present::ERR_SOFT, &[Field::ErrSoft]),
        (present::NUM, &[Field::Num]),
        (present::SPORT, &[Field::Sport]),
        (present::DPORT, &[Field::Dport]),
        (present::ADDRESSES, &[Field::AddrPair, Field::LocalV6, Field::RemoteV6]),
        (present::RETRANSMITS, &[Field::Retransmits]),
        (present::PROBES_OUT, &[Field::ProbesOut]),
        (present::RTO, &[Field::Rto]),
        (present::SINCE_RECEIVE, &[Field::LastReceiveTime]),
        (present::SINCE_SEND, &[Field::LastSendTime]),
        (present::SND_UNA, &[Field::SndUna]),
        (present::SND_NXT, &[Field::SndNxt]),
        (present::SND_WND, &[Field::SndWnd]),
        (present::WRITE_SEQ, &[Field::WriteSeq]),
        (present::RCV_NXT, &[Field::RcvNxt]),
        (present::RCV_WUP, &[Field::RcvWup]),
        (present::COPIED_SEQ, &[Field::CopiedSeq]),
        (present::CLOCK_CACHE, &[Field::ClockCache]),
        (present::BYTES_ACKED, &[Field::BytesAcked]),
        (present::BYTES_RECEIVED, &[Field::BytesReceived]),
        (present::SRTT, &[Field::SrttUs]),
        (present::TOTAL_RETRANS, &[Field::TotalRetrans]),
        (present::LINGER2, &[Field::Linger2]),
        (present::IS_MPTCP, &[Field::IsMptcp]),
    ];
    let mut bits = present::SOCK_ADDR;
    for (bit, fields) in needs {
        if fields.iter().copied().all(has) {
            bits |= bit;
        }
    }
    if has(Field::Cookie) || features & feature::COOKIE_HELPER != 0 {
        bits |= present::COOKIE;
    }
    let pointer = if features & feature::CGROUP_TAGGED != 0 { Field::CgroupTagged } else { Field::Cgroup };
    if [pointer, Field::CgroupNode, Field::KernfsId].into_iter().all(has) {
        bits |= present::CGROUP;
    }
    // Without the lock's owner nobody knows whether the task has to do with the socket.
    if has(Field::LockOwned) {
        bits |= present::TASK;
        if features & feature::TASK_BTF != 0 {
            bits |= if has(Field::TaskStart) { present::TASK_START } else { 0 };
            bits |= if has(Field::TaskFlags) { present::TASK_FLAGS } else { 0 };
            bits |= if has(Field::TaskFlags) && has(Field::TaskExitCode) { present::TASK_EXIT } else { 0 };
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_claimed_of_a_kernel_without_fields() {
        let offsets = [OFFSET_ABSENT; OFFSET_SLOTS];
        assert_eq!(presence(&offsets, 0), present::SOCK_ADDR);
        let layout = Layout { offsets, features: 0, present: 0 };
        assert_eq!(layout.missing_essential(), ESSENTIAL);
        assert_eq!(layout.missing_optional().len(), Field::ALL.len() - ESSENTIAL.len());
    }

    #[test]
    fn task_details_need_the_newer_helper() {
        let bits = presence(&[0; OFFSET_SLOTS], 0);
        assert_eq!(bits & present::ALL_TASK, present::TASK);
        let bits = presence(&[0; OFFSET_SLOTS], feature::TASK_BTF);
        assert_eq!(bits & present::ALL_TASK, present::ALL_TASK);
    }

    #[test]
    fn the_running_kernel_has_what_is_essential_if_it_shows_its_types() {
        let Ok(btf) = Btf::from_kernel() else { return };
        let layout = Layout::resolve(&btf);
        assert_eq!(layout.missing_essential(), []);
        assert!(layout.has(Field::SndUna) && layout.present & present::TCP != 0);
        assert_eq!(classic_layout_matches(&btf), Some(true));
        assert!(layout.without_newer_helpers().features & feature::TASK_BTF == 0);
    }
}
