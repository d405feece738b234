//! Where a call's arguments are when the function is entered (System V x86-64).

/// An integer argument register of the System V x86-64 calling convention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Register {
    /// First integer argument.
    Rdi = 0,
    /// Second.
    Rsi = 1,
    /// Third.
    Rdx = 2,
    /// Fourth.
    Rcx = 3,
    /// Fifth.
    R8 = 4,
    /// Sixth.
    R9 = 5,
}

impl Register {
    /// The register with this number; unknown numbers read as the first, so
    /// that BPF code needs no error path.
    pub const fn from_raw(raw: u8) -> Register {
        match raw {
            1 => Register::Rsi,
            2 => Register::Rdx,
            3 => Register::Rcx,
            4 => Register::R8,
            5 => Register::R9,
            _ => Register::Rdi,
        }
    }
}

/// Where an argument is at a function's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArgumentAt {
    /// There is none, or nobody says where.
    Nowhere,
    /// In a register.
    Register(Register),
    /// On the stack, this many bytes above the stack pointer.
    Stack(u16),
    /// In the structure that the register points to, at this offset.
    Field(Register, u16),
}

/// How many bytes a call copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SizeAt {
    /// It copies nothing, or how much cannot be told cheaply.
    Nowhere,
    /// In a register.
    Register(Register),
    /// The product of two registers.
    Product(Register, Register),
}
