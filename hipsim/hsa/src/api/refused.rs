//! What is not simulated: each call fails with a status that the real library could give, or says what is missing.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::abi::exports::NAMES;
use crate::abi::status::Status;

/// Body of functions that no known HIP runtime calls. The entry passes its index.
pub unsafe extern "C" fn missing(index: u32) -> Status {
    static SAID: [AtomicBool; NAMES.len()] = [const { AtomicBool::new(false) }; NAMES.len()];
    let index = index as usize % NAMES.len();
    let name = NAMES[index];
    let tells = tells_status(name);
    if !SAID[index].swap(true, Relaxed) {
        let what = match tells {
            true => "It returns HSA_STATUS_ERROR_NOT_SUPPORTED",
            // Any number would be believed.
            false => "It has no way to say so to the program, which ends here",
        };
        eprintln!(
            "hsasim: {name} is not simulated: no HIP runtime known here (6.4.3, 7.2.4) calls it. {what}; \
             run this program with one of those runtimes, or on a GPU."
        );
    }
    if !tells {
        std::process::abort();
    }
    Status::NOT_SUPPORTED
}

/// Whether a function returns a status: those of values and indices return these, or nothing.
fn tells_status(name: &str) -> bool {
    let begins = |prefix: &str, verbs: &[&str]| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| verbs.iter().any(|verb| rest.starts_with(verb)))
    };
    let of_signal =
        begins("hsa_signal_", &[""]) && !begins("hsa_signal_", &["create", "destroy", "group_"]);
    let of_queue = begins("hsa_queue_", &["add_", "cas_", "load_", "store_"]);
    !of_signal && !of_queue && !begins("hsa_amd_signal_wait_", &[""])
}

/// Body of the image functions: the device says that it has no images, as gfx942 does.
pub unsafe extern "C" fn image() -> Status {
    Status::IMAGE_FORMAT_UNSUPPORTED
}

/// Body of functions for neighbours that are not here: graphics, files, other drivers.
pub unsafe extern "C" fn unsupported() -> Status {
    Status::NOT_SUPPORTED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_values_return_no_status() {
        for name in [
            "hsa_signal_cas_relaxed",
            "hsa_signal_xor_release",
            "hsa_queue_cas_write_index_relaxed",
            "hsa_queue_store_read_index_release",
            "hsa_amd_signal_wait_any",
        ] {
            assert!(!tells_status(name), "{name}");
        }
        for name in [
            "hsa_signal_group_create",
            "hsa_queue_inactivate",
            "hsa_region_get_info",
            "hsa_amd_queue_cu_get_mask",
        ] {
            assert!(tells_status(name), "{name}");
        }
        assert!(NAMES.contains(&"hsa_region_get_info"));
    }
}
