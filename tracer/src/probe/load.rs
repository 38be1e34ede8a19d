//! Loading and attaching. Nothing is pinned: everything goes away with the [`Probe`], at the latest with the process.

use std::{
    any::Any,
    collections::BTreeSet,
    fs::File,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use aya::{
    Btf as AyaBtf, Ebpf,
    maps::{MapData, MapError, PerCpuArray, RingBuf},
    programs::ProgramError,
};
use finwait_core::NetNs;
use finwait_core::{
    MonoNs,
    observation::{Hooks, Tier, TimeWaitSource},
};
use rustix::process::{Resource, Rlimit, setrlimit};
use tracer_common::{Field, KernelFilter, MAP_CPUS, MAP_EVENTS, MAP_HOOK_CPUS};

use super::{
    btf::Btf,
    call_sites::CallSites,
    capabilities::Capabilities,
    costs::ProgramCosts,
    counters::CpuBytes,
    decode::Decoder,
    error::ProbeError,
    hook_counters::HookBytes,
    hooks::{self, AttachedHooks, HookRefusal, TimeWaitChoice},
    host::{KernelVersion, jiffy_ns, kernel_release, monotonic_now},
    object::{self, Constants},
    offsets::{CLASSIC_PRESENT, Layout, classic_layout_matches},
    preflight,
    reset_reasons::ResetReasons,
    ring::RingReader,
};

/// Which tier to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TierChoice {
    /// tp_btf, or classic where that cannot be had
    #[default]
    Auto,
    /// tp_btf or nothing
    TpBtf,
    /// The classic tracepoint or nothing
    Classic,
}

/// What to attach.
#[derive(Clone, Copy, Debug)]
pub struct ProbeConfig {
    /// Size of the ring buffer in bytes; rounded up to a power of two of pages
    pub ring_bytes: u32,
    /// What the kernel may drop early. The classic tier knows no namespaces: there it ignores `netns`.
    pub filter: KernelFilter,
    /// Which tier to use
    pub tier: TierChoice,
    /// How time-wait sockets are to be seen
    pub time_wait: TimeWaitChoice,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            ring_bytes: 8 << 20,
            filter: KernelFilter::default(),
            tier: TierChoice::Auto,
            time_wait: TimeWaitChoice::Auto,
        }
    }
}

/// The attached programs. Dropping it detaches them.
pub struct Probe {
    tier: Tier,
    since: MonoNs,
    filtered: bool,
    netns: Option<BTreeSet<NetNs>>,
    fallback: Option<String>,
    present: u64,
    ring: Option<RingBuf<MapData>>,
    pub(super) cpus: PerCpuArray<MapData, CpuBytes>,
    /// The first program's entry in fdinfo where the kernel counts there what it skipped that one for. Opened while we may:
    /// after privileges are dropped some kernels would refuse.
    pub(super) first_info: Option<File>,
    pub(super) hook_cpus: PerCpuArray<MapData, HookBytes>,
    pub(super) attached_hooks: AttachedHooks,
    costs: Arc<ProgramCosts>,
    decoder: Decoder,
    #[cfg(feature = "kernel-log")]
    logger: Option<aya_log::EbpfLogger<&'static dyn log::Log>>,
    /// Dropped in this order: the last shadow first, prime last, or a shadow would take all that comes for missed.
    links: Vec<Link>,
    /// Owns the programs.
    object: Ebpf,
}

/// An attachment of any kind; dropping it detaches the program.
pub(super) type Link = Box<dyn Any + Send>;

impl Probe {
    /// Loads and attaches the programs.
    ///
    /// # Errors
    /// One sentence that says what is missing and what to do.
    pub fn attach(config: &ProbeConfig) -> Result<Self, ProbeError> {
        // Before attaching: what is numbered from 1 is numbered since then.
        let since = monotonic_now();
        let release = kernel_release();
        if KernelVersion::parse(&release).is_some_and(|version| version < KernelVersion(5, 8)) {
            return Err(ProbeError::KernelTooOld { release });
        }
        let missing = Capabilities::effective().map(Capabilities::missing_for_loading).unwrap_or_default();
        if !missing.is_empty() {
            return Err(ProbeError::MissingCapabilities { missing });
        }
        raise_memlock(&release);

        let refused = |tier, reason| ProbeError::TierRefused { tier, reason };
        let (attached, fallback) = match config.tier {
            TierChoice::TpBtf => (attach_tp_btf(config)?.map_err(|reason| refused("tp_btf", reason))?, None),
            TierChoice::Classic => {
                (attach_classic(config)?.map_err(|reason| refused("classic", reason))?, None)
            }
            TierChoice::Auto => match attach_tp_btf(config)? {
                Ok(attached) => (attached, None),
                Err(tp_btf) => match attach_classic(config)? {
                    Ok(attached) => (attached, Some(tp_btf)),
                    Err(classic) => return Err(ProbeError::NoTier { tp_btf, classic }),
                },
            },
        };
        attached.finish(since, &config.filter, fallback)
    }

