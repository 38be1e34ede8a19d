//! The files of a recording: one, or several of which the oldest go.
//!
//! They are for their owner alone (0600). What does not fit is taken back, so that a file ends with a whole frame.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::config::{Fsync, RecorderConfig};

/// Owner alone: a recording tells who talks to whom.
const MODE: u32 = 0o600;
/// Digits of a file's number.
const DIGITS: usize = 6;

/// See the module.
#[derive(Debug)]
pub(super) struct Files {
    path: PathBuf,
    config: RecorderConfig,
    file: File,
    length: u64,
    opened: Instant,
    /// Which number the next file's name has
    next: u64,
    current: PathBuf,
    /// Complete ones, the oldest first, with their lengths; also those of earlier runs
    complete: VecDeque<(PathBuf, u64)>,
}

impl Files {
    /// The file at `path`, in place of what was there; with rotation the first of its files, beside those that are there.
    pub(super) fn create(path: &Path, config: RecorderConfig) -> io::Result<Self> {
        let mut complete = VecDeque::new();
        let mut next = 1;
        let mut current = path.to_owned();
        if config.rotation.is_on() {
            let there = earlier(path)?;
            next = there.last().map_or(1, |(number, _, _)| number + 1);
            complete.extend(there.into_iter().map(|(_, path, length)| (path, length)));
            current = numbered(path, next);
            next += 1;
        }
        let file = open(&current, config.rotation.is_on())?;
        let path = path.to_owned();
        let opened = Instant::now();
        let mut files = Self { path, config, file, length: 0, opened, next, current, complete };
        files.keep_to_total();
        Ok(files)
    }

    #[cfg(test)]
    pub(super) fn go_to(&mut self, path: &Path) {
        self.file = OpenOptions::new().write(true).open(path).unwrap();
    }

    /// Where it writes now.
    pub(super) fn current(&self) -> &Path {
        &self.current
    }

    /// Nothing is in the file yet.
    pub(super) fn is_new(&self) -> bool {
        self.length == 0
    }

    /// Whether `more` bytes belong into another file.
    pub(super) fn is_full(&self, more: u64) -> bool {
        let rotation = &self.config.rotation;
        let too_large = rotation.size.is_some_and(|size| self.length.saturating_add(more) > size);
        let too_old = rotation.age.is_some_and(|age| self.opened.elapsed() >= age);
        !self.is_new() && (too_large || too_old)
    }

    /// Appends `bytes`, or nothing.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.is_new() {
            replace(&self.file)?;
        }
        let written = self.file.write_all_at(bytes, self.length);
        let sync = || if self.config.fsync == Fsync::Frame { self.file.sync_data() } else { Ok(()) };
        if let Err(error) = written.and_then(|()| sync()) {
            // What stays of them is written over by what comes next.
            _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// The file to go on with.
    pub(super) fn next(&self) -> io::Result<(PathBuf, File)> {
        let path = numbered(&self.path, self.next);
        let file = open(&path, true)?;
        Ok((path, file))
    }

    /// Completes the file and goes on with `next`.
    pub(super) fn switch(&mut self, next: (PathBuf, File)) -> io::Result<()> {
        let synced = self.complete();
        let (path, file) = next;
        self.complete.push_back((std::mem::replace(&mut self.current, path), self.length));
        self.file = file;
        self.length = 0;
        self.opened = Instant::now();
        self.next += 1;
        self.keep_to_total();
        synced
    }

    /// Nothing more is written.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        if self.config.fsync == Fsync::Never { Ok(()) } else { self.file.sync_all() }
    }

    /// Removes the oldest until there is room for a whole file. One that cannot be removed is not tried again.
    fn keep_to_total(&mut self) {
        let rotation = &self.config.rotation;
        let Some(limit) = rotation.max_total else { return };
        let room = rotation.size.unwrap_or(0);
        let mut total: u64 = self.complete.iter().map(|(_, length)| length).sum();
        while total.saturating_add(room) > limit {
            let Some((path, length)) = self.complete.pop_front() else { return };
            _ = fs::remove_file(path);
            total -= length;
        }
    }
}

/// What is in the file stays until [`replace`]: a run that cannot begin takes no recording away.
pub(crate) fn open(path: &Path, new: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE);
    if new {
        options.create_new(true)
    } else {
        options.create(true).truncate(false)
    };
    options.open(path)
}

/// Empties the file and makes it its owner's alone, also where it was not.
pub(crate) fn replace(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(MODE))?;
        file.set_len(0)?;
    }
    Ok(())
}

fn numbered(path: &Path, number: u64) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number:0DIGITS$}"));
    PathBuf::from(name)
}

/// Files of earlier runs under the same name: their numbers, paths and lengths, in their order.
fn earlier(path: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let other = entry.file_name();
        let digits = other.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
        let Some(digits) = digits.and_then(|rest| rest.strip_prefix(b".")) else { continue };
        if digits.len() < DIGITS || !digits.iter().all(u8::is_ascii_digit) {
            continue;
        }
        let number = core::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
        if let (Some(number), Ok(metadata)) = (number, entry.metadata()) {
            found.push((number, entry.path(), metadata.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}
