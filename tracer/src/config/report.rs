//! The validated configuration of `report`.

use finwait_core::TrackerConfig;

use super::{ConfigError, Limits, Origin, RecordingPath, filter, origin};
use crate::cli::{ReportArgs, ReportFormat};
use crate::filter::Filter;

/// `report`.
#[derive(Debug)]
pub struct Report {
    /// Where from
    pub origin: Origin,
    /// What it is compared with
    pub against: Option<RecordingPath>,
    /// Of which connections
    pub filter: Filter,
    /// In which form
    pub format: ReportFormat,
    /// Until when
    pub limits: Limits,
    /// How much the tracker may hold
    pub tracker: TrackerConfig,
}

pub(super) fn validate(args: ReportArgs) -> Result<Report, ConfigError> {
    let mut filter = filter(&args.filter)?;
    let origin = origin(args.source.read, &args.source.live, &filter)?;
    filter.kinds = args.kind;
    let against = args.against.map(RecordingPath::of);
    if against == Some(RecordingPath::Stdin)
        && matches!(&origin, Origin::Recording(replay) if replay.path == RecordingPath::Stdin)
    {
        return Err(ConfigError::StdinTwice);
    }
    Ok(Report {
        origin,
        against,
        filter,
        format: args.output,
        limits: Limits { duration: args.duration, count: None },
        tracker: TrackerConfig {
            capacity: args.source.max_connections,
            transitions: false,
            ..TrackerConfig::default()
        },
    })
}
