//! What a cgroup's path gives away: container, pod, systemd unit. Text alone; nothing is looked up.
//!
//! Runtimes name their cgroups after the container's id, 64 hexadecimal digits. A process of the runtime itself (conmon) has a
//! cgroup with the id as well, and is no container.

use std::fmt;

/// Digits of a container's id.
const ID_DIGITS: usize = 64;

/// Who runs a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker
    Docker,
    /// containerd
    Containerd,
    /// CRI-O
    Crio,
    /// Podman
    Podman,
}

impl Runtime {
    /// Its name in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// 64 hexadecimal digits
    pub id: String,
    /// Who runs it; under `kubepods` a bare id does not tell
    pub runtime: Option<Runtime>,
}

/// A cgroup's path and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CgroupName {
    /// From the root of the cgroup2 mount, such as `/system.slice/nginx.service`
    pub path: String,
    /// The innermost container
    pub container: Option<Container>,
    /// The pod's uid, where the kubelet made the cgroup
    pub pod_uid: Option<String>,
    /// The innermost systemd service, scope or mount that is not the container's own scope, its escapes undone
    pub unit: Option<String>,
}

impl CgroupName {
    /// What `path` says.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let container = (0..parts.len()).rev().find_map(|at| Some((at, container_at(&parts, at)?)));
        let own_scope = container.as_ref().map(|(at, _)| *at);
        let unit = parts.iter().enumerate().rev().find(|(at, part)| Some(*at) != own_scope && is_unit(part));
        Self {
            path: path.to_owned(),
            container: container.map(|(_, container)| container),
            pod_uid: parts.iter().rev().find_map(|part| pod_uid(part)),
            unit: unit.map(|(_, part)| unescape(part)),
        }
    }

    /// The shortest thing to call it: unit, else the container's first twelve digits, else the path.
    #[must_use]
    pub fn short(&self) -> String {
        match (&self.container, &self.unit) {
            (Some(container), _) => {
                let runtime = container.runtime.map_or("container", Runtime::name);
                format!("{runtime}:{}", container.id.get(..12).unwrap_or(&container.id))
            }
            (None, Some(unit)) => unit.clone(),
            (None, None) => self.path.clone(),
        }
    }
}

fn container_at(parts: &[&str], at: usize) -> Option<Container> {
    let part = *parts.get(at)?;
    let found = |id: &str, runtime| Some(Container { id: id.to_owned(), runtime });
    // containerd under systemd that was configured for the other cgroup driver: `….slice:cri-containerd:<id>`.
    if let Some((_, id)) = part.rsplit_once(":cri-containerd:") {
        return is_id(id).then(|| found(id, Some(Runtime::Containerd))).flatten();
    }
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in [
        ("docker-", Runtime::Docker),
        ("cri-containerd-", Runtime::Containerd),
        ("crio-", Runtime::Crio),
        ("libpod-", Runtime::Podman),
    ] {
        if let Some(id) = name.strip_prefix(prefix) {
            return is_id(id).then(|| found(id, Some(runtime))).flatten();
        }
    }
    if !is_id(part) {
        return None;
    }
    let parent = at.checked_sub(1).and_then(|at| parts.get(at)).copied();
    found(part, bare_runtime(parent))
}

/// The runtime of a cgroup that is called as its container, from the cgroup that it lies in.
fn bare_runtime(parent: Option<&str>) -> Option<Runtime> {
    match parent? {
        "docker" => Some(Runtime::Docker),
        pod if pod_uid(pod).is_some() || pod.starts_with("kubepods") => None,
        systemd if systemd.ends_with(".slice") || is_unit(systemd) => None,
        // containerd's own layout: /<namespace>/<id>
        _ => Some(Runtime::Containerd),
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// `kubepods-burstable-pod<uid>.slice` with underscores (systemd driver), `pod<uid>` (cgroupfs driver). A static pod's uid has no
/// dashes.
fn pod_uid(part: &str) -> Option<String> {
    let part = part.split(':').next()?;
    let uid = match part.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods-") => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        Some(_) => return None,
        None => part.strip_prefix("pod")?.to_owned(),
    };
    let is_uid = match uid.len() {
        36 => uid.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        }),
        32 => uid.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => false,
    };
    is_uid.then_some(uid)
}

