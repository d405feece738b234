//! Where an object keeps the addresses of functions that it imports: the slots
//! that the dynamic linker fills (System V ABI, AMD64 supplement, 4.4.1).

use super::Object;
use super::symbols::Tables;

const DT_PLTRELSZ: i64 = 2;
const DT_RELA: i64 = 7;
const DT_RELASZ: i64 = 8;
const DT_JMPREL: i64 = 23;
/// An address that code or data holds, that code calls through, and that it
/// calls through its linkage table.
const ADDRESSES: [u32; 3] = [1, 6, 7];

/// `Elf64_Rela`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Relocation {
    offset: usize,
    info: u64,
    addend: i64,
}

/// Shows the addresses of all slots of `object` for the function `name`.
pub fn slots(object: &Object<'_>, name: &[u8], mut show: impl FnMut(usize)) {
    let Some(tables) = Tables::of(object) else {
        return;
    };
    let find = |tag| {
        object
            .dynamic()
            .find(|&(t, _)| t == tag)
            .map(|(_, value)| value)
    };
    for (table, len) in [(DT_RELA, DT_RELASZ), (DT_JMPREL, DT_PLTRELSZ)] {
        let (Some(table), Some(len)) = (find(table), find(len)) else {
            continue;
        };
        let table = object.address(table);
        if !object.maps(table, len) {
            continue;
        }
        for i in 0..len / size_of::<Relocation>() {
            // SAFETY: inside of the table, which is mapped.
            let relocation = unsafe { (table as *const Relocation).add(i).read_unaligned() };
            let symbol = (relocation.info >> 32) as u32;
            if ADDRESSES.contains(&(relocation.info as u32)) && tables.names(symbol, name) {
                show(object.base.wrapping_add(relocation.offset));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::object_at;
    use super::*;

    #[test]
    fn a_slot_holds_the_functions_address() {
        let here = a_slot_holds_the_functions_address as *const () as usize;
        let found = object_at(here, |object| {
            let mut found = Vec::new();
            slots(object, b"__errno_location", |at| found.push(at));
            found
        })
        .expect("this program");
        assert!(!found.is_empty());
        for slot in found {
            // SAFETY: a slot of this program, which is bound at its start.
            let address = unsafe { *(slot as *const usize) };
            assert_eq!(address, libc::__errno_location as *const () as usize);
        }
        object_at(here, |object| {
            slots(object, b"hipMalloc", |_| panic!("not imported"))
        });
    }
}
