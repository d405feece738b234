//! Functions of the program that run in stream order.

use std::ffi::{c_uint, c_void};

use super::support::{DefaultStream, api, submit};
use crate::abi::error::{HipError, Result};
use crate::abi::types::{HostFunction, StreamCallback, StreamHandle};
use crate::runtime::command::{Address, Command, External};

fn launch(
    of: StreamHandle,
    function: Option<HostFunction>,
    data: *mut c_void,
    default: DefaultStream,
) -> Result {
    let function = function.ok_or(HipError::InvalidValue)?;
    submit(
        of,
        default,
        &Command::External(External::Host {
            function,
            data: Address::from(data),
        }),
    )
}

api! {
    fn host(of: StreamHandle, function: Option<HostFunction>, data: *mut c_void) {
        launch(of, function, data, DefaultStream::Legacy)
    }

    fn host_spt(of: StreamHandle, function: Option<HostFunction>, data: *mut c_void) {
        launch(of, function, data, DefaultStream::PerThread)
    }
}

fn add(
    of: StreamHandle,
    function: Option<StreamCallback>,
    data: *mut c_void,
    flags: c_uint,
    default: DefaultStream,
) -> Result {
    let function = function
        .filter(|_| flags == 0)
        .ok_or(HipError::InvalidValue)?;
    let callback = External::Callback {
        function,
        stream: Address::from(of),
        data: Address::from(data),
    };
    submit(of, default, &Command::External(callback))
}

api! {
    fn callback(of: StreamHandle, function: Option<StreamCallback>, data: *mut c_void, flags: c_uint) {
        add(of, function, data, flags, DefaultStream::Legacy)
    }

    fn callback_spt(of: StreamHandle, function: Option<StreamCallback>, data: *mut c_void, flags: c_uint) {
        add(of, function, data, flags, DefaultStream::PerThread)
    }
}
