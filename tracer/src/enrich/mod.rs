//! What lies behind numbers of sockets: processes, cgroups and containers, kernel functions. All of it is read from /proc and
//! the cgroup file system when asked; nothing here is an observation.

pub(crate) mod mounts;
