//! The kernel programs' diagnostics on stderr. They are rare: no event is logged.

use std::io::Write;

struct Stderr;

impl log::Log for Stderr {
    /// The loader logs too, under its own name, what it does to the object.
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("finwait")
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // stderr may be gone; the books tell of losses anyway.
        _ = writeln!(std::io::stderr(), "finwait: kernel program: {}: {}", record.level(), record.args());
    }

    fn flush(&self) {}
}

/// From now on what [`super::Probe::flush_kernel_log`] hands over is written to stderr.
pub fn to_stderr() {
    if log::set_logger(&Stderr).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}
