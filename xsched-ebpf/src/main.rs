//! BPF programs that count calls of the HIP runtime.
//!
//! Uprobe programs for function entries on x86-64: `runtime_call` sits on the
//! runtime's functions and counts; `record_call` takes its place while a
//! trace is recorded and reports every call. `shim_call` sits on a shim's
//! exports and only leaves a note by which the runtime's probe recognises
//! calls that came through the shim. Their `_return` twins sit on the few
//! functions that wait for the device. What a probe must know about its
//! function travels in the attachment's cookie, so one program serves all.
//! `process_exec` and `process_exit` tell of processes that come and go.
//!
//! Built by `cargo xtask build-ebpf`; on the host this is a program that says
//! so, which keeps it a member of the workspace.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod bursts;
#[cfg(target_arch = "bpf")]
mod counts;
#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
mod lifecycle;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod recording;
#[cfg(target_arch = "bpf")]
mod route;
#[cfg(target_arch = "bpf")]
mod runtime_call;
#[cfg(target_arch = "bpf")]
mod shim_call;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    println!("BPF programs: built by `cargo xtask build-ebpf`, loaded by xsched-agent");
}

/// The kernel offers `bpf_probe_read_user` and attach cookies only to
/// programs under a GPL-compatible licence.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Nothing here can panic: the verifier refuses a program that reaches this.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
