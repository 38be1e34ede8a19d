//! Carries out an action: opens source and sink, runs the loop, tells people what it came to.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;

use clap::CommandFactory;
use finwait_core::TrackerConfig;
use finwait_core::pairing::PairingConfig;
use jiff::tz::TimeZone;

use super::signals::{Signals, SuperviseError};
use super::{Outputs, Plan, RunError, Stop, run};
use crate::cli::{Cli, ColorChoice, Format, Generate, RecordFormat, Shell};
use crate::config::{
    Action, ConfigError, Limits, Live, Origin, Output, Recording, RecordingPath, Replay, Serve, Subject, View,
};
use crate::demo::{self, DemoError};
use crate::doctor;
use crate::filter::Filter;
use crate::probe::HostReport;
use crate::recording::Recorder;
use crate::redact::Redaction;
#[cfg(feature = "otlp")]
use crate::serve::Push;
use crate::serve::{self, Listening, ServeError, service};
use crate::sink::{CsvSink, JsonSink, Look, RecordingSink, Sink, SinkError, TableSink, Tap, safe};
use crate::source::{
    FileSource, LiveSource, PacedSource, RecordingError, Source, SourceError, WatchedSource,
};
use crate::stuck::{self, StuckError};

mod views;

const OUT_BUFFER: usize = 1 << 16;

/// Why finwait ends without success. Every message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The flags make no sense
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The source cannot be opened
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The output cannot be opened or written
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The run failed
    #[error(transparent)]
    Run(#[from] RunError),
    /// The stuck sockets cannot be shown
    #[error(transparent)]
    Stuck(#[from] StuckError),
    /// Nothing can be served
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The demo failed
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The run could not be watched over
    #[error(transparent)]
    Supervise(#[from] SuperviseError),
    /// A binary recording would go to a terminal
    #[error("a binary recording is not for a terminal: give -w FILE, or -o jsonl")]
    Terminal,
    /// `explain` of one connection did not see it end
    #[error(
        "{conn_id} did not end in what was observed: `finwait closes -o json` shows the conn_id of those that did"
    )]
    NoSuchConnection {
        /// What was asked for
        conn_id: String,
    },
    /// `doctor` found that nothing can be observed
    #[error("this host does not let finwait observe its kernel: see above")]
    Unfit,
}

impl From<RecordingError> for CommandError {
    fn from(error: RecordingError) -> Self {
        Self::Source(error.into())
    }
}

impl CommandError {
    /// 2 for what other flags would mend, else 1.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Terminal | Self::Run(RunError::FilterNeedsTpBtf { .. }) => 2,
            _ => 1,
        }
    }

    /// The message with its causes, as one line that a terminal can be given.
    #[must_use]
    pub fn sentence(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let detail = error.to_string();
            if !text.contains(&detail) {
                text = format!("{text}: {detail}");
            }
            cause = error.source();
        }
        safe(&text).into_owned()
    }
}

/// Carries out `action`.
///
/// # Errors
/// See [`CommandError`].
pub fn execute(action: Action) -> Result<(), CommandError> {
    match action {
        Action::View(view) => show(*view),
        Action::Explain(explain) => views::explain(*explain),
        Action::Report(report) => views::report(*report),
        Action::Record(recording) => record(&recording),
        Action::Serve(serve) => self::serve(*serve),
        Action::ShowConfig(text) => print(text.as_bytes()),
        Action::Stuck(asked) => match asked.read.clone() {
            Some(path) => views::stuck(path, asked),
            None => Ok(stuck::run(&asked, &mut stdout()?)?),
        },
        Action::Demo => Ok(demo::run(stdout()?)?),
        Action::Doctor { json } => examine(json),
        Action::Generate(what) => generate(&what),
    }
}

/// Everything is opened on this thread, before the loop's: so that one takes over with the privileges that are left.
fn show(view: View) -> Result<(), CommandError> {
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(SuperviseError::from)?);
    let mut sink = sink(&view)?;
    let mut source = open(&view.origin, &stop, false)?;
    let plan = Plan {
        subject: Some(view.subject),
        filter: view.filter,
        limits: view.limits,
        event_time: matches!(view.origin, Origin::Recording(_)),
        tracker: view.tracker,
        time_waits: view.time_waits,
        both_ends: view.both_ends.then(PairingConfig::default),
        redaction: Redaction::Off,
    };
    let verdict = signals.supervise(&stop, move |stop| {
        run(source.as_mut(), Outputs { sink: Some(sink.as_mut()), tap: None }, &plan, stop)
    })??;
    tell(&verdict.for_people(Some(view.subject)));
    Ok(())
}

