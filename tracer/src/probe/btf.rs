//! A reader of the kernel's own type information (BTF): where the members of its structures lie.
//!
//! aya parses BTF as well, but offers no look-up of members. Nothing here panics, whatever the input holds.

use std::{fs, path::PathBuf};

/// Where the kernel shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;
/// Typedefs, qualifiers and anonymous members nest a few levels deep; more is a loop in a corrupt file.
const MAX_DEPTH: u32 = 32;

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// Why there is no type information to read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read; without it the kernel was built without CONFIG_DEBUG_INFO_BTF.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file
        path: PathBuf,
        /// What open(2) or read(2) said
        source: std::io::Error,
    },
    /// The content is not BTF as described in the kernel's `include/uapi/linux/btf.h`.
    #[error("BTF is malformed: {0}")]
    Malformed(&'static str),
}

/// A type's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeId(u32);

/// Place of a structure's member, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// From the start of the outermost structure
    pub offset: u32,
    /// sizeof
    pub size: u32,
}

/// Parsed type information.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    /// Position of each type's header; type 0 is void and has none.
    types: Vec<u32>,
    strings: std::ops::Range<usize>,
}

impl Btf {
    /// Reads the running kernel's BTF from [`VMLINUX`].
    ///
    /// # Errors
    /// The file is missing, unreadable or malformed.
    pub fn from_kernel() -> Result<Self, BtfError> {
        let data = fs::read(VMLINUX).map_err(|source| BtfError::Read { path: VMLINUX.into(), source })?;
        Self::parse(data)
    }

