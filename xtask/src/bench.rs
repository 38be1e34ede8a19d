//! `cargo xtask bench`: builds finwait and its bench program in release form, and runs one of the benches.
//!
//! The benches themselves are `tracer/src/bin/finwait-bench`, so that xtask stays quick to build.

use std::path::Path;

use anyhow::{Result, bail};
use clap::Args as ClapArgs;

use crate::{process, programs, tracefs, tuned};

/// What `cost` compares with, and where Debian puts it.
const LIBBPF_TOOLS: &str = "libbpf-tools";
const TCPSTATES: &str = "/usr/sbin/tcpstates";

/// Which bench, and its own flags
#[derive(ClapArgs)]
pub(crate) struct Args {
    /// Measure what `cargo xtask tuned` builds
    #[arg(long)]
    tuned: bool,
    /// churn, loss, cost, scale, replay or exposition
    bench: Bench,
    /// Passed on; `--help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

/// The benches there are.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Bench {
    /// 40,000 connections, five times: every transition is received
    Churn,
    /// A ring that overflows: every transition is received or counted as lost
    Loss,
    /// What finwait costs beside tcpstates and tcplife
    Cost,
    /// What many connections take, and what scrapes cost
    Scale,
    /// How fast recordings and captures are read, beside tshark
    Replay,
    /// What a scrape of `/metrics` takes, as text and as protobuf
    Exposition,
}

impl Bench {
    /// Whether it starts finwait itself, too.
    const fn runs_finwait(self) -> bool {
        matches!(self, Self::Cost | Self::Scale | Self::Replay)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Churn => "churn",
            Self::Loss => "loss",
            Self::Cost => "cost",
            Self::Scale => "scale",
            Self::Replay => "replay",
            Self::Exposition => "exposition",
        }
    }
}

/// Builds and runs.
pub(crate) fn run(root: &Path, args: &Args) -> Result<()> {
    let build = |what: &[&str]| {
        let mut cargo = process::cargo();
        cargo.current_dir(root).args(["build", "--quiet", "--release", "--package", "tracer"]).args(what);
        process::run(&mut cargo)
    };
    let folder = if args.tuned {
        tuned::build(root)?
    } else {
        build(&["--bin", "finwait"])?;
        build(&["--features", "bench", "--bin", "finwait-bench"])?;
        root.join("target/release")
    };
    if args.bench == Bench::Cost && !Path::new(TCPSTATES).exists() {
        install_libbpf_tools()?;
    }
    if args.bench == Bench::Replay {
        programs::install_tshark()?;
    }
    let mut bench = process::command(folder.join("finwait-bench"));
    bench.current_dir(root).arg(args.bench.name());
    if args.tuned && args.bench.runs_finwait() {
        bench.arg("--finwait").arg(folder.join("finwait"));
    }
    bench.args(&args.flags);
    process::run(&mut tracefs::seen_by(bench))
}

fn install_libbpf_tools() -> Result<()> {
    println!("{TCPSTATES} is missing: installing {LIBBPF_TOOLS}");
    let mut apt = process::command("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", LIBBPF_TOOLS]);
    if process::run(&mut apt).is_err() {
        bail!("{LIBBPF_TOOLS} could not be installed with apt-get: install what brings {TCPSTATES}");
    }
    Ok(())
}
