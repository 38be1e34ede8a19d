//! The validated configuration. Whatever can be wrong with the flags is found here, before anything is opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use finwait_core::{NetNs, TrackerConfig};

use crate::cli::{
    Cli, ClosesArgs, ColorChoice, Command, FileError, FilesArgs, FilterArgs, Format, Generate,
    KernelFilterArgs, LimitArgs, RecordArgs, RecordFormat, ServeArgs, StuckArgs, ViewArgs,
};
use crate::filter::{Filter, IpVersion, Workloads};
use crate::recording::{RecorderConfig, Rotation};

mod explain;
mod origin;
mod places;
mod report;
mod serve;

pub use explain::Explain;
pub use origin::{Live, Origin, RecordingPath, Replay};
use origin::{live, origin};
pub use places::PlaceError;
pub use report::Report;
pub use serve::Serve;

/// Why the flags make no sense. Every message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Both families alone
    #[error("-4 and -6 together match no connection: give one of them, or neither for both")]
    BothFamilies,
    /// Networks of the other family
    #[error("{flag} lists IPv{version} networks alone, which match no connection under {family}")]
    NetworksOfOtherFamily {
        /// The flag with the networks
        flag: &'static str,
        /// Version of all of them
        version: u8,
        /// The flag that they contradict
        family: &'static str,
    },
    /// Ends of different families
    #[error(
        "--local lists IPv{local} networks alone and --remote others: no connection has ends of both kinds"
    )]
    EndsDiffer {
        /// Version of the local networks
        local: u8,
    },
    /// Process or namespace with the classic tier
    #[error("{flag} needs --tier tp-btf: the classic trace point does not show it")]
    FilterNeedsTpBtf {
        /// The flag
        flag: &'static str,
    },
    /// `record` with a list that the kernel cannot hold
    #[error(
        "record filters in the kernel, which takes at most {ports} ports each way and {netns} namespaces"
    )]
    TooMuchForKernel {
        /// Entries of a table of ports
        ports: usize,
        /// Entries of the table of namespaces
        netns: usize,
    },
    /// --max-total without room for two files
    #[error("--max-total is less than two files of --rotate-size: the one being written could not be kept")]
    TotalTooSmall,
    /// Files of lines
    #[error("{flag} is for binary recordings: leave out -o jsonl")]
    FilesOfLines {
        /// The flag
        flag: &'static str,
    },
    /// Time-wait sockets as CSV
    #[error("--time-waits has no rows in CSV, whose columns are those of closes: take -o json for both")]
    NoTimeWaitsInCsv,
    /// --speed of what happens now
    #[error("--speed needs a recording or a capture: give -r")]
    NothingToPace,
    /// One pipe for two recordings
    #[error("stdin is one recording: give -r or --against a file")]
    StdinTwice,
    /// A path that is no such namespace or cgroup
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Other hosts would reach it
    #[error(
        "{address} is not a loopback address: whoever reaches it could read everything; --web.insecure allows that"
    )]
    Exposed {
        /// Where it would listen
        address: std::net::SocketAddr,
    },
    /// A label would tell more of an address than is to be told
    #[error(
        "--redact-addresses withholds who is in {net}: give --peer-network a network that is at least a /24, or a /48 of IPv6"
    )]
    NetworkTooSmall {
        /// The network
        net: ipnet::IpNet,
    },
    /// OTEL_EXPORTER_OTLP_HEADERS, which may be secret and is not shown
    #[cfg(feature = "otlp")]
    #[error("OTEL_EXPORTER_OTLP_HEADERS: {0}")]
    OtlpHeaders(#[source] crate::serve::otlp::EndpointError),
    /// OTEL_RESOURCE_ATTRIBUTES
    #[cfg(feature = "otlp")]
    #[error(transparent)]
    OtlpResource(#[from] crate::serve::otlp::AttributesError),
    /// The configuration file cannot be used
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in the configuration file, and what the flags say instead, makes no sense
    #[error("{}, with the flags: {source}", path.display())]
    InFile {
        /// The file
        path: PathBuf,
        /// Why
        source: Box<ConfigError>,
    },
    /// `generate man` of an unknown command
    #[error("finwait has no command {name:?}: `finwait --help` lists them")]
    NoSuchCommand {
        /// What was asked for
        name: String,
    },
}

/// What to do.
#[derive(Debug)]
pub enum Action {
    /// `states` or `closes`
    View(Box<View>),
    /// `explain`
    Explain(Box<Explain>),
    /// `report`
    Report(Box<Report>),
    /// `record`
    Record(Recording),
    /// `serve`
    Serve(Box<Serve>),
    /// `serve --check-config`: what is in force
    ShowConfig(String),
    /// `stuck`
    Stuck(Stuck),
    /// `demo`
    Demo,
    /// `doctor`
    Doctor {
        /// As JSON
        json: bool,
    },
    /// `generate`
    Generate(Generate),
}

/// What a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Transitions
    States,
    /// Ends of connections
    Closes,
}

