//! What this host offers, found out without changing anything: programs are loaded to try, never attached, and gone
//! at once.

use std::{fs, io, path::PathBuf};

use aya::{maps::MapType, programs::ProgramType};
use finwait_core::observation::Tier;
use tracer_common::{Field, KernelFilter, classic, feature};

use super::{
    btf::Btf,
    capabilities::Capabilities,
    error::ProbeError,
    host::{self, KernelVersion},
    load::{loaded_classic, loaded_tp_btf},
    offsets::Layout,
};

const TRACEFS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const FORMAT: &str = "events/sock/inet_sock_set_state/format";
const MOUNT: &str = "mount -t tracefs tracefs /sys/kernel/tracing";
/// Ring for programs that are only tried.
const TRIAL_RING: u32 = 4096;

/// Outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There
    Ok,
    /// Not there, or not as it should be
    No,
    /// Could not be found out
    Unknown,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, a word or two
    pub name: &'static str,
    /// Outcome
    pub verdict: Verdict,
    /// What was found
    pub detail: String,
    /// What to do about it, where something can be done
    pub remedy: Option<String>,
}

/// The whole picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// uname -r
    pub release: String,
    /// The tier that [`super::Probe::attach`] would take; `None` if it would fail
    pub tier: Option<Tier>,
    /// Why that one
    pub reason: String,
    /// Receive packet steering is on for some interface of this network namespace; `None` where that cannot be read
    pub rps: Option<bool>,
    /// Length of a jiffy, ns
    pub jiffy_ns: u64,
    /// Kernel fields, as BTF paths, that this kernel lacks: what they carry is absent from records
    pub missing_fields: Vec<&'static str>,
    /// Everything looked at, in order of weight
    pub checks: Vec<Check>,
}

impl HostReport {
    /// Looks at everything.
    #[must_use]
    pub fn gather() -> Self {
        let release = host::kernel_release();
        let btf = Btf::from_kernel();
        let mut tp_btf = loaded_tp_btf(KernelFilter::default(), TRIAL_RING, 0);
        let classic = loaded_classic(KernelFilter::default(), TRIAL_RING);
        let tracefs = tracefs();
        let rps = host::rps();

        let mut checks = vec![kernel(&release), btf_check(&btf), capabilities(), user_namespace()];
        checks.push(match &tp_btf {
            Ok(_) => ok("tp_btf", "prime and its shadows load".to_owned()),
            Err(reason) => {
                no("tp_btf", reason.clone(), "without it there is no cookie, process or socket detail")
            }
        });
        checks.extend(super::hook_checks::checks(tp_btf.as_mut().map_err(|reason| reason.as_str())));
        checks.push(match &classic {
            Ok(_) => ok("classic tracepoint", "the program loads".to_owned()),
            Err(reason) => {
                no("classic tracepoint", reason.clone(), "needed only where tp_btf is not to be had")
            }
        });
        checks.push(match &tracefs {
            Ok(path) => ok("tracefs", format!("{} is readable", path.display())),
            Err(TracefsError::NotMounted) => no("tracefs", "not mounted".to_owned(), MOUNT),
            Err(error) => no("tracefs", error.to_string(), "only the classic tracepoint needs it"),
        });
        checks.extend([ring_buffer(), fentry(), lockdown(), unprivileged(), jit(), rps_check(rps)]);
        let layout = match &tp_btf {
            Ok(loaded) => Some(loaded.layout.clone()),
            Err(_) => btf.as_ref().ok().map(Layout::resolve),
        };
        let missing_fields = layout
            .as_ref()
            .map(|layout| layout.missing_optional().into_iter().map(Field::path).collect())
            .unwrap_or_default();
        checks.extend(layout.iter().flat_map(helpers));

        let classic = classic.and_then(|_| tracefs.map(drop).map_err(|error| error.to_string()));
        let missing = Capabilities::effective().map(Capabilities::missing_for_loading).unwrap_or_default();
        let (tier, reason) = match (tp_btf, classic) {
            (Ok(_), _) => (Some(Tier::TpBtf), "the BTF-typed programs load".to_owned()),
            (Err(reason), Ok(())) => (Some(Tier::Classic), reason),
            (Err(_), Err(_)) if !missing.is_empty() => {
                (None, ProbeError::MissingCapabilities { missing }.to_string())
            }
            (Err(tp_btf), Err(classic)) => (None, ProbeError::NoTier { tp_btf, classic }.to_string()),
        };
        Self { release, tier, reason, rps, jiffy_ns: host::jiffy_ns(), missing_fields, checks }
    }
}

