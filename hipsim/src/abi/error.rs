//! Error codes of the HIP runtime (`hipError_t`) and the thread's last error.

use std::cell::Cell;
use std::ffi::CStr;

use crate::major::major_version;

/// An error code the simulator itself returns. `hipSuccess` is `Ok(())`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum HipError {
    InvalidValue = 1,
    OutOfMemory = 2,
    InvalidConfiguration = 9,
    InvalidPitchValue = 12,
    InvalidSymbol = 13,
    InvalidDevicePointer = 17,
    InvalidMemcpyDirection = 21,
    MissingConfiguration = 52,
    InvalidDeviceFunction = 98,
    NoDevice = 100,
    InvalidDevice = 101,
    InvalidImage = 200,
    InvalidContext = 201,
    NoBinaryForGpu = 209,
    UnsupportedLimit = 215,
    FileNotFound = 301,
    InvalidHandle = 400,
    IllegalState = 401,
    NotFound = 500,
    NotReady = 600,
    PeerAccessAlreadyEnabled = 704,
    PeerAccessNotEnabled = 705,
    ContextIsDestroyed = 709,
    CooperativeLaunchTooLarge = 720,
    NotSupported = 801,
    StreamCaptureUnsupported = 900,
    StreamCaptureInvalidated = 901,
    StreamCaptureMerge = 902,
    StreamCaptureUnmatched = 903,
    StreamCaptureUnjoined = 904,
    StreamCaptureIsolation = 905,
    StreamCaptureImplicit = 906,
    CapturedEvent = 907,
    StreamCaptureWrongThread = 908,
    GraphExecUpdateFailure = 910,
}

/// `hipSuccess`.
pub const SUCCESS: i32 = 0;

/// What an API body computes before it becomes a code.
pub type Result<T = ()> = std::result::Result<T, HipError>;

thread_local! {
    static LAST_ERROR: Cell<i32> = const { Cell::new(SUCCESS) };
    static LAST_RESULT: Cell<i32> = const { Cell::new(SUCCESS) };
}

/// What a runtime remembers for `hipGetLastError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// What the last call returned, a success too (HIP up to 6; ROCm/clr, HIP_RETURN of `hip_internal.hpp`).
    Result,
    /// The last failure, until it is asked for. `hipErrorNotReady` is an answer and no failure (HIP 7).
    Failure,
}

impl Memory {
    fn of(major: u8) -> Memory {
        if major < 7 {
            Memory::Result
        } else {
            Memory::Failure
        }
    }
}

/// Turns a result into the code an API returns and remembers it for `hipGetLastError`.
pub fn code(result: Result) -> i32 {
    remember(Memory::of(major_version()), result)
}

impl simdevice::api::Refusal for HipError {
    type Code = i32;

    fn code(result: Result) -> i32 {
        code(result)
    }
}

fn remember(memory: Memory, result: Result) -> i32 {
    let code = result.map_or_else(|error| error as i32, |()| SUCCESS);
    LAST_RESULT.set(code);
    if memory == Memory::Result || !matches!(result, Ok(()) | Err(HipError::NotReady)) {
        LAST_ERROR.set(code);
    }
    code
}

/// The last error of this thread; it stays.
pub fn peek_last() -> i32 {
    LAST_ERROR.get()
}

/// The last error of this thread; it is forgotten.
pub fn take_last() -> i32 {
    LAST_ERROR.replace(SUCCESS)
}

/// What the last call of this thread returned (`hipExtGetLastError` of HIP 7); it is forgotten.
pub fn take_last_result() -> i32 {
    LAST_RESULT.replace(SUCCESS)
}

/// Name and description of any code of the API.
pub fn describe(code: i32) -> Option<(&'static CStr, &'static CStr)> {
    TEXTS
        .iter()
        .find(|(known, _, _)| *known == code)
        .map(|(_, name, text)| (*name, *text))
}

