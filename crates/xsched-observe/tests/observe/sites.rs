//! Sites for probes in a real shared library, whole and damaged.

use xsched_observe::ProbeSet;
use xsched_observe::site::{self, FirstInstruction};
use xsched_testkit::callers::Fixture;

#[test]
fn sites_follow_the_first_instruction() {
    let fixture = Fixture::build();
    let image = std::fs::read(fixture.path().join("libamdhip64.so.5")).expect("runtime");
    let sites = site::sites(image.as_slice(), ProbeSet::Work).expect("sites");
    let at = |symbol: &str| {
        let (api, _) = xsched_common::platform::entry_point(symbol).expect("in the table");
        *sites.iter().find(|s| s.api == api).expect("a site")
    };
    let code = |offset: u64| &image[offset as usize..];
    let launch = at("hipLaunchKernel");
    assert_eq!(launch.first, FirstInstruction::Endbr64);
    assert_eq!(code(launch.offset - 4)[..4], [0xf3, 0x0f, 0x1e, 0xfa]);
    let module = at("hipModuleLaunchKernel");
    assert_eq!(module.first, FirstInstruction::Push);
    assert_eq!(code(module.offset)[0], 0x55);
    let ext = at("hipExtLaunchKernel");
    assert_eq!(ext.first, FirstInstruction::Nop5);
    assert_eq!(
        code(ext.offset - 5)[..5],
        [0x0f, 0x1f, 0x44, 0x00, 0x00],
        "behind the NOP: a probe on it would kill forked children"
    );
    assert_eq!(sites.len(), 8);
    let launches = site::sites(image.as_slice(), ProbeSet::Launches).expect("sites");
    assert_eq!(launches.len(), 4);
    assert!(site::sites(&image[..100], ProbeSet::Work).is_err());
}

#[test]
fn damaged_images_never_panic() {
    let fixture = Fixture::build();
    let image = std::fs::read(fixture.path().join("libamdhip64.so.5")).expect("runtime");
    // A small generator: the same damage on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut readable = 0;
    for _ in 0..3_000 {
        let mut damaged = image.clone();
        if random() % 4 == 0 {
            damaged.truncate(random() as usize % image.len());
        }
        for _ in 0..1 + random() % 8 {
            // Headers and tables are where the offsets are.
            let place = random() as usize % damaged.len().clamp(1, 4096);
            let Some(byte) = damaged.get_mut(place) else {
                continue;
            };
            *byte = random() as u8;
        }
        if let Ok(sites) = site::sites(damaged.as_slice(), ProbeSet::Work) {
            readable += 1;
            for site in sites {
                assert!(site.offset < damaged.len() as u64 + 4);
            }
        }
    }
    assert!(readable > 100, "the damage must leave some files readable");
}
