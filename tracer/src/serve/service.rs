//! What systemd is told, where it asked for it (sd_notify(3)); elsewhere nothing happens.

use sd_notify::NotifyState;

/// finwait observes and answers.
pub fn notify_ready() {
    tell(&[NotifyState::Ready]);
}

/// finwait is about to end.
pub fn notify_stopping() {
    tell(&[NotifyState::Stopping]);
}

/// systemd may be gone; that is no reason to fail.
fn tell(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
