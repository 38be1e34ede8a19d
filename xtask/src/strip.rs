//! Takes the debugging sections out of a built object. BTF was made from them and stays; nobody debugs the kernel programs
//! with the rest, which is four fifths of the file.

use anyhow::{Context, Result};
use object::build::elf::{Builder, SectionData};

/// `.debug_info` and its like; their relocations go with them.
const DEBUG: &[u8] = b".debug_";

/// `bytes` of an ELF file without its DWARF.
pub(crate) fn without_dwarf(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(bytes).context("the object is no ELF file")?;
    for section in &mut builder.sections {
        if section.name.starts_with(DEBUG)
            || section.name.strip_prefix(b".rel").is_some_and(|name| name.starts_with(DEBUG))
        {
            section.delete = true;
        }
    }
    // LLVM keeps the names of sections and symbols in one table; the builder wants two.
    if !builder.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = builder.sections.add();
        names.name = b".shstrtab"[..].into();
        names.sh_type = object::elf::SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    builder.write(&mut stripped).context("the object could not be written again")?;
    Ok(stripped)
}