    /// Takes BTF in this machine's byte order.
    ///
    /// # Errors
    /// The header or the sequence of types does not add up.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let header =
            |at| read_u32(&data, at).map(|word| word as usize).ok_or(BtfError::Malformed("no header"));
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(BtfError::Malformed("wrong magic number or byte order"));
        }
        let (start, type_at, type_len, string_at, string_len) =
            (header(4)?, header(8)?, header(12)?, header(16)?, header(20)?);
        let section = |at: usize, len: usize, what| {
            let from = start.checked_add(at).ok_or(BtfError::Malformed(what))?;
            let to = from.checked_add(len).ok_or(BtfError::Malformed(what))?;
            if to > data.len() { Err(BtfError::Malformed(what)) } else { Ok(from..to) }
        };
        let strings = section(string_at, string_len, "string section exceeds the file")?;
        let section = section(type_at, type_len, "type section exceeds the file")?;

        let mut types = vec![0];
        let mut at = section.start;
        while at < section.end {
            let info = read_u32(&data, at + 4).ok_or(BtfError::Malformed("truncated type"))?;
            types.push(u32::try_from(at).map_err(|_| BtfError::Malformed("too large"))?);
            let entries = (info & 0xffff) as usize;
            at += TYPE_BYTES
                + match info >> 24 & 0x1f {
                    INT | VAR | DECL_TAG => 4,
                    ARRAY => 12,
                    STRUCT | UNION | DATASEC | ENUM64 => entries * 12,
                    ENUM | FUNC_PROTO => entries * 8,
                    POINTER | 7 | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
                    _ => return Err(BtfError::Malformed("unknown kind of type")),
                };
        }
        if at != section.end {
            return Err(BtfError::Malformed("truncated type"));
        }
        Ok(Self { data, types, strings })
    }

    /// The structure called `name`.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<TypeId> {
        self.find(STRUCT, name)
    }

    /// Whether the kernel has a typedef called `name`. A tracepoint `x` has the typedef `btf_trace_x`.
    #[must_use]
    pub fn has_typedef(&self, name: &str) -> bool {
        self.find(TYPEDEF, name).is_some()
    }

    /// Number of arguments of the tracepoint `name`: those of its prototype `btf_trace_…` but the first, which is the
    /// kernel's own.
    #[must_use]
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let typedef = self.find(TYPEDEF, &format!("btf_trace_{name}"))?;
        let pointer = self.resolve(typedef)?;
        (self.kind(pointer)? == POINTER).then_some(())?;
        let prototype = self.resolve(TypeId(read_u32(&self.data, self.position(pointer)? + 8)?))?;
        (self.kind(prototype)? == FUNC_PROTO).then_some(())?;
        let parameters = read_u32(&self.data, self.position(prototype)? + 4)? & 0xffff;
        (parameters as usize).checked_sub(1)
    }

    /// Whether the kernel has a function called `name`.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.find(FUNC, name).is_some()
    }

    /// Number of the enumerator `value` of the enumeration called `name`.
    #[must_use]
    pub fn enumerator(&self, name: &str, value: &str) -> Option<i64> {
        self.enumerators(name)?.into_iter().find(|(known, _)| *known == value).map(|(_, number)| number)
    }

    /// Names and numbers of the enumeration called `name`.
    #[must_use]
    pub fn enumerators(&self, name: &str) -> Option<Vec<(&str, i64)>> {
        let (id, wide) = match self.find(ENUM, name) {
            Some(id) => (id, false),
            None => (self.find(ENUM64, name)?, true),
        };
        let at = self.position(id)?;
        let info = read_u32(&self.data, at + 4)?;
        let (signed, step) = (info >> 31 != 0, if wide { 12 } else { 8 });
        (0..(info & 0xffff) as usize)
            .map(|index| {
                let entry = at + TYPE_BYTES + index * step;
                let low = read_u32(&self.data, entry + 4)?;
                let number = if wide {
                    (u64::from(read_u32(&self.data, entry + 8)?) << 32 | u64::from(low)).cast_signed()
                } else if signed {
                    i64::from(low.cast_signed())
                } else {
                    i64::from(low)
                };
                Some((self.string(entry)?, number))
            })
            .collect()
    }

    /// Follows a dotted path: a structure's name, then members. Anonymous members are looked through.
    /// `None` also for a bit field, which has no place in bytes.
    #[must_use]
    pub fn member(&self, path: &str) -> Option<Member> {
        let (root, members) = path.split_once('.')?;
        self.member_of(self.structure(root)?, members)
    }

    /// The same from a structure already found.
    #[must_use]
    pub fn member_of(&self, root: TypeId, members: &str) -> Option<Member> {
        let (mut id, mut bits) = (root, 0u32);
        for name in members.split('.') {
            let (offset, of) = self.find_member(id, name, 0)?;
            (id, bits) = (of, bits.checked_add(offset)?);
        }
        (bits % 8 == 0).then_some(())?;
        Some(Member { offset: bits / 8, size: self.size_of(id, 0)? })
    }

    fn find(&self, kind: u32, name: &str) -> Option<TypeId> {
        (1..self.types.len()).map(|id| TypeId(id as u32)).find(|id| {
            self.kind(*id) == Some(kind)
                && self.position(*id).is_some_and(|at| self.string_bytes(at) == Some(name.as_bytes()))
        })
    }

    /// Bit offset and type of a member.
    fn find_member(&self, id: TypeId, name: &str, depth: u32) -> Option<(u32, TypeId)> {
        let id = self.resolve(id)?;
        if depth > MAX_DEPTH || !matches!(self.kind(id)?, STRUCT | UNION) {
            return None;
        }
        let at = self.position(id)?;
        let info = read_u32(&self.data, at + 4)?;
        for index in 0..(info & 0xffff) as usize {
            let entry = at + TYPE_BYTES + index * MEMBER_BYTES;
            let (of, place) = (TypeId(read_u32(&self.data, entry + 4)?), read_u32(&self.data, entry + 8)?);
            // With the flag, the upper byte is the width of a bit field.
            let (width, offset) = if info >> 31 != 0 { (place >> 24, place & 0xff_ffff) } else { (0, place) };
            match self.string(entry)? {
                found if found == name => return (width == 0).then_some((offset, of)),
                "" => {
                    if let Some((inner, of)) = self.find_member(of, name, depth + 1) {
                        return Some((offset.checked_add(inner)?, of));
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn size_of(&self, id: TypeId, depth: u32) -> Option<u32> {
        let id = self.resolve(id)?;
        let at = self.position(id)?;
        match self.kind(id)? {
            STRUCT | UNION | ENUM | ENUM64 | FLOAT => read_u32(&self.data, at + 8),
            INT => {
                // A bit field of old: fewer bits than its type has.
                let (size, encoding) =
                    (read_u32(&self.data, at + 8)?, read_u32(&self.data, at + TYPE_BYTES)?);
                (encoding & 0xff == size.checked_mul(8)? && encoding >> 16 & 0xff == 0).then_some(size)
            }
            POINTER => Some(size_of::<usize>() as u32),
            ARRAY if depth < MAX_DEPTH => {
                let element = TypeId(read_u32(&self.data, at + TYPE_BYTES)?);
                self.size_of(element, depth + 1)?.checked_mul(read_u32(&self.data, at + TYPE_BYTES + 8)?)
            }
            _ => None,
        }
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: TypeId) -> Option<TypeId> {
        for _ in 0..MAX_DEPTH {
            match self.kind(id)? {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => {
                    id = TypeId(read_u32(&self.data, self.position(id)? + 8)?);
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn kind(&self, id: TypeId) -> Option<u32> {
        Some(read_u32(&self.data, self.position(id)? + 4)? >> 24 & 0x1f)
    }

    fn position(&self, id: TypeId) -> Option<usize> {
        match id.0 {
            0 => None,
            index => self.types.get(index as usize).map(|at| *at as usize),
        }
    }

    /// The string whose place in the string section is written at `at`.
    fn string(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.string_bytes(at)?).ok()
    }

    fn string_bytes(&self, at: usize) -> Option<&[u8]> {
        let strings = self.data.get(self.strings.clone())?;
        let rest = strings.get(read_u32(&self.data, at)? as usize..)?;
        rest.get(..rest.iter().position(|byte| *byte == 0)?)
    }
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
