//! What the registers and the stack say at a function's first instruction
//! (System V x86-64).

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::pt_regs;
use aya_ebpf::helpers::{bpf_get_attach_cookie, bpf_probe_read_user};
use aya_ebpf::programs::ProbeContext;
use xsched_common::bpf::Cookie;
use xsched_common::platform::{ArgumentAt, Register};

/// User memory could not be read: it is paged out or the pointer is bad.
pub struct Unreadable;

/// What the attachment says about the probed function.
#[inline(always)]
pub fn cookie(ctx: &impl EbpfContext) -> Cookie {
    // SAFETY: the context is the one that the kernel called us with.
    Cookie::unpack(unsafe { bpf_get_attach_cookie(ctx.as_ptr()) })
}

/// A word of the process's memory.
#[inline(always)]
pub fn read_user(address: u64) -> Result<u64, Unreadable> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_user(address as *const u64) }.map_err(|_| Unreadable)
}

/// Of the probed instruction.
#[inline(always)]
pub fn address(ctx: &ProbeContext) -> u64 {
    let regs: *const pt_regs = ctx.regs;
    // SAFETY: the kernel passes a valid `pt_regs`.
    unsafe { (&raw const (*regs).rip).read_volatile() }
}

/// The integer argument registers and the stack pointer.
pub struct Arguments {
    pub stack_pointer: u64,
    rdi: u64,
    rsi: u64,
    rdx: u64,
    rcx: u64,
    r8: u64,
    r9: u64,
}

impl Arguments {
    /// Reads all of them at once. The verifier allows the context to be read
    /// at constant offsets only; volatile loads keep LLVM from turning the
    /// choice of a register into a computed offset.
    #[inline(always)]
    pub fn of(ctx: &ProbeContext) -> Arguments {
        let regs: *const pt_regs = ctx.regs;
        // SAFETY: the kernel passes a valid `pt_regs`.
        unsafe {
            Arguments {
                stack_pointer: (&raw const (*regs).rsp).read_volatile(),
                rdi: (&raw const (*regs).rdi).read_volatile(),
                rsi: (&raw const (*regs).rsi).read_volatile(),
                rdx: (&raw const (*regs).rdx).read_volatile(),
                rcx: (&raw const (*regs).rcx).read_volatile(),
                r8: (&raw const (*regs).r8).read_volatile(),
                r9: (&raw const (*regs).r9).read_volatile(),
            }
        }
    }

    /// The return address: the caller's next instruction. Still on top of the
    /// stack at a probe behind `endbr64`, which pushes nothing.
    #[inline(always)]
    pub fn caller(&self) -> Result<u64, Unreadable> {
        read_user(self.stack_pointer)
    }

    /// The return address and the stream's handle. Where both are on the
    /// stack, one read fetches them: each costs 40 ns.
    #[inline(always)]
    pub fn caller_and_stream(&self, at: ArgumentAt) -> Result<(u64, u64), Unreadable> {
        let ArgumentAt::Stack(offset) = at else {
            return Ok((self.caller()?, self.stream(at)?));
        };
        // SAFETY: the helper checks the address and fails instead of faulting.
        let top = unsafe { bpf_probe_read_user(self.stack_pointer as *const [u64; 4]) }
            .map_err(|_| Unreadable)?;
        let stream = match offset {
            8 => top[1],
            16 => top[2],
            24 => top[3],
            _ => self.stream(at)?,
        };
        Ok((top[0], stream))
    }

    #[inline(always)]
    fn register(&self, register: Register) -> u64 {
        match register {
            Register::Rdi => self.rdi,
            Register::Rsi => self.rsi,
            Register::Rdx => self.rdx,
            Register::Rcx => self.rcx,
            Register::R8 => self.r8,
            Register::R9 => self.r9,
        }
    }

    /// The handle of the stream that the call names. A function without a
    /// stream argument works on the null stream; the agent, which knows the
    /// function's name, corrects the exceptions.
    #[inline(always)]
    pub fn stream(&self, at: ArgumentAt) -> Result<u64, Unreadable> {
        match at {
            ArgumentAt::Nowhere => Ok(0),
            ArgumentAt::Register(register) => Ok(self.register(register)),
            ArgumentAt::Stack(offset) => read_user(self.stack_pointer + u64::from(offset)),
            ArgumentAt::Field(register, offset) => {
                read_user(self.register(register).wrapping_add(u64::from(offset)))
            }
        }
    }

    /// What a launch launches: the first argument, or behind a structure that
    /// configures it, the second.
    #[inline(always)]
    pub fn kernel(&self, stream_at: ArgumentAt) -> u64 {
        match stream_at {
            ArgumentAt::Field(Register::Rdi, _) => self.rsi,
            _ => self.rdi,
        }
    }

    /// Of a function that looks a kernel up: where it puts the handle, and the
    /// name.
    #[inline(always)]
    pub fn handle_and_name(&self) -> (u64, u64) {
        (self.rdi, self.rdx)
    }
}
