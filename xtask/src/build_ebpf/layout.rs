//! What two builds of the object must have in common under different
//! compilers.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

/// Programs and maps of an object.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// Program name to section, which names the kind.
    programs: BTreeMap<String, String>,
    maps: BTreeMap<String, MapShape>,
}

/// `struct bpf_map_def` of the "maps" section.
#[derive(Debug, PartialEq, Eq)]
struct MapShape {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

impl MapShape {
    fn parse(definition: &[u8]) -> Option<MapShape> {
        let word = |i: usize| {
            let bytes = definition.get(4 * i..4 * i + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        Some(MapShape {
            kind: word(0)?,
            key_size: word(1)?,
            value_size: word(2)?,
            max_entries: word(3)?,
            flags: word(4)?,
        })
    }
}

impl Layout {
    /// Reads an object's symbols.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Layout> {
        let file = object::File::parse(bytes).context("not an ELF object")?;
        let mut layout = Layout {
            programs: BTreeMap::new(),
            maps: BTreeMap::new(),
        };
        for symbol in file.symbols() {
            let Some(index) = symbol.section_index() else {
                continue;
            };
            let section = file.section_by_index(index)?;
            let (name, section_name) = (symbol.name()?.to_owned(), section.name()?.to_owned());
            match (symbol.kind(), section_name.as_str()) {
                // Functions outside a program's section are LLVM's own
                // (memset and the like).
                (SymbolKind::Text, ".text") => {}
                (SymbolKind::Text, _) => {
                    layout.programs.insert(name, section_name);
                }
                (SymbolKind::Data, "maps") => {
                    let shape = section
                        .data()?
                        .get(symbol.address() as usize..)
                        .and_then(MapShape::parse)
                        .with_context(|| format!("map {name} lies outside its section"))?;
                    layout.maps.insert(name, shape);
                }
                _ => {}
            }
        }
        if layout.programs.is_empty() || layout.maps.is_empty() {
            bail!("no programs or no maps in the object: {layout:?}");
        }
        Ok(layout)
    }
}

/// Loads all programs of an object into the kernel, which verifies them, and
/// drops them again.
pub fn load(bytes: &[u8]) -> anyhow::Result<()> {
    let mut loaded = aya::Ebpf::load(bytes)?;
    for (name, program) in loaded.programs_mut() {
        use aya::programs::Program;
        match program {
            Program::UProbe(program) => program.load(),
            Program::RawTracePoint(program) => program.load(),
            other => bail!("program {name} is of an unexpected kind: {other:?}"),
        }
        .with_context(|| format!("program {name} (loading needs root or CAP_BPF)"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::root;

    #[test]
    fn the_prebuilt_object_has_programs_and_maps() {
        let path = root().join("xsched-ebpf/prebuilt/xsched.bpf.o");
        let bytes = std::fs::read(path).expect("prebuilt object");
        let layout = Layout::parse(&bytes).expect("parses");
        assert_eq!(layout.programs["runtime_call"], "uprobe");
        assert_eq!(layout.programs["runtime_return"], "uretprobe");
        assert_eq!(layout.programs["shim_call"], "uprobe");
        let calls = &layout.maps["CALLS"];
        assert_eq!((calls.key_size, calls.value_size), (16, 8));
        assert!(Layout::parse(&bytes[..bytes.len() / 2]).is_err());
    }
}
