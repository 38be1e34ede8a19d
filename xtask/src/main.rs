//! finwait's developer commands: `cargo xtask <command>`.

mod apt;
mod bench;
mod build_ebpf;
mod captures;
mod cargo_test;
mod components;
mod ebpf;
mod fuzz;
mod libtest;
mod linker;
mod live;
mod otlp_receiver;
mod page;
mod process;
mod programs;
mod rust_src;
mod setup;
mod sources;
mod strip;
mod test;
mod toolchain;
mod tracefs;
mod tuned;
mod verify_ebpf;
mod vm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// finwait's developer commands
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// One module per command.
#[derive(Subcommand)]
enum Task {
    /// Install what build-ebpf needs: the standard library's source and bpf-linker
    Setup(setup::Args),
    /// Build the eBPF objects and put them into tracer/ebpf
    BuildEbpf(build_ebpf::Args),
    /// Rebuild the eBPF objects in a clean directory and compare them with the committed ones
    VerifyEbpf(verify_ebpf::Args),
    /// Build finwait twice, the second time laid out by what the first one did
    Tuned,
    /// Measure finwait under load, and beside other tools
    Bench(bench::Args),
    /// Run every test, the live ones where BPF is allowed
    Test,
    /// Run the tests that take other people's programs, and install those
    Components,
    /// Run the tests of the web page in a browser, and install that
    Page,
    /// Fuzz every form of input that is taken from a file
    Fuzz(fuzz::Args),
    /// Run the demo and the live tests under other kernels, each in an emulated machine
    Vm(vm::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let root = workspace_root()?;
    match &cli.command {
        Task::Setup(args) => setup::run(&root, args),
        Task::BuildEbpf(args) => build_ebpf::run(&root, args),
        Task::VerifyEbpf(args) => verify_ebpf::run(&root, args),
        Task::Tuned => tuned::run(&root),
        Task::Bench(args) => bench::run(&root, args),
        Task::Test => test::run(&root),
        Task::Components => components::run(&root),
        Task::Page => page::run(&root),
        Task::Fuzz(args) => fuzz::run(&root, args),
        Task::Vm(args) => vm::run(&root, args),
    }
}

/// The checkout that cargo runs this from, without symbolic links, as cargo itself will see it.
fn workspace_root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
    let xtask = PathBuf::from(manifest).canonicalize().context("the xtask folder")?;
    Ok(xtask.parent().context("the folder above xtask")?.to_path_buf())
}