fn is_unit(part: &str) -> bool {
    [".service", ".scope", ".mount"].iter().any(|kind| part.len() > kind.len() && part.ends_with(kind))
}

/// Undoes systemd's `\x2d`, for what can be printed.
fn unescape(unit: &str) -> String {
    let mut text = String::with_capacity(unit.len());
    let mut rest = unit;
    while let Some((before, after)) = rest.split_once("\\x") {
        text.push_str(before);
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|byte| byte.is_ascii_graphic() || *byte == b' ') {
            Some(byte) => {
                text.push(char::from(byte));
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                text.push_str("\\x");
                rest = after;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f2a9c0e5b7d41f8a6c3e1d9b8f70a4c2e6d5b3a1f0e9d8c7b6a59483726150f";
    const OTHER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    const UID: &str = "8a1f2b3c-0d4e-4f5a-9b6c-7d8e9f0a1b2c";
    const UID_SLICE: &str = "8a1f2b3c_0d4e_4f5a_9b6c_7d8e9f0a1b2c";

    /// Path with ID, OTHER, UID and `UID_SLICE` put in; runtime (`-` where not known); container's id; pod; unit.
    fn check(path: &str, container: Option<(&str, Option<Runtime>)>, pod: Option<&str>, unit: Option<&str>) {
        let fill = |text: &str| {
            text.replace("{ID}", ID)
                .replace("{OTHER}", OTHER)
                .replace("{UID}", UID)
                .replace("{UID_}", UID_SLICE)
        };
        let name = CgroupName::of(&fill(path));
        let expected = container.map(|(id, runtime)| Container { id: id.to_owned(), runtime });
        assert_eq!(name.container, expected, "{path}");
        assert_eq!(name.pod_uid.as_deref(), pod, "{path}");
        assert_eq!(name.unit.as_deref(), unit, "{path}");
    }

    #[test]
    fn docker_by_systemd_and_by_cgroupfs() {
        let docker = Some((ID, Some(Runtime::Docker)));
        check("/system.slice/docker-{ID}.scope", docker, None, None);
        check("/docker/{ID}", docker, None, None);
        check("/docker/{ID}/sub/group", docker, None, None);
        check("/system.slice/docker-{ID}.scope/init.scope", docker, None, Some("init.scope"));
        check(
            "/system.slice/docker-{ID}.scope/system.slice/nginx.service",
            docker,
            None,
            Some("nginx.service"),
        );
        // Rootless, under the user's manager.
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
            docker,
            None,
            Some("user@1000.service"),
        );
        check("/system.slice/docker.service", None, None, Some("docker.service"));
        check("/system.slice/docker-registry.service", None, None, Some("docker-registry.service"));
    }

    #[test]
    fn pods_by_systemd_and_by_cgroupfs() {
        let containerd = Some((ID, Some(Runtime::Containerd)));
        check(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
            containerd,
            Some(UID),
            None,
        );
        check(
            "/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
            containerd,
            Some(UID),
            None,
        );
        check("/kubepods/besteffort/pod{UID}/{ID}", Some((ID, None)), Some(UID), None);
        check("/kubepods/pod{UID}/{ID}", Some((ID, None)), Some(UID), None);
        check(
            "/system.slice/containerd.service/kubepods-besteffort-pod{UID_}.slice:cri-containerd:{ID}",
            containerd,
            Some(UID),
            Some("containerd.service"),
        );
        // A static pod's uid is a hash.
        check(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0123456789abcdef0123456789abcdef.slice/crio-{ID}.scope",
            Some((ID, Some(Runtime::Crio))),
            Some("0123456789abcdef0123456789abcdef"),
            None,
        );
        // The pod's own cgroup is no container.
        check("/kubepods.slice/kubepods-pod{UID_}.slice", None, Some(UID), None);
    }

    #[test]
    fn containerd_without_kubernetes() {
        check("/k8s.io/{ID}", Some((ID, Some(Runtime::Containerd))), None, None);
        check("/default/{ID}", Some((ID, Some(Runtime::Containerd))), None, None);
        check("/system.slice/nerdctl-{ID}.scope", None, None, Some(&format!("nerdctl-{ID}.scope")));
    }

    #[test]
    fn cri_o_and_podman_and_their_conmon() {
        let crio = Some((ID, Some(Runtime::Crio)));
        let podman = Some((ID, Some(Runtime::Podman)));
        check("/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container", crio, Some(UID), None);
        check("/kubepods/besteffort/pod{UID}/crio-{ID}", crio, Some(UID), None);
        check("/machine.slice/libpod-{ID}.scope", podman, None, None);
        check("/machine.slice/libpod-{ID}.scope/container", podman, None, None);
        check("/libpod_parent/libpod-{ID}", podman, None, None);
        check(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope/container",
            podman,
            None,
            Some("user@1000.service"),
        );
        let conmon = format!("libpod-conmon-{ID}.scope");
        check("/machine.slice/libpod-conmon-{ID}.scope", None, None, Some(&conmon));
        let conmon = format!("crio-conmon-{ID}.scope");
        check(
            "/kubepods.slice/kubepods-pod{UID_}.slice/crio-conmon-{ID}.scope",
            None,
            Some(UID),
            Some(&conmon),
        );
    }

    #[test]
    fn of_nested_containers_the_innermost_counts() {
        check(
            "/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/cri-containerd-{ID}.scope",
            Some((ID, Some(Runtime::Containerd))),
            None,
            None,
        );
        check(
            "/system.slice/docker-{OTHER}.scope/kubepods/besteffort/pod{UID}/{ID}",
            Some((ID, None)),
            Some(UID),
            Some(&format!("docker-{OTHER}.scope")),
        );
    }

    #[test]
    fn systemd_units_with_their_escapes_undone() {
        check("/system.slice/nginx.service", None, None, Some("nginx.service"));
        check("/system.slice/system-getty.slice/getty@tty1.service", None, None, Some("getty@tty1.service"));
        check(
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org\\x2dx-17.scope",
            None,
            None,
            Some("app-gnome-org-x-17.scope"),
        );
        check("/system.slice/run-user-1000\\x5b.mount", None, None, Some("run-user-1000[.mount"));
        check("/system.slice/a\\x1b\\xzz\\x.service", None, None, Some("a\\x1b\\xzz\\x.service"));
        check("/user.slice/user-1000.slice/session-4.scope", None, None, Some("session-4.scope"));
        check("/init.scope", None, None, Some("init.scope"));
        for none in ["/", "", "/system.slice", "/.service", "/lxc.payload.web"] {
            check(none, None, None, None);
        }
    }

    #[test]
    fn what_only_looks_like_an_id_is_none() {
        check("/docker/3f2a9c0e", None, None, None);
        check(&format!("/docker/{}", ID.to_uppercase()), None, None, None);
        check(&format!("/system.slice/docker-{ID}0.scope"), None, None, Some(&format!("docker-{ID}0.scope")));
        check("/kubepods/podcast", None, None, None);
    }

    #[test]
    fn the_short_name_is_the_container_else_the_unit_else_the_path() {
        assert_eq!(CgroupName::of(&format!("/docker/{ID}")).short(), "docker:3f2a9c0e5b7d");
        assert_eq!(CgroupName::of(&format!("/kubepods/pod{UID}/{ID}")).short(), "container:3f2a9c0e5b7d");
        assert_eq!(CgroupName::of("/system.slice/nginx.service").short(), "nginx.service");
        assert_eq!(CgroupName::of("/custom/group").short(), "/custom/group");
    }
}
