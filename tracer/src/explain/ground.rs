//! What a sentence rests on.

use std::borrow::Cow;

use finwait_core::{Claim, EvidenceSet, Reason};

/// The record that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The close record of the end that is explained
    ThisEnd,
    /// Its time-wait record
    TimeWait,
    /// The close record of the other end
    Peer,
    /// The other end's time-wait record
    PeerTimeWait,
    /// The host
    Host,
}

impl Part {
    /// Its name ahead of a claim's.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThisEnd => "close",
            Self::TimeWait => "time_wait",
            Self::Peer => "peer",
            Self::PeerTimeWait => "peer.time_wait",
            Self::Host => "host",
        }
    }
}

/// How it is known, or why it is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// A claim that is proven
    Proven(EvidenceSet),
    /// A claim that is unknown
    Unknown(Reason),
    /// A plain field of the record, and its value
    Field(String),
    /// A setting of the kernel, and its value
    Setting(String),
    /// A constant of the kernel
    Constant(&'static str),
    /// Not there at all, and why
    Absent(&'static str),
}

/// One thing that a sentence rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ground {
    /// Where it stands
    pub part: Part,
    /// Its name there, as in the JSON records
    pub name: Cow<'static, str>,
    /// How it is known
    pub basis: Basis,
}

impl Ground {
    /// A claim of a record.
    #[must_use]
    pub fn claim<T>(part: Part, name: impl Into<Cow<'static, str>>, claim: &Claim<T>) -> Self {
        let basis = match claim {
            Claim::Known { evidence, .. } => Basis::Proven(*evidence),
            Claim::Unknown(reason) => Basis::Unknown(*reason),
        };
        Self { part, name: name.into(), basis }
    }

    /// A plain field of a record.
    #[must_use]
    pub fn field(part: Part, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        Self { part, name: name.into(), basis: Basis::Field(value.into()) }
    }

    /// A constant of the kernel's source.
    #[must_use]
    pub fn constant(name: &'static str, value: &'static str) -> Self {
        Self { part: Part::Host, name: name.into(), basis: Basis::Constant(value) }
    }

    /// A setting, or why its value is not known.
    #[must_use]
    pub fn setting(name: &'static str, value: Result<String, &'static str>) -> Self {
        let basis = match value {
            Ok(value) => Basis::Setting(value),
            Err(why) => Basis::Absent(why),
        };
        Self { part: Part::Host, name: name.into(), basis }
    }
}