    /// A moment before which nothing was attached.
    #[must_use]
    pub fn since(&self) -> MonoNs {
        self.since
    }

    /// The filter lets connections begin of which it drops what follows: see [`finwait_core::observation::Host`].
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// The network namespaces that the filter names; `None` is all.
    #[must_use]
    pub fn netns(&self) -> Option<BTreeSet<NetNs>> {
        self.netns.clone()
    }

    /// The tier in force.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Why it is not the better one.
    #[must_use]
    pub fn fallback_reason(&self) -> Option<&str> {
        self.fallback.as_deref()
    }

    /// Which hooks beyond the transitions are in force.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        self.attached_hooks.hooks
    }

    /// Which were tried in vain, and why.
    #[must_use]
    pub fn hook_refusals(&self) -> &[HookRefusal] {
        &self.attached_hooks.refusals
    }

    /// A decoder for this probe's records, which knows what their numbers mean on this host.
    #[must_use]
    pub fn decoder(&self) -> Decoder {
        self.decoder.clone()
    }

    /// Detaches the programs: no more transitions are seen. Ring and counters stay, and no longer change once runs under
    /// way have ended.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// [`tracer_common::present`] bits that records can carry here.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.present
    }

    /// The reader of the records; there is one.
    ///
    /// # Errors
    /// It was taken before, or cannot be mapped.
    pub fn take_ring(&mut self) -> Result<RingReader, ProbeError> {
        Ok(RingReader::new(self.ring.take().ok_or(ProbeError::RingTaken)?)?)
    }

    /// Names of the programs attached and how long they ran: (name, runs, nanoseconds). Numbers stay 0 unless statistics
    /// are on (`kernel.bpf_stats_enabled`, or [`aya::sys::enable_stats`]).
    #[must_use]
    pub fn run_times(&self) -> Vec<(&'static str, u64, u64)> {
        let names: &[&'static str] = match self.tier {
            Tier::TpBtf => object::tp_btf_programs(),
            Tier::Classic => &[object::CLASSIC],
            Tier::Capture => &[],
        };
        names
            .iter()
            .chain(&self.attached_hooks.names)
            .filter_map(|name| {
                let info = self.object.program(name)?.info().ok()?;
                Some((*name, info.run_count(), u64::try_from(info.run_time().as_nanos()).ok()?))
            })
            .collect()
    }

    /// What the kernel measures of the programs, where it does.
    #[must_use]
    pub fn costs(&self) -> Arc<ProgramCosts> {
        Arc::clone(&self.costs)
    }

    /// Hands the programs' diagnostics to the `log` crate.
    #[cfg(feature = "kernel-log")]
    pub fn flush_kernel_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }
}

/// A tier whose programs are attached.
struct Attached {
    tier: Tier,
    present: u64,
    links: Vec<Link>,
    object: Ebpf,
    hooks: AttachedHooks,
    decoder: Decoder,
}

/// The tier attached, or why it is not to be had.
type Tried = Result<Attached, String>;

impl Attached {
    fn finish(
        self,
        since: MonoNs,
        filter: &KernelFilter,
        fallback: Option<String>,
    ) -> Result<Probe, ProbeError> {
        let Self { tier, present, mut links, mut object, hooks, decoder } = self;
        let mut hooks = hooks;
        // Last: what the transitions' programs saw last was seen by the hooks too.
        links.append(&mut hooks.links);
        let ring = object.take_map(MAP_EVENTS).ok_or_else(|| absent(MAP_EVENTS))?;
        let cpus = object.take_map(MAP_CPUS).ok_or_else(|| absent(MAP_CPUS))?;
        let hook_cpus = object.take_map(MAP_HOOK_CPUS).ok_or_else(|| absent(MAP_HOOK_CPUS))?;
        let first_info = program_info(&mut object, tier);
        let costs = Arc::new(ProgramCosts::of(&object));
        Ok(Probe {
            tier,
            since,
            filtered: may_cut_short(filter),
            netns: netns_of(filter),
            fallback,
            present,
            ring: Some(
                RingBuf::try_from(ring).map_err(|source| ProbeError::Map { name: MAP_EVENTS, source })?,
            ),
            cpus: PerCpuArray::try_from(cpus).map_err(|source| ProbeError::Map { name: MAP_CPUS, source })?,
            first_info,
            hook_cpus: PerCpuArray::try_from(hook_cpus)
                .map_err(|source| ProbeError::Map { name: MAP_HOOK_CPUS, source })?,
            attached_hooks: hooks,
            costs,
            decoder,
            #[cfg(feature = "kernel-log")]
            logger: aya_log::EbpfLogger::init(&mut object).ok(),
            links,
            object,
        })
    }
}

