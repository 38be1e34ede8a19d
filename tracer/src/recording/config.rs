//! How a recording is kept.

use std::time::Duration;

/// When what was written is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Fsync {
    /// When the kernel gets to it
    Never,
    /// After every frame: at least once a second
    Frame,
    /// When a file is complete
    #[default]
    Close,
}

/// When another file is begun, and how much all may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes that no file goes beyond
    pub size: Option<u64>,
    /// Age at which a file is complete
    pub age: Option<Duration>,
    /// Bytes that all files together do not go beyond: the oldest is removed
    pub max_total: Option<u64>,
}

impl Rotation {
    /// Whether there will be more than one file.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.size.is_some() || self.age.is_some()
    }
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Files
    pub rotation: Rotation,
    /// Disk
    pub fsync: Fsync,
}
