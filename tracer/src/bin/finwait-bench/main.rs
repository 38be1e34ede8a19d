//! finwait's benches: what it sees under load, and what it costs. `cargo xtask bench` builds and runs this.

mod cost;
mod load;
mod numbers;
mod tools;
mod traffic;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// finwait's benches; all need root
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// What finwait adds to the kernel's work, beside tcpstates and tcplife
    Cost(cost::CostArgs),
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
        Bench::Cost(args) => cost::run(args),
        Bench::LoadServer(args) => load::server(*args),
        Bench::LoadClient(args) => load::client(*args),
        Bench::LoadLone(args) => load::lone(*args),
    }
}
