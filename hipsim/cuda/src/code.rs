//! Error codes (`CUresult`), as hipsim numbers them too.

/// An error; success is `Ok(())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub i32);

/// What a body computes before it becomes a code.
pub type Result<T = ()> = std::result::Result<T, Code>;

impl Code {
    pub const INVALID_VALUE: Code = Code(1);

    pub const NOT_INITIALIZED: Code = Code(3);
    pub const NO_DEVICE: Code = Code(100);
    pub const INVALID_DEVICE: Code = Code(101);
    pub const INVALID_IMAGE: Code = Code(200);
    pub const INVALID_CONTEXT: Code = Code(201);
    pub const FILE_NOT_FOUND: Code = Code(301);
    pub const INVALID_HANDLE: Code = Code(400);
    pub const NOT_FOUND: Code = Code(500);
    pub const NOT_SUPPORTED: Code = Code(801);
}

impl simdevice::api::Refusal for Code {
    type Code = i32;

    fn code(result: Result) -> i32 {
        result.map_or_else(|code| code.0, |()| 0)
    }
}

/// A code of hipsim's as a result.
pub fn of(code: i32) -> Result {
    match code {
        0 => Ok(()),
        code => Err(Code(code)),
    }
}