/// The socket listens before anything is observed, and HTTP starts when privileges are gone.
fn serve(serve: Serve) -> Result<(), CommandError> {
    let listening = Listening::at(serve.web.listen)?;
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(SuperviseError::from)?);
    let mut source = open(&serve.origin, &stop, true)?;
    tell(&format!("finwait: listening on http://{}", listening.address()));
    let recorded = matches!(serve.origin, Origin::Recording(_));
    let (mut sink, reader) =
        serve::start(listening, &serve.web, serve.grouping, serve.tracker.time_waits, stop.waker())?;
    reader.tell_of_programs(source.program_costs());
    #[cfg(feature = "otlp")]
    let push = serve.otlp.map(|config| Push::start(config, reader)).transpose()?;
    #[cfg(not(feature = "otlp"))]
    drop(reader);
    let plan = Plan {
        subject: Some(Subject::Closes),
        filter: serve.filter,
        limits: Limits::default(),
        event_time: recorded,
        tracker: serve.tracker,
        time_waits: true,
        both_ends: None,
        redaction: serve.web.redaction,
    };
    service::notify_ready();
    let verdict = signals.supervise(&stop, move |stop| {
        let verdict = run(source.as_mut(), Outputs { sink: Some(&mut sink), tap: None }, &plan, stop);
        let watchdog = sink.watchdog();
        // With its side of the desk gone, nobody waits there for a loop that has ended.
        drop(sink);
        if recorded && verdict.is_ok() {
            stop.wait(|| watchdog.answer());
        }
        service::notify_stopping();
        #[cfg(feature = "otlp")]
        if let Some(Err(error)) = push.map(Push::finish) {
            tell(&format!("finwait: {error}"));
        }
        verdict
    })??;
    tell(&verdict.for_people(Some(Subject::Closes)));
    Ok(())
}

fn record(recording: &Recording) -> Result<(), CommandError> {
    let (signals, stop) = (Signals::listen()?, Stop::new().map_err(SuperviseError::from)?);
    let mut tap = tap(recording)?;
    let mut source = open_live(&recording.live, &stop)?;
    let plan = Plan {
        subject: None,
        filter: Filter::default(),
        limits: recording.limits,
        event_time: false,
        tracker: TrackerConfig { transitions: false, ..TrackerConfig::default() },
        time_waits: false,
        both_ends: None,
        redaction: Redaction::Off,
    };
    let verdict = signals.supervise(&stop, move |stop| {
        run(source.as_mut(), Outputs { sink: None, tap: Some(tap.as_mut()) }, &plan, stop)
    })??;
    tell(&verdict.for_people(None));
    Ok(())
}

fn tap(recording: &Recording) -> Result<Box<dyn Tap + Send>, CommandError> {
    let place = "stdout".to_owned();
    let tell = |text: &str| tell(&format!("finwait: {text}"));
    Ok(match (recording.format, &recording.path) {
        (RecordFormat::Jsonl, Some(path)) => Box::new(RecordingSink::create(path)?),
        (RecordFormat::Jsonl, None) => Box::new(RecordingSink::new(stdout()?, place)),
        (RecordFormat::Binary, Some(path)) => {
            Box::new(Recorder::create(path, recording.files, Box::new(tell))?)
        }
        (RecordFormat::Binary, None) if io::stdout().is_terminal() => return Err(CommandError::Terminal),
        (RecordFormat::Binary, None) => Box::new(Recorder::stream(stdout()?, place)?),
    })
}

type BoxedSource = Box<dyn Source + Send>;

/// `silent`: nothing goes to stdout while it is read.
fn open(origin: &Origin, stop: &Stop, silent: bool) -> Result<BoxedSource, CommandError> {
    Ok(match origin {
        Origin::Recording(replay) => open_file(replay, stop, silent)?,
        Origin::Live(live) => open_live(live, stop)?,
    })
}

