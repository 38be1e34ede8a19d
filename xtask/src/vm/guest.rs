//! One guest: booted, listened to, ended.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::apt;
use crate::process;
use crate::vm::transcript::Transcript;

const QEMU: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";

/// Software emulation: KVM is not to be relied on. One thread runs a guest's processors in turn: with a thread for each, QEMU
/// was seen to run an instruction that another processor had just replaced, and kernels patch their functions all the
/// while; with one it was not. QEMU 7.2 also spoils the flags that cmpxchg16b gives, and kernels from 6.12 on stumble over it: without the
/// instruction they do without it.
const MACHINE: [&str; 8] = ["-M", "q35", "-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-m", "1024"];
/// No devices that the guest has no use for; the end of the guest is the end of the emulator.
const DEVICES: [&str; 7] = ["-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"];
/// Under load the emulated timer may be late, which the kernel would take for broken.
const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1 no_timer_check";
/// The emulator ran an instruction that the kernel had replaced and no processor could see any more: while a kernel
/// function is patched, say to attach fentry, it begins with int3 for a moment.
const STALE_INSTRUCTION: &str = "Oops: int3";
/// What the kernel said last, told when a guest does not answer
const LAST_LINES: usize = 20;

/// What is booted.
pub(super) struct Guest<'a> {
    pub(super) image: &'a Path,
    pub(super) initramfs: &'a Path,
    pub(super) processors: u32,
    /// Longest time for everything
    pub(super) limit: Duration,
    /// What its kernel says is kept here
    pub(super) console: PathBuf,
    /// What it reports is kept here, while it does
    pub(super) log: PathBuf,
}

/// What a guest left behind.
pub(super) struct Outcome {
    pub(super) transcript: Transcript,
    /// It had to be ended
    pub(super) timed_out: bool,
    /// The emulator spoiled it
    pub(super) spoiled: bool,
    /// What the kernel said last
    pub(super) console: String,
}

impl Outcome {
    /// Why another boot may tell more, if it may.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if self.spoiled {
            Some("its emulator ran an instruction that was gone")
        } else if self.timed_out {
            Some("it stood still")
        } else {
            None
        }
    }
}

/// The emulator; killed when this is dropped.
struct Emulator(Child);

/// Installs the emulator if it is missing.
pub(super) fn require_emulator() -> Result<()> {
    if process::output(process::command(QEMU).arg("--version")).is_ok() {
        return Ok(());
    }
    apt::install(PACKAGE)
}

impl Guest<'_> {
    /// Boots it and listens until it powers off or `limit` is over.
    pub(super) fn run(&self) -> Result<Outcome> {
        let mut qemu = process::command(QEMU);
        qemu.args(MACHINE).arg("-smp").arg(self.processors.to_string()).args(DEVICES);
        qemu.arg("-kernel")
            .arg(self.image)
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", COMMAND_LINE]);
        qemu.arg("-serial").arg(format!("file:{}", self.console.display())).args(["-serial", "stdio"]);
        let end = Instant::now() + self.limit;
        let mut emulator =
            Emulator(qemu.stdout(Stdio::piped()).spawn().context("cannot start the emulator")?);
        let port = emulator.0.stdout.take().context("the emulator has no output")?;
        let mut log = fs::File::create(&self.log).with_context(|| self.log.display().to_string())?;
        let (bytes, timed_out) = listen(&read(port), end, &mut log).context("keeping a guest's report")?;
        drop(emulator);
        let said = fs::read(&self.console).unwrap_or_default();
        Ok(Outcome {
            transcript: Transcript::read(&bytes),
            timed_out,
            spoiled: is_spoiled(&said),
            console: last_lines(&said),
        })
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Chunks of `port` as they come; the channel closes at its end.
fn read(mut port: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, chunks) = channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = port.read(&mut chunk) {
            if sender.send(chunk[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    chunks
}

/// Everything until the channel closes or `end` comes, and whether that was the reason. `log` gets it as it comes.
fn listen(
    chunks: &Receiver<Vec<u8>>,
    end: Instant,
    log: &mut impl Write,
) -> std::io::Result<(Vec<u8>, bool)> {
    let mut bytes = Vec::new();
    loop {
        match chunks.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(chunk) => {
                log.write_all(&chunk)?;
                bytes.extend_from_slice(&chunk);
            }
            Err(RecvTimeoutError::Disconnected) => return Ok((bytes, false)),
            Err(RecvTimeoutError::Timeout) => return Ok((bytes, true)),
        }
    }
}

fn is_spoiled(console: &[u8]) -> bool {
    String::from_utf8_lossy(console).contains(STALE_INSTRUCTION)
}

fn last_lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<_> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_ends_with_the_output_or_the_time() {
        let soon = || Instant::now() + Duration::from_secs(20);
        let (all, mut log) = (b"all of it".to_vec(), Vec::new());
        assert_eq!(listen(&read(&b"all of it"[..]), soon(), &mut log).unwrap(), (all.clone(), false));
        assert_eq!(log, all);
        let (sender, chunks) = channel();
        sender.send(b"some".to_vec()).unwrap();
        let end = Instant::now() + Duration::from_millis(10);
        assert_eq!(listen(&chunks, end, &mut Vec::new()).unwrap(), (b"some".to_vec(), true));
    }

    #[test]
    fn what_the_emulator_spoils_is_told_from_what_a_kernel_dies_of() {
        assert!(is_spoiled(b"[   56.6] Oops: int3: 0000 [#1] SMP NOPTI\r\n"));
        assert!(!is_spoiled(b"[   56.6] Oops: general protection fault: 0000 [#1] SMP\r\n"));
        assert!(!is_spoiled(b"[   56.6] BUG: kernel NULL pointer dereference\r\n"));
    }

    #[test]
    fn only_the_last_lines_are_told() {
        let text: String = (0..50).map(|line| format!("{line}\r\n\r\n")).collect();
        let last = last_lines(text.as_bytes());
        assert!(last.starts_with("30\n") && last.ends_with("\n49"), "{last}");
    }
}
