//! The libraries seen so far: one number each, the same in every status page.

use std::sync::atomic::{AtomicU32, Ordering::Acquire, Ordering::Release};

use xsched_common::page::{CALLER_NAME_LEN, CALLER_SLOTS, CallerSlot, StatusPage};

/// The slot of all libraries beyond the page's room.
pub const OTHERS: usize = CALLER_SLOTS - 1;
/// Second slots are among so many, that the names of libraries keep theirs.
const SECONDS: usize = CALLER_SLOTS / 2;
const MAX_SPINS: u32 = 10_000;

/// Uses the page's own slots as a private table: claimed once, read by all.
pub struct Registry {
    slots: [CallerSlot; CALLER_SLOTS],
    /// Held by the thread that adds; others use "(others)" meanwhile.
    adding: AtomicU32,
}

impl Registry {
    pub const fn new() -> Registry {
        Registry {
            slots: [const { CallerSlot::new() }; CALLER_SLOTS],
            adding: AtomicU32::new(0),
        }
    }

    /// The slot of the library with this file name, a new one if need be, which
    /// `page` is told of.
    pub fn slot_of(&self, name: &[u8], page: Option<&StatusPage>) -> u16 {
        let kept = &name[name.len().saturating_sub(CALLER_NAME_LEN)..];
        self.nth_of(0, kept, page)
    }

    /// The second slot of the library that has this one; "(others)" where there
    /// is no name or no room.
    pub fn second_of(&self, first: usize, page: &StatusPage) -> u16 {
        let mut buffer = [0; CALLER_NAME_LEN];
        let named = self
            .slots
            .get(first)
            .and_then(|slot| slot.name(&mut buffer));
        named.map_or(OTHERS as u16, |name| self.nth_of(1, name, Some(page)))
    }

    fn nth_of(&self, n: usize, name: &[u8], page: Option<&StatusPage>) -> u16 {
        if let Some(slot) = self.existing(n, name) {
            return slot;
        }
        // Bounded, because a fork may have caught another thread in here.
        if !(0..MAX_SPINS).any(|_| self.try_lock()) {
            return OTHERS as u16;
        }
        let slot = self.existing(n, name).unwrap_or_else(|| {
            self.slots
                .iter()
                .take(if n == 0 { OTHERS } else { SECONDS })
                .position(|slot| slot.claim(name))
                .unwrap_or(OTHERS) as u16
        });
        self.adding.store(0, Release);
        if let Some(page) = page {
            self.publish(page);
        }
        slot
    }

    fn try_lock(&self) -> bool {
        std::hint::spin_loop();
        self.adding.compare_exchange(0, 1, Acquire, Acquire).is_ok()
    }

    /// The slot that is the `n`th with this name.
    fn existing(&self, n: usize, name: &[u8]) -> Option<u16> {
        let mut buffer = [0; CALLER_NAME_LEN];
        let slots = self.slots.iter().take(OTHERS).enumerate();
        let mut same = slots.filter(|(_, slot)| slot.name(&mut buffer) == Some(name));
        same.nth(n).map(|(i, _)| i as u16)
    }

    /// The name in a slot, unless it may be the end of a longer one.
    pub fn whole_name<'b>(
        &self,
        slot: u32,
        buffer: &'b mut [u8; CALLER_NAME_LEN],
    ) -> Option<&'b [u8]> {
        let slot = self.slots.get(slot as usize)?;
        let name = slot.name(buffer)?;
        (name.len() < CALLER_NAME_LEN).then_some(name)
    }

    /// Names the slots of `page` that are not yet named.
    pub fn publish(&self, page: &StatusPage) {
        let mut buffer = [0; CALLER_NAME_LEN];
        for (to, from) in page.callers.iter().zip(&self.slots).take(OTHERS) {
            if let Some(name) = from.name(&mut buffer) {
                to.claim(name);
            }
        }
        page.callers[OTHERS].claim(b"(others)");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_beyond_the_room_share_a_slot() {
        let registry = Registry::new();
        for i in 0..100 {
            let name = format!("lib{i}.so");
            let slot = usize::from(registry.slot_of(name.as_bytes(), None));
            assert_eq!(slot, i.min(OTHERS));
            assert_eq!(usize::from(registry.slot_of(name.as_bytes(), None)), slot);
        }
    }

    #[test]
    fn a_library_has_two_slots_with_its_name_while_there_is_room() {
        let (registry, page) = (Registry::new(), StatusPage::new());
        let first = usize::from(registry.slot_of(b"liba.so", Some(&page)));
        let second = usize::from(registry.second_of(first, &page));
        assert_ne!(first, second);
        assert_eq!(usize::from(registry.second_of(first, &page)), second);
        assert_eq!(usize::from(registry.slot_of(b"liba.so", None)), first);
        let mut buffer = [0; CALLER_NAME_LEN];
        for slot in [first, second] {
            assert_eq!(page.callers[slot].name(&mut buffer), Some(&b"liba.so"[..]));
        }
        for i in 0..CALLER_SLOTS {
            registry.slot_of(format!("lib{i}.so").as_bytes(), None);
        }
        assert_eq!(usize::from(registry.second_of(2, &page)), OTHERS);
        assert_eq!(usize::from(registry.second_of(OTHERS, &page)), OTHERS);
    }

    #[test]
    fn a_name_is_whole_if_nothing_can_be_missing() {
        let registry = Registry::new();
        let long = [b'x'; CALLER_NAME_LEN];
        let mut buffer = [0; CALLER_NAME_LEN];
        let mut kept = |name: &[u8]| {
            let slot = u32::from(registry.slot_of(name, None));
            registry.whole_name(slot, &mut buffer).map(<[u8]>::to_vec)
        };
        assert_eq!(kept(b"serve"), Some(b"serve".to_vec()));
        assert_eq!(kept(&long), None);
        assert_eq!(
            registry.whole_name(u32::MAX, &mut [0; CALLER_NAME_LEN]),
            None
        );
        assert_eq!(
            registry.whole_name(OTHERS as u32, &mut [0; CALLER_NAME_LEN]),
            None
        );
    }
}