/// The namespaces that a filter names; `None` is all.
fn netns_of(filter: &KernelFilter) -> Option<BTreeSet<NetNs>> {
    let named = filter.netns.iter().take(filter.netns_count as usize).map(|inode| NetNs(*inode));
    (filter.netns_count > 0).then(|| named.collect())
}

/// Ports and addresses are not settled yet when a connection begins, so the kernel has to let that pass.
fn may_cut_short(filter: &KernelFilter) -> bool {
    filter.family != 0 || filter.local_port_count != 0 || filter.remote_port_count != 0
}

fn absent(name: &'static str) -> ProbeError {
    let source = MapError::InvalidName { name: name.to_owned() };
    ProbeError::Map { name, source }
}

/// Before 6.7 trace_call_bpf() skips a program without counting it, and fdinfo says 0.
const CLASSIC_COUNTS_SKIPPED_RUNS: KernelVersion = KernelVersion(6, 7);

fn program_info(object: &mut Ebpf, tier: Tier) -> Option<File> {
    let program = match tier {
        Tier::TpBtf => object::tp_btf(object, object::PRIME).ok()?.fd().ok()?.as_fd().as_raw_fd(),
        Tier::Classic => {
            let counts = KernelVersion::parse(&kernel_release())? >= CLASSIC_COUNTS_SKIPPED_RUNS;
            object::classic(object).ok().filter(|_| counts)?.fd().ok()?.as_fd().as_raw_fd()
        }
        Tier::Capture => return None,
    };
    File::open(format!("/proc/self/fdinfo/{program}")).ok()
}

/// prime and its shadows, loaded, and what was found out for that.
pub(super) struct LoadedTpBtf {
    pub(super) object: Ebpf,
    pub(super) layout: Layout,
    pub(super) btf: Btf,
    /// The same as aya takes it
    pub(super) kernel: AyaBtf,
}

/// Loads prime and its shadows. Where the kernel refuses a helper that its BTF knows, they do without. `tw_handler` is the
/// address that the timer programs look for, 0 if they are not to be attached.
pub(super) fn loaded_tp_btf(
    filter: KernelFilter,
    ring_bytes: u32,
    tw_handler: u64,
) -> Result<LoadedTpBtf, String> {
    let btf = Btf::from_kernel().map_err(|error| format!("{error} (needs CONFIG_DEBUG_INFO_BTF)"))?;
    if !btf.has_typedef("btf_trace_inet_sock_set_state") {
        return Err("the kernel has no tracepoint inet_sock_set_state".to_owned());
    }
    let layout = Layout::resolve(&btf);
    let missing: Vec<_> = layout.missing_essential().into_iter().map(Field::path).collect();
    if !missing.is_empty() {
        return Err(format!("the kernel's types lack {}", missing.join(", ")));
    }
    let kernel = AyaBtf::from_sys_fs().map_err(|error| error.to_string())?;
    let load = |layout: &Layout| {
        let constants = Constants::tp_btf(layout, filter).with_tw_handler(tw_handler);
        let mut object = open(&constants, ring_bytes)?;
        object::load_tp_btf(&mut object, &kernel).map_err(|error| object::say(&error))?;
        Ok::<_, String>(object)
    };
    let (object, layout) = match load(&layout) {
        Ok(object) => (object, layout),
        Err(reason) => {
            let plain = layout.without_newer_helpers();
            if plain == layout {
                return Err(reason);
            }
            (load(&plain).map_err(|_| reason)?, plain)
        }
    };
    Ok(LoadedTpBtf { object, layout, btf, kernel })
}