const TEXTS: &[(i32, &CStr, &CStr)] = &[
    (0, c"hipSuccess", c"no error"),
    (1, c"hipErrorInvalidValue", c"invalid argument"),
    (2, c"hipErrorOutOfMemory", c"out of memory"),
    (3, c"hipErrorNotInitialized", c"initialization error"),
    (4, c"hipErrorDeinitialized", c"driver shutting down"),
    (5, c"hipErrorProfilerDisabled", c"profiler disabled"),
    (6, c"hipErrorProfilerNotInitialized", c"profiler not initialized"),
    (7, c"hipErrorProfilerAlreadyStarted", c"profiler already started"),
    (8, c"hipErrorProfilerAlreadyStopped", c"profiler already stopped"),
    (9, c"hipErrorInvalidConfiguration", c"invalid configuration argument"),
    (12, c"hipErrorInvalidPitchValue", c"invalid pitch argument"),
    (13, c"hipErrorInvalidSymbol", c"invalid device symbol"),
    (17, c"hipErrorInvalidDevicePointer", c"invalid device pointer"),
    (21, c"hipErrorInvalidMemcpyDirection", c"invalid copy direction for memcpy"),
    (35, c"hipErrorInsufficientDriver", c"driver version is insufficient for runtime version"),
    (52, c"hipErrorMissingConfiguration", c"__global__ function call is not configured"),
    (53, c"hipErrorPriorLaunchFailure", c"unspecified launch failure in prior launch"),
    (98, c"hipErrorInvalidDeviceFunction", c"invalid device function"),
    (100, c"hipErrorNoDevice", c"no ROCm-capable device is detected"),
    (101, c"hipErrorInvalidDevice", c"invalid device ordinal"),
    (200, c"hipErrorInvalidImage", c"device kernel image is invalid"),
    (201, c"hipErrorInvalidContext", c"invalid device context"),
    (202, c"hipErrorContextAlreadyCurrent", c"context already current"),
    (205, c"hipErrorMapFailed", c"map failed"),
    (206, c"hipErrorUnmapFailed", c"unmap failed"),
    (207, c"hipErrorArrayIsMapped", c"array is mapped"),
    (208, c"hipErrorAlreadyMapped", c"already mapped"),
    (209, c"hipErrorNoBinaryForGpu", c"no kernel image is available for execution on the device"),
    (210, c"hipErrorAlreadyAcquired", c"already acquired"),
    (211, c"hipErrorNotMapped", c"not mapped"),
    (212, c"hipErrorNotMappedAsArray", c"not mapped as array"),
    (213, c"hipErrorNotMappedAsPointer", c"not mapped as pointer"),
    (214, c"hipErrorECCNotCorrectable", c"ecc not correctable"),
    (215, c"hipErrorUnsupportedLimit", c"limit is not supported on this architecture"),
    (216, c"hipErrorContextAlreadyInUse", c"context already in use"),
    (217, c"hipErrorPeerAccessUnsupported", c"peer access is not supported between these two devices"),
    (218, c"hipErrorInvalidKernelFile", c"invalid kernel file"),
    (219, c"hipErrorInvalidGraphicsContext", c"invalid graphics context"),
    (300, c"hipErrorInvalidSource", c"invalid source"),
    (301, c"hipErrorFileNotFound", c"file not found"),
    (302, c"hipErrorSharedObjectSymbolNotFound", c"shared object symbol not found"),
    (303, c"hipErrorSharedObjectInitFailed", c"shared object initialization failed"),
    (304, c"hipErrorOperatingSystem", c"OS call failed or operation not supported on this OS"),
    (400, c"hipErrorInvalidHandle", c"invalid resource handle"),
    (401, c"hipErrorIllegalState", c"the operation cannot be performed in the present state"),
    (500, c"hipErrorNotFound", c"named symbol not found"),
    (600, c"hipErrorNotReady", c"device not ready"),
    (700, c"hipErrorIllegalAddress", c"an illegal memory access was encountered"),
    (701, c"hipErrorLaunchOutOfResources", c"too many resources requested for launch"),
    (702, c"hipErrorLaunchTimeOut", c"launch time out"),
    (704, c"hipErrorPeerAccessAlreadyEnabled", c"peer access is already enabled"),
    (705, c"hipErrorPeerAccessNotEnabled", c"peer access has not been enabled"),
    (708, c"hipErrorSetOnActiveProcess", c"set on active process"),
    (709, c"hipErrorContextIsDestroyed", c"context is destroyed"),
    (710, c"hipErrorAssert", c"assert"),
    (712, c"hipErrorHostMemoryAlreadyRegistered", c"part or all of the requested memory range is already mapped"),
    (713, c"hipErrorHostMemoryNotRegistered", c"pointer does not correspond to a registered memory region"),
    (719, c"hipErrorLaunchFailure", c"unspecified launch failure"),
    (720, c"hipErrorCooperativeLaunchTooLarge", c"too many blocks in cooperative launch"),
    (801, c"hipErrorNotSupported", c"operation not supported"),
    (900, c"hipErrorStreamCaptureUnsupported", c"operation not permitted when stream is capturing"),
    (901, c"hipErrorStreamCaptureInvalidated", c"operation failed due to a previous error during capture"),
    (902, c"hipErrorStreamCaptureMerge", c"operation would result in a merge of separate capture sequences"),
    (903, c"hipErrorStreamCaptureUnmatched", c"capture was not ended in the same stream as it began"),
    (904, c"hipErrorStreamCaptureUnjoined", c"capturing stream has unjoined work"),
    (905, c"hipErrorStreamCaptureIsolation", c"dependency created on uncaptured work in another stream"),
    (906, c"hipErrorStreamCaptureImplicit", c"operation would make the legacy stream depend on a capturing blocking stream"),
    (907, c"hipErrorCapturedEvent", c"operation not permitted on an event last recorded in a capturing stream"),
    (908, c"hipErrorStreamCaptureWrongThread", c"attempt to terminate a thread-local capture sequence from another thread"),
    (910, c"hipErrorGraphExecUpdateFailure", c"the graph update was not performed because it included changes which violated constraints specific to instantiated graph update"),
    (999, c"hipErrorUnknown", c"unknown error"),
    (1052, c"hipErrorRuntimeMemory", c"runtime memory"),
    (1053, c"hipErrorRuntimeOther", c"runtime other"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hip_7_remembers_failures_until_they_are_read() {
        let code = |result| remember(Memory::of(7), result);
        take_last();
        assert_eq!(code(Err(HipError::NotReady)), 600);
        assert_eq!(peek_last(), SUCCESS, "not ready is no failure");
        assert_eq!(code(Err(HipError::InvalidValue)), 1);
        assert_eq!(code(Ok(())), SUCCESS);
        assert_eq!(peek_last(), 1, "a success does not clear the last error");
        assert_eq!((take_last(), peek_last()), (1, SUCCESS));
        code(Err(HipError::NotReady));
        assert_eq!((take_last_result(), take_last_result()), (600, SUCCESS));
    }

    #[test]
    fn hip_up_to_6_remembers_the_last_result() {
        for major in [5, 6] {
            let code = |result| remember(Memory::of(major), result);
            code(Err(HipError::InvalidValue));
            assert_eq!((peek_last(), take_last(), peek_last()), (1, 1, SUCCESS));
            code(Err(HipError::NotReady));
            assert_eq!(peek_last(), 600);
            code(Ok(()));
            assert_eq!(peek_last(), SUCCESS, "a success clears the last error");
        }
    }
}