fn open_file(replay: &Replay, stop: &Stop, silent: bool) -> Result<BoxedSource, CommandError> {
    let source: BoxedSource = match &replay.path {
        RecordingPath::Stdin => Box::new(FileSource::stdin()),
        RecordingPath::File(path) => Box::new(FileSource::open(path)?),
    };
    let paced: BoxedSource = match replay.speed {
        Some(speed) => Box::new(PacedSource::new(source, speed, stop.waker().clone())),
        None => source,
    };
    // It would be in the way of records that go to the same terminal.
    let watched = io::stderr().is_terminal() && (silent || !io::stdout().is_terminal());
    let known = paced.read_share().is_some_and(|share| share.size > 0);
    Ok(if watched && known { Box::new(WatchedSource::on_stderr(paced)) } else { paced })
}

fn open_live(live: &Live, stop: &Stop) -> Result<BoxedSource, CommandError> {
    let (source, notes) = LiveSource::open(live, stop.waker())?;
    for note in notes {
        tell(&format!("finwait: {}", safe(&note)));
    }
    Ok(Box::new(source))
}

fn examine(json: bool) -> Result<(), CommandError> {
    let report = HostReport::gather();
    let mut text = Vec::new();
    let written = if json { doctor::json(&report, &mut text) } else { doctor::table(&report, &mut text) };
    written.map_err(SinkError::stdout)?;
    print(&text)?;
    if report.tier.is_none() { Err(CommandError::Unfit) } else { Ok(()) }
}

fn sink(view: &View) -> Result<Box<dyn Sink + Send>, CommandError> {
    Ok(match view.output.format {
        Format::Table => Box::new(TableSink::new(stdout()?, look(view.subject, &view.output))),
        Format::Json => Box::new(JsonSink::new(stdout()?)),
        Format::Csv => Box::new(CsvSink::new(stdout()?, view.subject)),
    })
}

/// stdout with one buffer: the standard library's own would flush at every line.
fn stdout() -> Result<Box<dyn Write + Send>, SinkError> {
    let descriptor = io::stdout().as_fd().try_clone_to_owned().map_err(SinkError::stdout)?;
    Ok(Box::new(BufWriter::with_capacity(OUT_BUFFER, File::from(descriptor))))
}

fn look(subject: Subject, output: &Output) -> Look {
    let terminal = terminal_size::terminal_size_of(io::stdout());
    Look {
        subject,
        width: terminal.map_or(0, |(width, _)| width.0.into()),
        wide: output.wide,
        colour: colour(output.color),
        time: output.time,
        timestamp: output.timestamp,
        zone: TimeZone::system(),
    }
}

fn colour(choice: ColorChoice) -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
            io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
        }
    }
}

/// stderr may be gone; that is no reason to fail.
fn tell(text: &str) {
    _ = writeln!(io::stderr(), "{text}");
}

fn generate(what: &Generate) -> Result<(), CommandError> {
    let mut text = Vec::new();
    let mut command = Cli::command();
    match what {
        Generate::Man { command: name } => {
            man(command, name.as_deref(), &mut text).map_err(SinkError::stdout)?;
        }
        Generate::Completions { shell } => {
            let shell = match shell {
                Shell::Bash => clap_complete::Shell::Bash,
                Shell::Zsh => clap_complete::Shell::Zsh,
                Shell::Fish => clap_complete::Shell::Fish,
            };
            clap_complete::generate(shell, &mut command, "finwait", &mut text);
        }
    }
    print(&text)
}

/// Writes `text` to stdout; a reader that does not want all of it is no failure.
fn print(text: &[u8]) -> Result<(), CommandError> {
    let mut out = stdout()?;
    let written = out.write_all(text).and_then(|()| out.flush()).map_err(SinkError::stdout);
    written.or_else(|error| if error.is_closed_pipe() { Ok(()) } else { Err(error.into()) })
}

fn man(mut command: clap::Command, name: Option<&str>, out: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let page = name.and_then(|name| command.find_subcommand(name)).unwrap_or(&command);
    clap_mangen::Man::new(page.clone()).render(out)
}
