//! finwait's benches: what it sees under load, and what it costs. `cargo xtask bench` builds and runs this.

mod churn;
mod cost;
mod exposition;
mod goal;
mod hooks;
mod load;
mod loss;
mod numbers;
mod replay;
mod scale;
mod tools;
mod traffic;
mod truth;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// finwait's benches; all but `exposition` and `replay` need root
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Every transition of many connections is received
    Churn(churn::ChurnArgs),
    /// What a ring that is too small loses is counted
    Loss(loss::LossArgs),
    /// What finwait adds to the kernel's work, beside tcpstates and tcplife
    Cost(cost::CostArgs),
    /// What many connections take, and what scrapes cost
    Scale(scale::ScaleArgs),
    /// Live connections in memory
    #[command(hide = true)]
    ScaleFill(scale::FillArgs),
    /// Scrapes timed
    #[command(hide = true)]
    ScaleScrape(scale::ScrapeArgs),
    /// Observations timed
    #[command(hide = true)]
    ScaleTake,
    /// How fast recordings and packet captures are read, beside tshark
    Replay(replay::ReplayArgs),
    /// A recording and a capture in a folder
    #[command(hide = true)]
    Samples(replay::SamplesArgs),
    /// Connections that come and go, with or without scrapes
    #[command(hide = true)]
    ScaleReplay(scale::ReplayArgs),
    /// Size and time of `/metrics` for many groups, in each format
    Exposition(exposition::ExpositionArgs),
    /// The accepting half of a load
    #[command(hide = true)]
    LoadServer(load::LoadArgs),
    /// The connecting half of a load
    #[command(hide = true)]
    LoadClient(load::LoadArgs),
    /// A load in one thread
    #[command(hide = true)]
    LoadLone(load::LoadArgs),
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(bench: &Bench) -> Result<()> {
    match bench {
        Bench::Churn(args) => churn::run(args),
        Bench::Loss(args) => loss::run(args),
        Bench::Cost(args) => cost::run(args),
        Bench::Scale(args) => scale::run(args),
        Bench::ScaleFill(args) => scale::fill(*args),
        Bench::ScaleScrape(args) => scale::scrape(args),
        Bench::ScaleTake => scale::take(),
        Bench::Replay(args) => replay::run(args),
        Bench::Samples(args) => replay::samples(args),
        Bench::ScaleReplay(args) => scale::replay(*args),
        Bench::Exposition(args) => exposition::run(args),
        Bench::LoadServer(args) => load::server(*args),
        Bench::LoadClient(args) => load::client(*args),
        Bench::LoadLone(args) => load::lone(*args),
    }
}
