//! finwait together with other people's programs: Prometheus scrapes it, nginx and PostgreSQL are what it watches, tshark
//! reads the captures that it reads, and a reader in Python its recordings. Each is started by
//! the test, with folders, ports and a network namespace of its own; nothing of the system's services is touched.
//! `cargo xtask components` installs what it takes. Needs root.

mod captures;
mod dashboard;
mod nginx;
mod postgres;
mod program;
mod prometheus;
mod recordings;
mod served;
mod unit;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One test after the other: each has the processors for itself, and no process that is being started holds copies of
/// another test's sockets.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
