//! The assembly between a caller and the runtime.
//!
//! A command's trampoline saves the argument registers, asks `admit` and
//! then *jumps* to the runtime: it enters with exactly the caller's
//! registers, stack and return address, whatever its prototype. So the shim
//! cannot change a call, and whoever looks at the stack (the runtime,
//! a profiler, a probe) sees the program and not us. A hook's trampoline
//! calls, because it has something to learn from the result; its functions
//! take no stack arguments.
//!
//! On entry the stack pointer is 8 below a multiple of 16 (psABI 3.2.2);
//! seven pushes align it for the call. Vector registers are not saved: no
//! hooked or gated function takes floating-point arguments.

use std::arch::global_asm;

use super::{commands, forward, hooks};

macro_rules! save_arguments {
    () => {
        "    push rdi
    .cfi_adjust_cfa_offset 8
    push rsi
    .cfi_adjust_cfa_offset 8
    push rdx
    .cfi_adjust_cfa_offset 8
    push rcx
    .cfi_adjust_cfa_offset 8
    push r8
    .cfi_adjust_cfa_offset 8
    push r9
    .cfi_adjust_cfa_offset 8
    push r11
    .cfi_adjust_cfa_offset 8
"
    };
}

macro_rules! restore_and_jump {
    () => {
        "    pop r11
    .cfi_adjust_cfa_offset -8
    pop r9
    .cfi_adjust_cfa_offset -8
    pop r8
    .cfi_adjust_cfa_offset -8
    pop rcx
    .cfi_adjust_cfa_offset -8
    pop rdx
    .cfi_adjust_cfa_offset -8
    pop rsi
    .cfi_adjust_cfa_offset -8
    pop rdi
    .cfi_adjust_cfa_offset -8
    jmp rax
"
    };
}

global_asm!(
    "    .section .text.xsched_bodies,\"ax\",@progbits",
    "    .p2align 4",
    "xsched_command_body:",
    "    .cfi_startproc",
    save_arguments!(),
    "    mov rdi, rsp",
    "    call {admit}",
    restore_and_jump!(),
    "    .cfi_endproc",
    "    .p2align 4",
    "xsched_forward_body:",
    "    .cfi_startproc",
    save_arguments!(),
    "    mov rdi, rsp",
    "    call {target}",
    restore_and_jump!(),
    "    .cfi_endproc",
    "    .p2align 4",
    "xsched_hook_body:",
    "    .cfi_startproc",
    save_arguments!(),
    "    mov rdi, rsp",
    "    call {hook}",
    "    add rsp, 56",
    "    .cfi_adjust_cfa_offset -56",
    "    ret",
    "    .cfi_endproc",
    include_str!(concat!(env!("OUT_DIR"), "/trampolines.s")),
    admit = sym commands::admit,
    target = sym forward::target,
    hook = sym hooks::call,
);