pub(super) fn ok(name: &'static str, detail: String) -> Check {
    Check { name, verdict: Verdict::Ok, detail, remedy: None }
}

pub(super) fn no(name: &'static str, detail: String, remedy: &str) -> Check {
    Check { name, verdict: Verdict::No, detail, remedy: Some(remedy.to_owned()) }
}

fn unknown(name: &'static str, detail: String) -> Check {
    Check { name, verdict: Verdict::Unknown, detail, remedy: None }
}

fn kernel(release: &str) -> Check {
    match KernelVersion::parse(release) {
        Some(version) if version < KernelVersion(5, 8) => {
            no("kernel", release.to_owned(), "Linux 5.8 or later is needed")
        }
        Some(_) => ok("kernel", release.to_owned()),
        None => unknown("kernel", release.to_owned()),
    }
}

fn btf_check(btf: &Result<Btf, super::btf::BtfError>) -> Check {
    match btf {
        Ok(_) => ok("BTF", super::btf::VMLINUX.to_owned()),
        Err(error) => no("BTF", error.to_string(), "needs a kernel built with CONFIG_DEBUG_INFO_BTF"),
    }
}

fn capabilities() -> Check {
    match Capabilities::effective() {
        Some(own) => {
            let held = own.names().join(" ");
            let detail = if held.is_empty() { "none of interest".to_owned() } else { held };
            match own.missing_for_loading() {
                missing if missing.is_empty() => ok("capabilities", detail),
                missing => no(
                    "capabilities",
                    format!("{detail}; missing {}", missing.join(" and ")),
                    "run as root, or setcap cap_bpf,cap_perfmon=ep on the binary",
                ),
            }
        }
        None => unknown("capabilities", "/proc/self/status cannot be read".to_owned()),
    }
}

/// Capabilities count for BPF only in the first user namespace.
fn user_namespace() -> Check {
    match fs::read_to_string("/proc/self/uid_map") {
        Ok(map) if map.split_whitespace().eq(["0", "0", "4294967295"]) => {
            ok("user namespace", "the initial one".to_owned())
        }
        Ok(_) => no(
            "user namespace",
            "not the initial one".to_owned(),
            "run outside of the container's user namespace",
        ),
        Err(error) => unknown("user namespace", error.to_string()),
    }
}

fn ring_buffer() -> Check {
    match aya::sys::is_map_supported(MapType::RingBuf) {
        Ok(true) => ok("ring buffer", "there".to_owned()),
        Ok(false) => no("ring buffer", "not there".to_owned(), "Linux 5.8 or later is needed"),
        Err(error) => unknown("ring buffer", error.to_string()),
    }
}

fn fentry() -> Check {
    match aya::sys::is_program_supported(ProgramType::Tracing) {
        Ok(true) => ok("fentry", "a trial program attaches".to_owned()),
        Ok(false) => no("fentry", "this kernel has none".to_owned(), "optional hooks only"),
        // With all that loading asks for, a refusal is the kernel's or a security module's answer.
        Err(error) if Capabilities::effective().is_some_and(|own| own.missing_for_loading().is_empty()) => {
            no("fentry", super::object::say(&error), "optional hooks only")
        }
        Err(error) => unknown("fentry", super::object::say(&error)),
    }
}

fn helpers(layout: &Layout) -> [Check; 2] {
    let check = |bit, name, without: &str| {
        if layout.features & bit != 0 {
            ok(name, "there".to_owned())
        } else {
            no(name, "not there".to_owned(), without)
        }
    };
    [
        check(
            feature::COOKIE_HELPER,
            "socket cookie helper",
            "sockets without a cookie are told apart by address",
        ),
        check(feature::TASK_BTF, "current task helper", "a task's start and flags are absent"),
    ]
}

fn lockdown() -> Check {
    match fs::read_to_string("/sys/kernel/security/lockdown") {
        // Written as "none [integrity] confidentiality".
        Ok(modes) => {
            let mode = modes
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'))
                .map_or("none", |(mode, _)| mode);
            let detail = mode.to_owned();
            if mode == "confidentiality" {
                no("lockdown", detail, "tp_btf works, the classic tracepoint does not: tracefs is closed")
            } else {
                ok("lockdown", detail)
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => ok("lockdown", "not visible".to_owned()),
        Err(error) => unknown("lockdown", error.to_string()),
    }
}

fn unprivileged() -> Check {
    const NAME: &str = "unprivileged_bpf_disabled";
    match fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled") {
        Ok(value) => ok(NAME, value.trim().to_owned()),
        Err(error) => unknown(NAME, error.to_string()),
    }
}

fn jit() -> Check {
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable") {
        Ok(value) if value.trim() == "0" => no(
            "JIT",
            "off".to_owned(),
            "sysctl net.core.bpf_jit_enable=1: interpreted programs cost several times as much",
        ),
        Ok(_) => ok("JIT", "on".to_owned()),
        // Readable by root only, and only there in the first network namespace.
        Err(error) => unknown("JIT", error.to_string()),
    }
}

