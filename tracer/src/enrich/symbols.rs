//! Addresses of a few kernel functions, from /proc/kallsyms.
//!
//! Where addresses may not be seen (kptr_restrict, no CAP_SYSLOG) every line shows zero: that is told apart from a function that
//! this kernel does not have.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;

const KALLSYMS: &str = "/proc/kallsyms";
const BUFFER: usize = 1 << 17;

/// Why there are no addresses.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// The file cannot be read
    #[error("{KALLSYMS}: {0}")]
    Read(#[from] io::Error),
    /// Only zeros are shown
    #[error("{KALLSYMS} hides addresses (kernel.kptr_restrict; CAP_SYSLOG is needed)")]
    Hidden,
}

/// Where some functions lie.
#[derive(Clone, Debug)]
pub struct KernelSymbols {
    wanted: Vec<&'static str>,
    /// By start; each with the function that it is part of
    ranges: Vec<(Range<u64>, &'static str)>,
}

impl KernelSymbols {
    /// Looks `names` up. Parts that the compiler split off or changed (`.isra.0`, `.constprop.0`, `.part.0`, `.cold`) belong to
    /// their function. Reads about 200,000 lines: some 50 ms.
    ///
    /// # Errors
    /// See [`SymbolsError`]. A function that is not there is no error: see [`KernelSymbols::absent`].
    pub fn read(names: &[&'static str]) -> Result<Self, SymbolsError> {
        Self::parse(BufReader::with_capacity(BUFFER, File::open(KALLSYMS)?), names)
    }

    fn parse(mut lines: impl BufRead, names: &[&'static str]) -> Result<Self, SymbolsError> {
        let (mut line, mut addresses, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            let Some(symbol) = Symbol::parse(&line) else { continue };
            addresses.push(symbol.address);
            if symbol.is_function()
                && let Some(name) = names.iter().find(|name| symbol.is_part_of(name))
            {
                starts.push((symbol.address, *name));
            }
        }
        if addresses.iter().all(|address| *address == 0) {
            return Err(SymbolsError::Hidden);
        }
        addresses.sort_unstable();
        starts.sort_unstable();
        starts.dedup();
        let ranges =
            starts.into_iter().map(|(start, name)| (start..end_of(start, &addresses), name)).collect();
        Ok(Self { wanted: names.to_vec(), ranges })
    }

    /// The wanted function that `ip` lies in.
    #[must_use]
    pub fn resolve(&self, ip: u64) -> Option<&'static str> {
        let after = self.ranges.partition_point(|(range, _)| range.start <= ip);
        let (range, name) = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(&ip).then_some(*name)
    }

    /// The parts of `name`, by their addresses.
    pub fn ranges_of(&self, name: &str) -> impl Iterator<Item = Range<u64>> {
        self.ranges.iter().filter(move |(_, part_of)| *part_of == name).map(|(range, _)| range.clone())
    }

    /// Those of the wanted functions that this kernel does not have, or has inlined everywhere.
    pub fn absent(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.wanted.iter().copied().filter(|name| self.ranges_of(name).next().is_none())
    }
}

/// The next symbol's address. Nothing is known to lie behind the last one but its first byte.
fn end_of(start: u64, sorted: &[u64]) -> u64 {
    let next = sorted.get(sorted.partition_point(|address| *address <= start));
    next.copied().unwrap_or(start.saturating_add(1))
}

/// A line: `ffffffff81a2b3c0 t tcp_fin`, behind that perhaps `[module]`.
struct Symbol<'a> {
    address: u64,
    kind: u8,
    name: &'a [u8],
}

impl<'a> Symbol<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
        Some(Self { address: hexadecimal(address)?, kind: *kind.first()?, name })
    }

    fn is_function(&self) -> bool {
        matches!(self.kind, b't' | b'T' | b'w' | b'W')
    }

    fn is_part_of(&self, function: &str) -> bool {
        let rest = self.name.strip_prefix(function.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits
        .iter()
        .try_fold(0, |number: u64, digit| Some(number << 4 | u64::from(char::from(*digit).to_digit(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81a00000 t tcp_fin
ffffffff81a00100 T tcp_fin_time
ffffffff81a00200 t __tcp_close.part.0
ffffffff81a00200 t alias_of_it
ffffffff81a00280 T __tcp_close
ffffffff81a00300 d tcp_close
ffffffff81a00400 T tcp_close
ffffffffc0100000 t mptcp_close\t[mptcp]
ffffffff81f00000 t tcp_fin.cold
ffffffff81f00040 t other.cold
nonsense
";
    const NAMES: [&str; 4] = ["tcp_fin", "__tcp_close", "tcp_close", "tcp_gone"];

    fn symbols() -> KernelSymbols {
        KernelSymbols::parse(TEXT.as_bytes(), &NAMES).unwrap()
    }

    #[test]
    fn a_function_ends_where_the_next_symbol_begins() {
        let symbols = symbols();
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_0000), Some("tcp_fin"));
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_00ff), Some("tcp_fin"));
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_0100), None, "tcp_fin_time is another one");
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_0300), None, "data");
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_0400), Some("tcp_close"));
        assert_eq!((symbols.resolve(0), symbols.resolve(u64::MAX)), (None, None));
    }

    #[test]
    fn parts_that_were_split_off_belong_to_their_function() {
        let symbols = symbols();
        assert_eq!(symbols.resolve(0xffff_ffff_81f0_0010), Some("tcp_fin"));
        assert_eq!(symbols.resolve(0xffff_ffff_81a0_0210), Some("__tcp_close"));
        let parts: Vec<u64> = symbols.ranges_of("__tcp_close").map(|range| range.start).collect();
        assert_eq!(parts, [0xffff_ffff_81a0_0200, 0xffff_ffff_81a0_0280]);
    }

    #[test]
    fn what_the_kernel_does_not_have_is_absent_and_what_it_hides_is_hidden() {
        assert_eq!(symbols().absent().collect::<Vec<_>>(), ["tcp_gone"]);
        let hidden = "0000000000000000 T tcp_fin\n0000000000000000 T tcp_close\n";
        assert!(matches!(KernelSymbols::parse(hidden.as_bytes(), &NAMES), Err(SymbolsError::Hidden)));
    }
}
