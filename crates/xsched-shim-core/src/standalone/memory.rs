//! memcpy and its like, which compilers call unasked. A sanitizer has its own,
//! which must be prepared first; and the right one is chosen by the dynamic
//! linker (IFUNC), after a library's constructor may have called it. Nothing
//! that the shim does often moves many bytes.

/// Defines them under their C names.
#[doc(hidden)]
#[macro_export]
macro_rules! __memory {
    () => {
        $crate::__c_function!("memcpy", "mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret");

        // Backwards where the places overlap and the second lies higher.
        $crate::__c_function!(
            "memmove",
            "mov rax, rdi",
            "mov rcx, rdx",
            "mov r8, rdi",
            "sub r8, rsi",
            "cmp r8, rdx",
            "jb 2f",
            "rep movsb",
            "ret",
            "2:",
            "lea rdi, [rdi + rdx - 1]",
            "lea rsi, [rsi + rdx - 1]",
            "std",
            "rep movsb",
            "cld",
            "ret",
        );

        $crate::__c_function!(
            "memset",
            "mov r8, rdi",
            "mov eax, esi",
            "mov rcx, rdx",
            "rep stosb",
            "mov rax, r8",
            "ret",
        );

        $crate::__c_function!(
            "memcmp",
            "xor ecx, ecx",
            "2:",
            "cmp rcx, rdx",
            "je 3f",
            "movzx eax, byte ptr [rdi + rcx]",
            "movzx r8d, byte ptr [rsi + rcx]",
            "inc rcx",
            "sub eax, r8d",
            "je 2b",
            "ret",
            "3:",
            "xor eax, eax",
            "ret",
        );

        $crate::__c_function!("bcmp", "jmp memcmp");

        $crate::__c_function!(
            "strlen",
            "xor eax, eax",
            "2:",
            "cmp byte ptr [rdi + rax], 0",
            "je 3f",
            "inc rax",
            "jmp 2b",
            "3:",
            "ret",
        );
    };
}

/// A function in assembly, for this library only.
#[doc(hidden)]
#[macro_export]
macro_rules! __c_function {
    ($name:literal, $($line:literal),* $(,)?) => {
        ::std::arch::global_asm!(
            concat!("    .globl ", $name),
            concat!("    .hidden ", $name),
            concat!("    .type ", $name, ", @function"),
            "    .p2align 4",
            concat!($name, ":"),
            "    .cfi_startproc",
            $($line,)*
            "    .cfi_endproc",
            concat!("    .size ", $name, ", . - ", $name),
        );
    };
}
