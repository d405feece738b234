//! Whether this machine can observe: asked of the kernel by doing it.

use std::arch::global_asm;
use std::fs::File;
use std::hint::black_box;

use xsched_common::platform::names::Names;
use xsched_common::platform::{Platform, entry_point};
use xsched_common::units::Nanos;
use xsched_host::clock::monotonic;
use xsched_host::process;

use super::attach::Programs;
use super::compat::{Kernel, Returns};
use super::counts::Maps;
use super::images::ImageKind;
use super::plan::{LinkKind, Purpose, Scope};
use super::site::{FirstInstruction, Site};
use super::unavailable::Unavailable;

// What the probe of the self-test sits on. It begins with `push` because the
// functions that are observed do (or with something the kernel emulates as
// well, see `site`): most other instructions cost ten times as much.
global_asm!(
    ".p2align 4",
    ".globl xsched_agent_probed",
    ".hidden xsched_agent_probed",
    ".type xsched_agent_probed, @function",
    "xsched_agent_probed:",
    "push rbp",
    "lea rax, [rdi + 1]",
    "pop rbp",
    "ret",
    // The same for comparison.
    ".p2align 4",
    ".globl xsched_agent_unprobed",
    ".hidden xsched_agent_unprobed",
    ".type xsched_agent_unprobed, @function",
    "xsched_agent_unprobed:",
    "push rbp",
    "lea rax, [rdi + 1]",
    "pop rbp",
    "ret",
);

unsafe extern "C" {
    #[link_name = "xsched_agent_probed"]
    safe fn probed(argument: u64) -> u64;
    #[link_name = "xsched_agent_unprobed"]
    safe fn unprobed(argument: u64) -> u64;
}

/// Calls that are timed to learn what a probe costs, one by one.
const TIMED_CALLS: usize = 400;

/// What a program does between two launches takes the kernel's and the
/// probe's lines out of the caches: so much memory is touched between two
/// timed calls. Calls right after each other cost a third less than those of
/// a program that launches 10,000 kernels a second.
const TOUCHED: usize = 512 << 10;
const CACHE_LINE: usize = 64;

/// Whose functions stand for all in what a probe costs.
static MEASURED: &Names = Platform::ALL[0].names();

/// Loads the programs, probes a function of this very program, calls it, and
/// looks whether that was counted.
///
/// # Errors
/// What is missing, with the next step.
pub fn probe_support() -> Result<(), Unavailable> {
    with_probe(MEASURED.launch, Returns::Leave, |maps| {
        black_box(probed(black_box(1)));
        match maps.events() {
            Ok(0) => Err(Unavailable::NeverFires),
            Ok(_) => Ok(()),
            Err(error) => Err(broken(error.to_string())),
        }
    })
}

/// What probes add to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeCost {
    /// One at its entry.
    pub entry: Nanos,
    /// Those of a wait: at its entry and, where returns are probed, at its
    /// return.
    pub wait: Nanos,
}

/// What probes add to a call on this machine: the median of single calls of a
/// probed function of this very program, with cold caches.
///
/// # Errors
/// What is missing, with the next step.
pub fn probe_cost(returns: Returns) -> Result<ProbeCost, Unavailable> {
    let of = |symbol| {
        with_probe(symbol, returns, |_| {
            let mut memory = vec![1u8; TOUCHED];
            let timed = |memory: &mut [u8], call: &dyn Fn()| {
                let mut times: Vec<Nanos> = (0..TIMED_CALLS)
                    .map(|_| {
                        memory
                            .iter_mut()
                            .step_by(CACHE_LINE)
                            .for_each(|byte| *byte ^= 1);
                        black_box(&memory);
                        let start = monotonic();
                        call();
                        monotonic().since(start)
                    })
                    .collect();
                times.sort_unstable();
                times[TIMED_CALLS / 2]
            };
            let nothing = timed(&mut memory, &|| {
                black_box(unprobed(black_box(1)));
            });
            let call = timed(&mut memory, &|| {
                black_box(probed(black_box(1)));
            });
            Ok(call.since(nothing))
        })
    };
    let entry = of(MEASURED.launch)?;
    Ok(ProbeCost {
        entry,
        wait: match Kernel::running().returns(returns) {
            Returns::Leave => entry,
            Returns::OfWaits => of(MEASURED.wait)?,
        },
    })
}

fn broken(why: String) -> Unavailable {
    Unavailable::Kernel {
        what: "examine this program itself",
        why,
    }
}

/// Runs `then` while [`probed`] carries the probes of the function `symbol`.
fn with_probe<T>(
    symbol: &str,
    returns: Returns,
    then: impl FnOnce(&Maps) -> Result<T, Unavailable>,
) -> Result<T, Unavailable> {
    let (mut programs, maps) = Programs::load(
        64,
        LinkKind::Best,
        Purpose::Count,
        returns,
        Kernel::running(),
    )?;
    let (api, _) = entry_point(symbol).expect("in the table");
    let pid = std::process::id();
    let address = probed as *const () as u64;
    let mapping = process::maps(pid)
        .map_err(|e| broken(e.to_string()))?
        .into_iter()
        .find(|mapping| mapping.range.contains(&address))
        .ok_or_else(|| broken("its code is not mapped".to_owned()))?;
    let own = File::open("/proc/self/exe").map_err(|e| broken(e.to_string()))?;
    let site = Site {
        api,
        offset: mapping.offset + (address - mapping.range.start),
        first: FirstInstruction::Other,
    };
    let mut probes = programs.attach(ImageKind::Runtime, &own, &[site], Scope::Pid(pid));
    if let Some((_, error)) = probes.failed.pop() {
        return Err(error);
    }
    then(&maps)
}
