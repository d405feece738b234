//! What a launch costs more under the shim, gate open and native.

use crate::support;

use support::agent::Agent;
use support::{Preload, program, release_shim, stdout_of};

/// Added nanoseconds per launch: through the shim less straight. A tool that
/// probes the shim meanwhile (an agent's observer, say) multiplies them, so
/// such a run is repeated.
fn added(run_dir: &std::path::Path) -> f64 {
    for _ in 0..20 {
        let mut bench = program("bench", Preload::Shim, run_dir);
        let out = stdout_of(bench.env("LD_PRELOAD", release_shim()));
        let words: Vec<_> = out.split_whitespace().collect();
        let [gated, straight, probed] = words[..] else {
            panic!("not a measurement: {out}");
        };
        let number = |word: &str| word.parse::<f64>().expect("nanoseconds");
        if probed == "clean" {
            return number(gated) - number(straight);
        }
        eprintln!("something probes the shim: measuring again");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    panic!(
        "something on this machine probes {}: stop it",
        release_shim().display()
    );
}

#[test]
fn a_launch_costs_little_more() {
    let _alone = crate::alone();
    let agent = Agent::start();
    let nowhere = tempfile::tempdir().expect("a directory");
    let mut open: Vec<_> = (0..5).map(|_| added(agent.dir())).collect();
    let mut native: Vec<_> = (0..5).map(|_| added(nowhere.path())).collect();
    open.sort_by(f64::total_cmp);
    native.sort_by(f64::total_cmp);
    eprintln!(
        "added per launch: open {:.1} ns, native {:.1} ns",
        open[2], native[2]
    );
    // 9 ns on a machine that does nothing else: `cargo xtask bench gate` has that bound.
    let bound = 50.0;
    assert!(open[2] < bound, "{open:?}");
    assert!(native[2] < bound, "{native:?}");
    assert!(agent.joined() >= 5);
}