fn rps_check(rps: Option<bool>) -> Check {
    match rps {
        Some(true) => no(
            "receive packet steering",
            "on".to_owned(),
            "softirqs nest more often: some kernels then lose events unseen; records mark what does not fit together",
        ),
        Some(false) => ok("receive packet steering", "off".to_owned()),
        None => unknown("receive packet steering", "/sys/class/net cannot be read".to_owned()),
    }
}

/// Why the tracepoint's files cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TracefsError {
    #[error("tracefs is not mounted: {MOUNT}")]
    NotMounted,
    #[error("{} cannot be read: needs root or CAP_DAC_READ_SEARCH", .0.display())]
    Denied(PathBuf),
}

/// The directory under which the tracepoint's format can be read.
pub(super) fn tracefs() -> Result<PathBuf, TracefsError> {
    let mut refused = None;
    for root in TRACEFS.map(PathBuf::from) {
        match fs::read(root.join(FORMAT)) {
            Ok(_) => return Ok(root),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => refused = refused.or(Some(root)),
            Err(_) => {}
        }
    }
    Err(refused.map_or(TracefsError::NotMounted, TracefsError::Denied))
}

/// Whether tracefs confirms the layout that the classic program was compiled for.
pub(super) fn classic_format_matches() -> Result<bool, String> {
    let path = tracefs().map_err(|error| error.to_string())?.join(FORMAT);
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(format_matches(&text))
}

/// Reads lines like `field:__u8 saddr[4]; offset:32; size:4; signed:0;`.
fn format_matches(text: &str) -> bool {
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let mut parts = line.trim().strip_prefix("field:")?.split(';').map(str::trim);
            let declared = parts.next()?.rsplit([' ', '*']).next()?;
            (declared.split('[').next() == Some(name)).then_some(())?;
            let offset: u16 = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
            let size: u16 = parts.next()?.strip_prefix("size:")?.parse().ok()?;
            Some((offset, size))
        })
    };
    (0..classic::MEMBERS.len())
        .all(|slot| field(classic::MEMBERS[slot]) == Some((classic::OFFSETS[slot], classic::SIZES[slot])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "name: inet_sock_set_state\nformat:\n\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n
\tfield:const void * skaddr;\toffset:8;\tsize:8;\tsigned:0;\n\tfield:int oldstate;\toffset:16;\tsize:4;\tsigned:1;
\tfield:int newstate;\toffset:20;\tsize:4;\tsigned:1;\n\tfield:__u16 sport;\toffset:24;\tsize:2;\tsigned:0;
\tfield:__u16 dport;\toffset:26;\tsize:2;\tsigned:0;\n\tfield:__u16 family;\toffset:28;\tsize:2;\tsigned:0;
\tfield:__u16 protocol;\toffset:30;\tsize:2;\tsigned:0;\n\tfield:__u8 saddr[4];\toffset:32;\tsize:4;\tsigned:0;
\tfield:__u8 daddr[4];\toffset:36;\tsize:4;\tsigned:0;\n\tfield:__u8 saddr_v6[16];\toffset:40;\tsize:16;\tsigned:0;
\tfield:__u8 daddr_v6[16];\toffset:56;\tsize:16;\tsigned:0;\n";

    #[test]
    fn the_layout_of_5_6_and_later_is_recognised_and_no_other() {
        assert!(format_matches(LINES));
        let older =
            LINES.replace("__u16 protocol;\toffset:30;\tsize:2", "__u8 protocol;\toffset:30;\tsize:1");
        assert!(!format_matches(&older));
        assert!(!format_matches(""));
        assert!(!format_matches("field:;offset:;size:"));
    }

    #[test]
    fn gathering_works_without_any_privilege() {
        let report = HostReport::gather();
        assert!(!report.release.is_empty() && !report.reason.is_empty());
        assert!(report.checks.iter().any(|check| check.name == "BTF"));
    }
}