/// `states` or `closes`.
#[derive(Debug)]
pub struct View {
    /// What is shown
    pub subject: Subject,
    /// Where from
    pub origin: Origin,
    /// Of which connections
    pub filter: Filter,
    /// In which form
    pub output: Output,
    /// Until when
    pub limits: Limits,
    /// How much the tracker may hold
    pub tracker: TrackerConfig,
    /// Whether the ends of time-wait sockets are shown
    pub time_waits: bool,
    /// Whether the two ends of a connection are joined
    pub both_ends: bool,
}

/// `record`.
#[derive(Debug)]
pub struct Recording {
    /// Where to; `None` is stdout
    pub path: Option<PathBuf>,
    /// In which form
    pub format: RecordFormat,
    /// How it is kept
    pub files: RecorderConfig,
    /// Where from
    pub live: Live,
    /// Until when
    pub limits: Limits,
}

/// `stuck`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Of a recording or a capture; `None`: of the running kernel
    pub read: Option<RecordingPath>,
    /// How long a state is proven to have lasted, at least
    pub older: Duration,
    /// Look again this often
    pub watch: Option<Duration>,
    /// As JSON
    pub json: bool,
    /// These network namespaces; `None`: all that can be reached
    pub netns: Option<BTreeSet<NetNs>>,
}

/// Shape of the output.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Table, JSON or CSV
    pub format: Format,
    /// Column with the time of day
    pub time: bool,
    /// Column with the seconds since the start
    pub timestamp: bool,
    /// Everything in full
    pub wide: bool,
    /// When to colour
    pub color: ColorChoice,
}

/// What ends the run by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// After this time
    pub duration: Option<Duration>,
    /// After so many lines
    pub count: Option<u64>,
}

/// Validates the command line.
///
/// # Errors
/// The first contradiction found.
pub fn validate(cli: Cli) -> Result<Action, ConfigError> {
    match cli.command {
        Command::States(args) => Ok(Action::View(Box::new(view(Subject::States, args)?))),
        Command::Closes(args) => Ok(Action::View(Box::new(closes(args)?))),
        Command::Explain(args) => Ok(Action::Explain(Box::new(explain::validate(args)?))),
        Command::Report(args) => Ok(Action::Report(Box::new(report::validate(args)?))),
        Command::Record(args) => Ok(Action::Record(record(args)?)),
        Command::Serve(args) => serve(args),
        Command::Stuck(args) => Ok(Action::Stuck(stuck(args)?)),
        Command::Demo => Ok(Action::Demo),
        Command::Doctor(args) => Ok(Action::Doctor { json: args.json }),
        Command::Generate(args) => Ok(Action::Generate(generate(args.what)?)),
    }
}

fn serve(args: ServeArgs) -> Result<Action, ConfigError> {
    let shown = args.check_config.then(|| args.in_force.clone());
    let serve = serve::validate(args)?;
    Ok(shown.map_or_else(|| Action::Serve(Box::new(serve)), Action::ShowConfig))
}

fn view(subject: Subject, args: ViewArgs) -> Result<View, ConfigError> {
    let filter = filter(&args.filter)?;
    let origin = origin(args.source.read, &args.source.live, &filter)?.at_speed(args.speed);
    let transitions = subject == Subject::States;
    Ok(View {
        subject,
        origin,
        filter,
        output: Output {
            format: if args.output.csv { Format::Csv } else { args.output.output },
            time: args.output.time,
            timestamp: args.output.timestamp,
            wide: args.output.wide,
            color: args.output.color,
        },
        limits: limits(&args.limits),
        tracker: TrackerConfig {
            capacity: args.source.max_connections,
            transitions,
            ..TrackerConfig::default()
        },
        time_waits: false,
        both_ends: false,
    })
}

/// JSON tells records apart by their schema, so it has the time-wait sockets unasked.
fn closes(args: ClosesArgs) -> Result<View, ConfigError> {
    let mut view = view(Subject::Closes, args.view)?;
    view.filter.kinds = args.kind;
    view.time_waits = args.time_waits || view.output.format == Format::Json;
    view.both_ends = args.both_ends;
    if view.both_ends {
        view.origin.admit_other_ends(&view.filter);
    }
    if args.time_waits && view.output.format == Format::Csv {
        return Err(ConfigError::NoTimeWaitsInCsv);
    }
    Ok(view)
}

