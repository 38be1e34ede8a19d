//! What systemd is told, where it asked for it (sd_notify(3)); elsewhere nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// finwait observes and answers.
pub fn notify_ready() {
    tell(&[NotifyState::Ready]);
}

/// finwait gets on.
pub(super) fn notify_alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long systemd waits for that sign, before it takes finwait for stuck.
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// finwait is about to end.
pub fn notify_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// systemd may be gone; that is no reason to fail.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
