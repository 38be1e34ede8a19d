//! The embedded object: setting its constants, loading its programs without attaching them.

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, Pod,
    programs::{BtfTracePoint, ProgramError, TracePoint},
};
use tracer_common::{
    CONST_FEATURES, CONST_FILTER, CONST_OFFSETS, CONST_PRESENT, CONST_TW_HANDLER, KernelFilter, MAP_EVENTS,
    feature,
};

use super::host::{KernelVersion, kernel_release};
use super::offsets::{CLASSIC_PRESENT, Layout};

#[cfg(not(feature = "kernel-log"))]
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/finwait.bpf.o"));
#[cfg(feature = "kernel-log")]
static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/ebpf/finwait-kernel-log.bpf.o"));

/// Names of the programs in the object.
pub(super) const PRIME: &str = "prime";
pub(super) const SHADOW: &str = "shadow";
const SHADOW2: &str = "shadow2";
const SHADOW3: &str = "shadow3";
pub(super) const CLASSIC: &str = "classic";
pub(super) const CATEGORY: &str = "sock";
pub(super) const TRACEPOINT: &str = "inet_sock_set_state";

/// prime and its shadows.
const TP_BTF: [&str; 4] = [PRIME, SHADOW, SHADOW2, SHADOW3];

/// Since when a trace point's programs run with preemption on (include/linux/tracepoint.h, `__DECLARE_TRACE`: SRCU instead of
/// preempt_disable): prime and shadow may then both be held by tasks that do not run.
const PREEMPTED_SINCE: KernelVersion = KernelVersion(7, 0);

/// The programs of the tp_btf tier for this kernel, in the order of attachment.
pub(super) fn tp_btf_programs() -> &'static [&'static str] {
    if has_more_shadows(&kernel_release()) { &TP_BTF } else { &TP_BTF[..2] }
}

fn has_more_shadows(release: &str) -> bool {
    KernelVersion::parse(release).is_some_and(|version| version >= PREEMPTED_SINCE)
}

/// A filter as aya takes constants.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct FilterBytes(KernelFilter);

// SAFETY: numbers only, and no padding: four u32, 2 × 16 u16, 8 u32.
unsafe impl Pod for FilterBytes {}
const _: () = assert!(size_of::<KernelFilter>() == 4 * 4 + 2 * 16 * 2 + 8 * 4);

/// What the constants are set to.
pub(super) struct Constants {
    layout: Layout,
    filter: FilterBytes,
    tw_handler: u64,
}

impl Constants {
    pub(super) fn tp_btf(layout: &Layout, filter: KernelFilter) -> Self {
        let mut layout = layout.clone();
        if has_more_shadows(&kernel_release()) {
            layout.features |= feature::MORE_SHADOWS;
        }
        Self::new(layout, filter)
    }

    pub(super) fn classic(filter: KernelFilter) -> Self {
        let offsets = [tracer_common::OFFSET_ABSENT; tracer_common::OFFSET_SLOTS];
        Self::new(Layout { offsets, features: 0, present: CLASSIC_PRESENT }, filter)
    }

    fn new(mut layout: Layout, filter: KernelFilter) -> Self {
        if filter != KernelFilter::default() {
            layout.features |= feature::FILTER;
        }
        Self { layout, filter: FilterBytes(filter), tw_handler: 0 }
    }

    /// Address of tw_timer_handler, which the timer programs look for; without it they find no timer.
    pub(super) fn with_tw_handler(self, tw_handler: u64) -> Self {
        Self { tw_handler, ..self }
    }
}

/// Creates the maps and sets the constants; loads no program yet.
pub(super) fn open(constants: &Constants, ring_bytes: u32) -> Result<Ebpf, EbpfError> {
    EbpfLoader::new()
        .override_global(CONST_OFFSETS, &constants.layout.offsets, true)
        .override_global(CONST_FEATURES, &constants.layout.features, true)
        .override_global(CONST_PRESENT, &constants.layout.present, true)
        .override_global(CONST_FILTER, &constants.filter, true)
        .override_global(CONST_TW_HANDLER, &constants.tw_handler, true)
        .map_max_entries(MAP_EVENTS, ring_bytes)
        .load(OBJECT)
}

pub(super) fn load_tp_btf(object: &mut Ebpf, kernel: &Btf) -> Result<(), ProgramError> {
    for name in tp_btf_programs() {
        tp_btf(object, name)?.load(TRACEPOINT, kernel)?;
    }
    Ok(())
}

pub(super) fn load_classic(object: &mut Ebpf) -> Result<(), ProgramError> {
    classic(object)?.load()
}

pub(super) fn tp_btf<'a>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut BtfTracePoint, ProgramError> {
    object.program_mut(name).ok_or_else(|| missing(name))?.try_into()
}

pub(super) fn classic(object: &mut Ebpf) -> Result<&mut TracePoint, ProgramError> {
    object.program_mut(CLASSIC).ok_or_else(|| missing(CLASSIC))?.try_into()
}

pub(super) fn missing(name: &str) -> ProgramError {
    ProgramError::InvalidName { name: name.to_owned() }
}

/// One sentence: of a verifier's log only the line that says why.
pub(super) fn say(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            match log.lines().rev().find(|line| !line.trim().is_empty() && !is_statistics(line)) {
                Some(line) => format!("loading was refused: {io_error}: {}", line.trim()),
                None => format!("loading was refused: {io_error}"),
            }
        }
        other => chain(other),
    }
}

/// What the verifier's log ends with, whatever it found.
fn is_statistics(line: &str) -> bool {
    ["processed ", "stack depth ", "verification time "].iter().any(|start| line.starts_with(start))
}

/// An error with its causes. aya's own often repeat their cause; it is said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_shadows_are_for_kernels_that_preempt_tasks_inside_programs() {
        for release in ["7.0.4-cloud-amd64", "7.3.4+deb13-cloud-amd64", "8.0"] {
            assert!(has_more_shadows(release), "{release}");
        }
        for release in ["5.10.0-46-cloud-amd64", "6.1.0", "6.19.14+deb14-amd64"] {
            assert!(!has_more_shadows(release), "{release}");
        }
    }
}