fn record(args: RecordArgs) -> Result<Recording, ConfigError> {
    let filter = filter(&FilterArgs { kernel: args.filter, ..FilterArgs::default() })?;
    if !filter.kernel_suffices() {
        return Err(ConfigError::TooMuchForKernel {
            ports: tracer_common::FILTER_PORTS,
            netns: tracer_common::FILTER_NETNS,
        });
    }
    let files = files(&args.files, args.output)?;
    let path = args.write.filter(|path| path != Path::new("-"));
    let (live, limits) = (live(&args.live, &filter)?, limits(&args.limits));
    Ok(Recording { path, format: args.output, files, live, limits })
}

fn files(args: &FilesArgs, format: RecordFormat) -> Result<RecorderConfig, ConfigError> {
    let rotation = Rotation { size: args.rotate_size, age: args.rotate_age, max_total: args.max_total };
    if rotation.is_on() && format == RecordFormat::Jsonl {
        let flag = if rotation.size.is_some() { "--rotate-size" } else { "--rotate-age" };
        return Err(ConfigError::FilesOfLines { flag });
    }
    if let (Some(size), Some(total)) = (rotation.size, rotation.max_total)
        && total < size.saturating_mul(2)
    {
        return Err(ConfigError::TotalTooSmall);
    }
    Ok(RecorderConfig { rotation, fsync: args.fsync })
}

fn stuck(args: StuckArgs) -> Result<Stuck, ConfigError> {
    let netns: BTreeSet<NetNs> = args.netns.iter().map(places::netns).collect::<Result<_, _>>()?;
    let netns = (!netns.is_empty()).then_some(netns);
    Ok(Stuck {
        read: args.read.map(RecordingPath::of),
        older: args.older,
        watch: args.watch,
        json: args.json,
        netns,
    })
}

fn limits(args: &LimitArgs) -> Limits {
    Limits { duration: args.duration, count: args.count }
}

fn generate(what: Generate) -> Result<Generate, ConfigError> {
    use clap::CommandFactory;
    if let Generate::Man { command: Some(name) } = &what
        && Cli::command().find_subcommand(name).is_none()
    {
        return Err(ConfigError::NoSuchCommand { name: name.clone() });
    }
    Ok(what)
}

fn filter(args: &FilterArgs) -> Result<Filter, ConfigError> {
    let kernel = &args.kernel;
    let version = version(kernel)?;
    let (local, remote) = (only_version(&args.local), only_version(&args.remote));
    for (flag, nets) in [("--local", local), ("--remote", remote)] {
        if let (Some(wanted), Some(version)) = (version, nets)
            && wanted != version
        {
            let family = if wanted == IpVersion::V4 { "-4" } else { "-6" };
            return Err(ConfigError::NetworksOfOtherFamily { flag, version: number(version), family });
        }
    }
    if let (Some(local), Some(remote)) = (local, remote)
        && local != remote
    {
        return Err(ConfigError::EndsDiffer { local: number(local) });
    }
    Ok(Filter {
        local_ports: distinct(&kernel.local_port),
        remote_ports: distinct(&kernel.remote_port),
        version,
        local: args.local.clone(),
        remote: args.remote.clone(),
        pids: args.pid.clone(),
        comms: args.comm.clone(),
        netns: kernel.netns.iter().map(places::netns).collect::<Result<_, _>>()?,
        cgroups: args.cgroup.iter().map(places::cgroup).collect::<Result<_, _>>()?,
        workloads: Workloads::new(args.container.clone(), args.unit.clone()),
        kinds: Vec::new(),
    })
}

fn version(args: &KernelFilterArgs) -> Result<Option<IpVersion>, ConfigError> {
    match (args.ipv4, args.ipv6) {
        (true, true) => Err(ConfigError::BothFamilies),
        (true, false) => Ok(Some(IpVersion::V4)),
        (false, true) => Ok(Some(IpVersion::V6)),
        (false, false) => Ok(None),
    }
}

/// The version of all of `nets`; `None` where there are both or none.
fn only_version(nets: &[ipnet::IpNet]) -> Option<IpVersion> {
    let v4 = nets.iter().filter(|net| matches!(net, ipnet::IpNet::V4(_))).count();
    match (v4, nets.len()) {
        (_, 0) => None,
        (0, _) => Some(IpVersion::V6),
        (v4, all) if v4 == all => Some(IpVersion::V4),
        _ => None,
    }
}

fn number(version: IpVersion) -> u8 {
    match version {
        IpVersion::V4 => 4,
        IpVersion::V6 => 6,
    }
}

/// Without repetitions: they would take room in the kernel's tables.
fn distinct<T: Copy + Ord>(list: &[T]) -> Vec<T> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests;
