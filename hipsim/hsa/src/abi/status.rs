//! Status codes (`hsa_status_t` of hsa.h and its extensions).

/// A status as the API returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Status(pub u32);

/// What a body returns: a failure is a status, too.
pub type Result<T = ()> = std::result::Result<T, Status>;

macro_rules! statuses {
    ($($name:ident = $value:literal, $text:literal;)+) => {
        impl Status {
            $(#[doc = $text] pub const $name: Self = Self($value);)+

            /// What the code means; none for an unknown one.
            pub fn text(self) -> Option<&'static std::ffi::CStr> {
                $(if self == Self::$name {
                    // The literal has its end in it.
                    return std::ffi::CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()).ok();
                })+
                None
            }
        }
    };
}

statuses! {
    SUCCESS = 0, "HSA_STATUS_SUCCESS: The function has been executed successfully.";
    BREAK = 1, "HSA_STATUS_INFO_BREAK: A traversal over a list of elements has been interrupted.";
    NOT_SUPPORTED = 47, "HSA_STATUS_ERROR_NOT_SUPPORTED: Not supported.";
    INVALID_POOL = 40, "HSA_STATUS_ERROR_INVALID_MEMORY_POOL: The memory pool is invalid.";
    ERROR = 0x1000, "HSA_STATUS_ERROR: A generic error has occurred.";
    INVALID_ARGUMENT = 0x1001, "HSA_STATUS_ERROR_INVALID_ARGUMENT: One of the actual arguments is not valid.";
    INVALID_QUEUE_CREATION = 0x1002, "HSA_STATUS_ERROR_INVALID_QUEUE_CREATION: The requested queue creation is not valid.";
    INVALID_ALLOCATION = 0x1003, "HSA_STATUS_ERROR_INVALID_ALLOCATION: The requested allocation is not valid.";
    INVALID_AGENT = 0x1004, "HSA_STATUS_ERROR_INVALID_AGENT: The agent is invalid.";
    INVALID_SIGNAL = 0x1006, "HSA_STATUS_ERROR_INVALID_SIGNAL: The signal is invalid.";
    INVALID_QUEUE = 0x1007, "HSA_STATUS_ERROR_INVALID_QUEUE: The queue is invalid.";
    OUT_OF_RESOURCES = 0x1008, "HSA_STATUS_ERROR_OUT_OF_RESOURCES: The runtime failed to allocate the necessary resources.";
    INVALID_PACKET_FORMAT = 0x1009, "HSA_STATUS_ERROR_INVALID_PACKET_FORMAT: The AQL packet is malformed.";
    RESOURCE_FREE = 0x100A, "HSA_STATUS_ERROR_RESOURCE_FREE: An attempt to release a resource that is still in use.";
    NOT_INITIALIZED = 0x100B, "HSA_STATUS_ERROR_NOT_INITIALIZED: hsa_init has not been called.";
    INCOMPATIBLE_ARGUMENTS = 0x100D, "HSA_STATUS_ERROR_INCOMPATIBLE_ARGUMENTS: The arguments passed to a function are not compatible.";
    INVALID_ISA = 0x100F, "HSA_STATUS_ERROR_INVALID_ISA: The instruction set architecture is invalid.";
    INVALID_CODE_OBJECT = 0x1010, "HSA_STATUS_ERROR_INVALID_CODE_OBJECT: The code object is invalid.";
    INVALID_EXECUTABLE = 0x1011, "HSA_STATUS_ERROR_INVALID_EXECUTABLE: The executable is invalid.";
    FROZEN_EXECUTABLE = 0x1012, "HSA_STATUS_ERROR_FROZEN_EXECUTABLE: The executable is frozen.";
    INVALID_SYMBOL_NAME = 0x1013, "HSA_STATUS_ERROR_INVALID_SYMBOL_NAME: There is no symbol with the given name.";
    VARIABLE_ALREADY_DEFINED = 0x1014, "HSA_STATUS_ERROR_VARIABLE_ALREADY_DEFINED: The variable is already defined.";
    VARIABLE_UNDEFINED = 0x1015, "HSA_STATUS_ERROR_VARIABLE_UNDEFINED: The variable is undefined.";
    INVALID_SYMBOL = 0x1019, "HSA_STATUS_ERROR_INVALID_EXECUTABLE_SYMBOL: The executable symbol is invalid.";
    INVALID_READER = 0x1021, "HSA_STATUS_ERROR_INVALID_CODE_OBJECT_READER: The code object reader is invalid.";
    IMAGE_FORMAT_UNSUPPORTED = 0x3000, "HSA_EXT_STATUS_ERROR_IMAGE_FORMAT_UNSUPPORTED: Image format is not supported.";
}
