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
//! A platform's exports jump here, with their index in r11, which belongs to
//! nobody between a call and its function (System V psABI 3.2.1). On entry the
//! stack pointer is 8 below a multiple of 16 (psABI 3.2.2); seven pushes align
//! it for the call. Vector registers are not saved: no hooked or gated function
//! takes floating-point arguments.

use std::arch::naked_asm;

use super::{Runtime, commands, forward, hooks};

macro_rules! save_arguments {
    () => {
        "    .cfi_startproc
    push rdi
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
    mov rdi, rsp
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
    .cfi_endproc
"
    };
}

/// Where exports go that are gated.
///
/// # Safety
/// By an export's trampoline only.
#[unsafe(naked)]
pub unsafe extern "C-unwind" fn command<R: Runtime>() {
    naked_asm!(
        save_arguments!(),
        "    call {admit}",
        restore_and_jump!(),
        admit = sym commands::admit::<R>,
    )
}

/// Where exports go that only lead on.
///
/// # Safety
/// By an export's trampoline only.
#[unsafe(naked)]
pub unsafe extern "C-unwind" fn forward<R: Runtime>() {
    naked_asm!(
        save_arguments!(),
        "    call {target}",
        restore_and_jump!(),
        target = sym forward::target::<R>,
    )
}

/// Where exports go that are called, because their results tell something.
///
/// # Safety
/// By an export's trampoline only.
#[unsafe(naked)]
pub unsafe extern "C-unwind" fn hook<R: Runtime>() {
    naked_asm!(
        save_arguments!(),
        "    call {hook}",
        "    add rsp, 56",
        "    .cfi_adjust_cfa_offset -56",
        "    ret",
        "    .cfi_endproc",
        hook = sym hooks::call::<R>,
    )
}
