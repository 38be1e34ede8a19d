//! What a cgroup is to people.

use finwait_core::observation::Workload;
use serde::Serialize;

/// Every name, null where there is none.
#[derive(Serialize)]
pub(crate) struct WorkloadJson<'a> {
    cgroup_path: &'a str,
    container: Option<&'a str>,
    runtime: Option<&'a str>,
    pod: Option<&'a str>,
    unit: Option<&'a str>,
}

impl<'a> From<&'a Workload> for WorkloadJson<'a> {
    fn from(workload: &'a Workload) -> Self {
        Self {
            cgroup_path: &workload.path,
            container: workload.container.as_deref(),
            runtime: workload.runtime.as_deref(),
            pod: workload.pod.as_deref(),
            unit: workload.unit.as_deref(),
        }
    }
}