/// Loads the classic program, if its record is laid out as expected.
pub(super) fn loaded_classic(filter: KernelFilter, ring_bytes: u32) -> Result<Ebpf, String> {
    let matches = match Btf::from_kernel().ok().as_ref().and_then(classic_layout_matches) {
        Some(known) => known,
        None => preflight::classic_format_matches()?,
    };
    if !matches {
        return Err("the tracepoint's record is laid out differently from Linux 5.6 and later".to_owned());
    }
    let mut object = open(&Constants::classic(filter), ring_bytes)?;
    object::load_classic(&mut object).map_err(|error| object::say(&error))?;
    Ok(object)
}

fn open(constants: &Constants, ring_bytes: u32) -> Result<Ebpf, String> {
    object::open(constants, ring_bytes).map_err(|error| object::chain(&error))
}

/// # Errors
/// Hooks asked for by name cannot be had.
fn attach_tp_btf(config: &ProbeConfig) -> Result<Tried, ProbeError> {
    let refused = |reason| time_wait_refused(config.time_wait, reason);
    let mut sites = None;
    let mut handler = 0;
    if config.time_wait == TimeWaitChoice::Timer {
        let found = CallSites::read().map_err(|error| refused(error.to_string()))?;
        handler = found.handler().ok_or_else(|| refused("the kernel has no tw_timer_handler".to_owned()))?;
        sites = Some(found);
    }
    let mut loaded = match loaded_tp_btf(config.filter, config.ring_bytes, handler) {
        Ok(loaded) => loaded,
        Err(reason) => return Ok(Err(reason)),
    };
    let hooks = hooks::load(&mut loaded, config.time_wait).map_err(refused)?;
    let LoadedTpBtf { mut object, layout, btf, .. } = loaded;
    // First: whatever transition is seen, the hooks were in force.
    let hooks = hooks.attach(&mut object).map_err(refused)?;
    if hooks.hooks.time_wait == TimeWaitSource::Fentry {
        // Where addresses are hidden the place from which a time-wait socket is ended stays unknown.
        sites = CallSites::read().ok();
    }
    let links = match attach_spine(&mut object) {
        Ok(links) => links,
        Err(reason) => return Ok(Err(reason)),
    };
    let decoder = Decoder::new(jiffy_ns()).with_reasons(ResetReasons::of(&btf)).with_sites(sites);
    Ok(Ok(Attached { tier: Tier::TpBtf, present: layout.present, links, object, hooks, decoder }))
}

/// Attaches prime and its shadows; in the order in which they are to be detached.
fn attach_spine(object: &mut Ebpf) -> Result<Vec<Link>, String> {
    // The kernel calls them in the order of attachment, and a shadow looks for what those before it left.
    let mut links: Vec<Link> = Vec::new();
    for name in object::tp_btf_programs() {
        let link = object::tp_btf(object, name)
            .and_then(|program| program.attach().and_then(|id| program.take_link(id)))
            .map_err(|error| format!("attaching {name} was refused: {}", object::say(&error)))?;
        links.push(Box::new(link));
    }
    links.reverse();
    Ok(links)
}

/// # Errors
/// As above.
fn attach_classic(config: &ProbeConfig) -> Result<Tried, ProbeError> {
    let hooks = hooks::without_programs(config.time_wait)
        .map_err(|reason| time_wait_refused(config.time_wait, reason))?;
    let attach = || {
        let mut object = loaded_classic(config.filter, config.ring_bytes)?;
        let link = object::classic(&mut object)
            .and_then(|program| {
                let id = program.attach(object::CATEGORY, object::TRACEPOINT)?;
                program.take_link(id)
            })
            .map_err(|error| attach_advice(&error))?;
        Ok((object, link))
    };
    Ok(attach().map(|(object, link)| Attached {
        tier: Tier::Classic,
        present: CLASSIC_PRESENT,
        links: vec![Box::new(link)],
        object,
        hooks,
        decoder: Decoder::new(jiffy_ns()),
    }))
}

fn time_wait_refused(choice: TimeWaitChoice, reason: String) -> ProbeError {
    let choice = if choice == TimeWaitChoice::Timer { "timer" } else { "fentry" };
    ProbeError::TimeWaitRefused { choice, reason }
}

fn attach_advice(error: &ProgramError) -> String {
    match preflight::tracefs() {
        Ok(_) => format!("attaching was refused: {}", object::say(error)),
        Err(advice) => advice.to_string(),
    }
}

/// Before 5.11 BPF memory counts against RLIMIT_MEMLOCK, which is small. Later kernels charge the cgroup instead.
fn raise_memlock(release: &str) {
    if KernelVersion::parse(release).is_some_and(|version| version < KernelVersion(5, 11)) {
        // If this is refused, creating the ring buffer fails with an error of its own.
        let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None });
    }
}
