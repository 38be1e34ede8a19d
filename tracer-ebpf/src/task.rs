//! The current task. It means something only where it holds the socket's lock: in softirq it is a bystander.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use tracer_common::{Field, TASK_FLAG_EXITING, TASK_FLAG_KTHREAD, feature};

use crate::{consts, object::Object};

const PF_EXITING: u32 = 0x4;
const PF_KTHREAD: u32 = 0x0020_0000;
/// As in wait(2): the signal in the low 7 bits.
const EXIT_SIGNAL: u8 = 0x7f;

/// What a record says of the task.
pub(crate) struct Task {
    pub(crate) tgid: u32,
    pub(crate) pid: u32,
    pub(crate) comm: [u64; 2],
    pub(crate) start_boot_ns: u64,
    pub(crate) flags: u8,
    /// Low 7 bits of exit_code, where it is on its way out.
    pub(crate) exit_signal: u8,
}

impl Task {
    #[inline(always)]
    pub(crate) fn current() -> Self {
        if consts::feature(feature::TASK_BTF) {
            // SAFETY: the helper returns the current task, BTF-typed. One call is cheaper than the two helpers below.
            let task = unsafe { Object::new(generated::bpf_get_current_task_btf() as *const u8) };
            let flags: u32 = task.read(Field::TaskFlags);
            return Self {
                tgid: task.read(Field::TaskTgid),
                pid: task.read(Field::TaskPid),
                comm: task.read_words(Field::TaskComm),
                start_boot_ns: task.read(Field::TaskStart),
                flags: (if flags & PF_KTHREAD != 0 { TASK_FLAG_KTHREAD } else { 0 })
                    | (if flags & PF_EXITING != 0 { TASK_FLAG_EXITING } else { 0 }),
                // Set before the descriptors are closed (do_exit, kernel/exit.c).
                exit_signal: if flags & PF_EXITING != 0 {
                    task.read::<u32>(Field::TaskExitCode) as u8 & EXIT_SIGNAL
                } else {
                    0
                },
            };
        }
        let id = bpf_get_current_pid_tgid();
        let mut comm = MaybeUninit::<[u64; 2]>::uninit();
        // SAFETY: a buffer of the size given, and the helper writes all of it: zeros if it fails.
        let comm = unsafe {
            generated::bpf_get_current_comm(comm.as_mut_ptr().cast(), 16);
            comm.assume_init()
        };
        Self { tgid: (id >> 32) as u32, pid: id as u32, comm, start_boot_ns: 0, flags: 0, exit_signal: 0 }
    }
}
