//! The web page in a real browser: headless Chromium opens what `finwait serve` serves. Needs root (it observes live traffic
//! in network namespaces of its own), chromium and chromedriver: `cargo xtask page` installs those and runs this.
//!
//! Screenshots are left in `target/page-screenshots`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod address;
mod ladders;
mod live;
mod look;
mod served;
mod stage;
mod webdriver;

use std::time::Duration;

/// Longest wait for anything: a browser on a busy machine is slow.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
