//! Why traffic could not be made, or not be watched, as intended.

use std::io;

use crate::probe::{ProbeError, RingError};
use crate::run::RunError;
use crate::source::SourceError;

/// See the module. The message says which step failed.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A system call
    #[error(transparent)]
    System(#[from] io::Error),
    /// Something else happened than what the scenario is made of
    #[error("{0}")]
    Unexpected(String),
    /// A step failed
    #[error("{step}: {source}")]
    Step {
        /// Which one
        step: String,
        /// Why
        source: Box<ScenarioError>,
    },
    /// The programs cannot be attached
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// Nobody can be told to stop
    #[error(transparent)]
    Stop(#[from] RingError),
    /// What the programs send cannot be read
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The event loop failed
    #[error(transparent)]
    Run(#[from] RunError),
}

/// The outcome of making or watching traffic.
pub type Result<T> = std::result::Result<T, ScenarioError>;

impl From<rustix::io::Errno> for ScenarioError {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::System(errno.into())
    }
}

impl From<std::num::TryFromIntError> for ScenarioError {
    fn from(error: std::num::TryFromIntError) -> Self {
        Self::Unexpected(error.to_string())
    }
}

impl ScenarioError {
    /// `what` happened instead.
    pub fn unexpected(what: impl Into<String>) -> Self {
        Self::Unexpected(what.into())
    }
}

/// Names the step that failed.
pub trait Context<T> {
    /// `step` failed, if it did.
    fn context(self, step: &str) -> Result<T>;
}

impl<T, E: Into<ScenarioError>> Context<T> for std::result::Result<T, E> {
    fn context(self, step: &str) -> Result<T> {
        self.map_err(|source| ScenarioError::Step { step: step.to_owned(), source: Box::new(source.into()) })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, step: &str) -> Result<T> {
        self.ok_or_else(|| ScenarioError::unexpected(step))
    }
}
