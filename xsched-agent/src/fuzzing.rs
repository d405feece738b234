//! The doors that hostile bytes come in by, for the fuzz targets
//! (`xsched-agent/fuzz`) and for the property tests below, which run the same
//! functions in the normal suite.

pub use crate::control::fuzzing::{Scribblers, hello};
use crate::model::page_reader::PageReader;

/// Everything that reads a client's status page, over several writes.
///
/// The bytes are taken 64 at a time: who writes, where, how much time
/// passes, and what.
pub fn pages(bytes: &[u8]) {
    let mut scribblers = Scribblers::default();
    let mut readers: Vec<PageReader> = scribblers.shared().map(|_| PageReader::default()).collect();
    for write in bytes.chunks(64) {
        scribblers.write(write);
        for (client, reader) in scribblers.shared().zip(&mut readers) {
            let change = reader.read(&client.status);
            for name in change.callers.keys() {
                assert!(!name.chars().any(char::is_control));
            }
        }
    }
}

/// One line of the API: a request, or refused; and what is a request survives
/// being sent on (`xsched-agent proxy` does that).
pub fn request(line: &[u8]) {
    use xsched_common::api::Request;
    let Ok(request) = serde_json::from_slice::<Request>(line) else {
        return;
    };
    let again = serde_json::to_vec(&request).expect("requests serialise");
    let again: Request = serde_json::from_slice(&again).expect("and are read again");
    assert_eq!(again, request);
}

#[cfg(test)]
mod tests {
    use std::ptr;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use proptest::prelude::*;
    use xsched_common::page::StatusPage;
    use xsched_common::units::PciAddress;

    /// Objects that look like requests, with values that need not fit.
    fn like_a_request() -> impl Strategy<Value = String> {
        let op = prop::sample::select(vec![
            "list", "watch", "set", "unset", "boost", "suspend", "resume", "explain", "reload",
            "set_mode", "history", "diagnose", "hello", "fly",
        ]);
        let key = prop::sample::select(vec![
            "pid",
            "class",
            "weight",
            "slo_p99_ns",
            "interval_ms",
            "duration_ms",
            "device",
            "mode",
        ]);
        let value = prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            any::<f64>().prop_map(|x| format!("{x:e}")),
            prop::sample::select(vec!["null", "\"low\"", "\"priority\"", "[]", "{}", "true"])
                .prop_map(str::to_owned),
        ];
        (op, prop::collection::vec((key, value), 0..5)).prop_map(|(op, fields)| {
            let fields: String = fields
                .iter()
                .map(|(k, v)| format!(",\"{k}\":{v}"))
                .collect();
            format!("{{\"op\":\"{op}\"{fields}}}")
        })
    }

    /// What writes all of `page` into the first client's.
    fn writes_of(page: &StatusPage) -> Vec<u8> {
        // SAFETY: a page has no padding that is not initialised, and nobody
        // writes to this one.
        let bytes = unsafe {
            std::slice::from_raw_parts(ptr::from_ref(page).cast::<u8>(), size_of::<StatusPage>())
        };
        let mut writes = Vec::new();
        for (part, at) in bytes.chunks(60).zip((0u16..).step_by(60)) {
            writes.push(0);
            writes.extend(at.to_le_bytes());
            writes.push(20);
            writes.extend(part);
        }
        writes
    }

    /// Partitions of a device may share its address, and a hostile page may
    /// say so of all: each client counts once on every device.
    #[test]
    fn two_devices_of_one_address_are_told_apart() {
        let page = StatusPage::new();
        page.device_count.store(2, Relaxed);
        for device in &page.devices[..2] {
            device.set_pci(PciAddress {
                bus: 0xc1,
                ..PciAddress::default()
            });
            device.set_active();
        }
        pages(&writes_of(&page));
    }

    proptest! {
        #[test]
        fn any_packet_is_a_hello_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            hello(&bytes);
        }

        #[test]
        fn a_hello_of_any_numbers_is_judged(
            major in 0u16..3, minor: u16, pid: u32, control in 0u32..8192, status in 0u32..32768,
        ) {
            let mut said = xsched_common::handshake::Hello::new(pid);
            said.abi = xsched_common::Abi { major, minor };
            (said.control_size, said.status_size) = (control, status);
            hello(&said.encode());
        }

        #[test]
        fn any_line_is_a_request_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            request(&bytes);
        }

        #[test]
        fn nearly_requests_are_too(line in like_a_request()) {
            request(line.as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_page_is_read(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            pages(&bytes);
        }

        /// Where the numbers are that decisions are made of.
        #[test]
        fn any_device_is_read(
            writes in prop::collection::vec((any::<u8>(), 0u16..200, any::<u8>(), any::<[u64; 7]>()), 1..40),
        ) {
            let mut bytes = Vec::new();
            for (which, at, time, words) in writes {
                bytes.push(which);
                bytes.extend((at / 8 * 8).to_le_bytes());
                bytes.push(time);
                bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()).chain([0; 4]));
            }
            pages(&bytes);
        }
    }
}
