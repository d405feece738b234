//! The devices of the machine: which of them a process sees, and where their files are.

use std::path::PathBuf;

use crate::options;

/// Most devices of a machine: handles of the faces have room for this many.
pub const MAX_DEVICES: usize = 8;

/// The file that the processes on the device at this place share.
pub fn path(place: usize) -> PathBuf {
    let mut path = options::get().device.clone().into_os_string();
    if place > 0 {
        path.push(format!(".{place}"));
    }
    path.into()
}

/// Places of the devices that this process sees, in its order. Each variable named selects from what the one before left; of
/// several in one entry, with `|` between them, the first that is set counts.
pub fn visible(variables: &[&str]) -> Vec<usize> {
    let devices = (0..options::get().devices).collect();
    variables.iter().fold(devices, |devices, names| {
        let mut set = names.split('|').filter_map(|name| std::env::var(name).ok());
        match set.next() {
            Some(list) => select(&devices, &list),
            None => devices,
        }
    })
}

/// The devices that a list of numbers names, in its order. The first number that names none ends it, as with the real
/// runtime.
fn select(devices: &[usize], list: &str) -> Vec<usize> {
    let mut selected = Vec::new();
    for number in list.split(',') {
        // A part of a device, which CUDA shows as the only one: here the first's.
        if number.trim().starts_with("MIG-") && selected.is_empty() {
            return devices.iter().take(1).copied().collect();
        }
        let device = number.trim().parse::<usize>().ok();
        match device.and_then(|number| devices.get(number)) {
            Some(device) if !selected.contains(device) => selected.push(*device),
            _ => break,
        }
    }
    selected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_devices_renumber_and_end_at_the_first_bad_number() {
        assert_eq!(select(&[0, 1, 2], "2,0"), [2, 0]);
        assert_eq!(select(&[0, 1, 2], "1,7,0"), [1]);
        assert_eq!(select(&[2, 0], "1"), [0]);
        assert_eq!(select(&[0, 1], "1,1"), [1]);
        assert!(select(&[0, 1], "").is_empty());
        assert!(select(&[0, 1], "-1").is_empty());
    }
}
