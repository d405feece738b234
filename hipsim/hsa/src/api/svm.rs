//! Shared virtual memory: attributes of ranges, which are kept and told, and prefetches, which move nothing.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use super::agents;
use super::copies;
use crate::abi::call::{api, list};
use crate::abi::status::Status;
use crate::abi::types::{AgentHandle, AttributePair, SignalHandle};
use crate::machine::signal::{Signal, all_of};

/// Attributes that say how an agent reaches a range, and the question for that.
const ACCESSIBLE: u64 = 0x200;
const NO_ACCESS: u64 = 0x202;
const QUERY: u64 = 0x203;
/// `HSA_AMD_SVM_ATTRIB_PREFETCH_LOCATION`.
const PREFETCHED: u64 = 5;

#[derive(Clone, Copy)]
struct Setting {
    start: usize,
    end: usize,
    attribute: u64,
    value: u64,
}

static SETTINGS: Mutex<Vec<Setting>> = Mutex::new(Vec::new());

fn note(start: usize, size: usize, attribute: u64, value: u64) {
    let mut settings = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let end = start.saturating_add(size);
    // Access is a setting for each agent; the others replace what they cover.
    let is_access = |attribute| (ACCESSIBLE..=NO_ACCESS).contains(&attribute);
    settings.retain(|old| {
        let same = match is_access(attribute) {
            true => is_access(old.attribute) && old.value == value,
            false => old.attribute == attribute,
        };
        !(same && old.start >= start && old.end <= end)
    });
    settings.push(Setting {
        start,
        end,
        attribute,
        value,
    });
}

fn find(at: usize, fits: impl Fn(&Setting) -> bool) -> Option<Setting> {
    let settings = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = settings
        .iter()
        .rev()
        .filter(|old| old.start <= at && at < old.end);
    found.find(|old| fits(old)).copied()
}

api! {
    /// `hsa_amd_svm_attributes_set`.
    fn set(at: *mut c_void, size: usize, pairs: *const AttributePair, count: usize) {
        for pair in list(pairs, count) {
            note(at as usize, size, pair.attribute, pair.value);
        }
        Ok(())
    }

    /// `hsa_amd_svm_attributes_get`: of the range's first byte.
    fn get(at: *mut c_void, _size: usize, pairs: *mut AttributePair, count: usize) {
        if pairs.is_null() && count > 0 {
            return Err(Status::INVALID_ARGUMENT);
        }
        for index in 0..count {
            let pair = &mut *pairs.add(index);
            if pair.attribute == QUERY {
                let access = find(at as usize, |old| {
                    (ACCESSIBLE..=NO_ACCESS).contains(&old.attribute) && old.value == pair.value
                });
                pair.attribute = access.map_or(NO_ACCESS, |old| old.attribute);
                continue;
            }
            let set = find(at as usize, |old| old.attribute == pair.attribute);
            // Never set is zero: no agent, no flag.
            pair.value = set.map_or(0, |set| set.value);
        }
        Ok(())
    }

    /// `hsa_amd_svm_prefetch_async`.
    fn prefetch(
        at: *mut c_void, size: usize, agent: AgentHandle, count: u32, dependencies: *const SignalHandle,
        completion: SignalHandle,
    ) {
        if at.is_null() || size == 0 {
            return Err(Status::INVALID_ARGUMENT);
        }
        note(at as usize, size, PREFETCHED, agent.0);
        let dependencies = all_of(list(dependencies, count as usize));
        copies::nothing(agents::gpu(agent).unwrap_or(0), dependencies, Signal::of(completion))
    }
}
