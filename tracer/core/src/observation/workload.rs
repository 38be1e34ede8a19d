//! Who a cgroup is to people: path, container, systemd unit.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Path in the cgroup2 hierarchy, with a leading `/`
    #[serde(rename = "cgroup_path")]
    pub path: String,
    /// Container: 64 hexadecimal digits
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Its runtime: docker, containerd, cri-o or podman
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// Kubernetes pod's uid
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// Innermost systemd unit that is not the container's own scope
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}
