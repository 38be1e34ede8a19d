//! The validated configuration of `explain`.

use finwait_core::TrackerConfig;

use super::{ConfigError, Limits, Origin, filter, limits, origin};
use crate::cli::{ColorChoice, ExplainArgs, ExplainFormat};
use crate::filter::Filter;

/// `explain`.
#[derive(Debug)]
pub struct Explain {
    /// This connection alone
    pub conn_id: Option<String>,
    /// Where from
    pub origin: Origin,
    /// Of which connections
    pub filter: Filter,
    /// With what each sentence rests on
    pub evidence: bool,
    /// In which form
    pub format: ExplainFormat,
    /// Drawn with ASCII alone
    pub ascii: bool,
    /// When to colour
    pub color: ColorChoice,
    /// Whether the end of TIME_WAIT is waited for
    pub time_waits: bool,
    /// Until when; `count` is of explanations
    pub limits: Limits,
    /// How much the tracker may hold
    pub tracker: TrackerConfig,
}

pub(super) fn validate(args: ExplainArgs) -> Result<Explain, ConfigError> {
    let mut filter = filter(&args.filter)?;
    let mut origin = origin(args.source.read, &args.source.live, &filter)?;
    origin.admit_other_ends(&filter);
    filter.kinds = args.kind;
    Ok(Explain {
        conn_id: args.conn_id,
        time_waits: args.time_waits || matches!(origin, Origin::Recording(_)),
        origin,
        filter,
        evidence: args.evidence,
        format: args.output,
        ascii: args.ascii,
        color: args.color,
        limits: limits(&args.limits),
        tracker: TrackerConfig {
            capacity: args.source.max_connections,
            transitions: false,
            ..TrackerConfig::default()
        },
    })
}
