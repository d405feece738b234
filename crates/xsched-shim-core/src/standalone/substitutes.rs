//! The C library's functions that the standard library refers to. A few work,
//! by system calls; what only the report of a panic would call fails.

#![allow(
    non_snake_case,
    missing_docs,
    reason = "C's functions under their names"
)]
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "called from C only, as the C library's"
)]

use std::ffi::{c_char, c_int, c_long, c_void};

use crate::sys::{self, Call, Errno};

/// Defines them under their C names.
#[doc(hidden)]
#[macro_export]
macro_rules! __substitutes {
    () => {
        $crate::__stand_in!(substitutes:
            abort,
            close,
            fcntl,
            write,
            writev,
            statx,
            sched_yield,
            malloc,
            realloc,
            free,
            syscall,
            open64,
            read,
            lseek64,
            fstat64,
            stat64,
            lstat64,
            readlink,
            getcwd,
            getenv,
            realpath,
            mmap64,
            munmap,
            gettid,
            dl_iterate_phdr,
            __xpg_strerror_r,
            pthread_key_create,
            pthread_key_delete,
            pthread_setspecific,
            __cxa_thread_atexit_impl,
            __tls_get_addr,
        );
    };
}

/// The C way to tell of errors.
fn told(result: Result<usize, Errno>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(Errno(number)) => {
            // SAFETY: always valid for the calling thread.
            unsafe { *libc::__errno_location() = number };
            -1
        }
    }
}

fn refused() -> isize {
    told(Err(Errno(libc::ENOSYS)))
}

/// A defect of ours: the program ends by the signal that abort(3) raises,
/// unless it survives that; then by an instruction that does not exist.
pub extern "C" fn abort() -> ! {
    // SAFETY: no memory is passed.
    unsafe {
        if let (Ok(pid), Ok(tid)) = (sys::call(Call::GetPid, []), sys::call(Call::GetTid, [])) {
            let _ = sys::call(Call::TgKill, [pid, tid, libc::SIGABRT as usize]);
        }
        std::arch::asm!("ud2", options(noreturn));
    }
}

pub extern "C" fn close(fd: c_int) -> c_int {
    // SAFETY: no memory is passed; whoever owns the descriptor gives it up.
    told(unsafe { sys::call(Call::Close, [fd as usize]) }) as c_int
}

pub extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    // SAFETY: the caller's.
    told(unsafe { sys::call(Call::Fcntl, [fd as usize, command as usize, argument]) }) as c_int
}

pub extern "C" fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize {
    // SAFETY: the caller's.
    told(unsafe { sys::call(Call::Write, [fd as usize, bytes as usize, len]) })
}

pub extern "C" fn writev(fd: c_int, parts: *const libc::iovec, count: c_int) -> isize {
    if count < 1 {
        return 0;
    }
    // SAFETY: the caller's; writing less than all is allowed.
    let first = unsafe { &*parts };
    write(fd, first.iov_base, first.iov_len)
}

pub extern "C" fn statx(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    mask: u32,
    out: *mut libc::statx,
) -> c_int {
    let arguments = [
        directory as usize,
        path as usize,
        flags as usize,
        mask as usize,
        out as usize,
    ];
    // SAFETY: the caller's.
    told(unsafe { sys::call(Call::Statx, arguments) }) as c_int
}

pub extern "C" fn sched_yield() -> c_int {
    // SAFETY: no memory is passed.
    told(unsafe { sys::call(Call::SchedYield, []) }) as c_int
}

pub extern "C" fn munmap(address: *mut c_void, len: usize) -> c_int {
    // SAFETY: the caller's own mapping.
    told(unsafe { sys::call(Call::Munmap, [address as usize, len]) }) as c_int
}

pub extern "C" fn gettid() -> c_int {
    // SAFETY: no memory is passed.
    told(unsafe { sys::call(Call::GetTid, []) }) as c_int
}

// What the report of a panic would allocate past Rust's allocator: the length
// stands before it.

const HEADER: usize = 16;

pub extern "C" fn malloc(len: usize) -> *mut c_void {
    let whole = len.saturating_add(HEADER);
    let Ok(start) = sys::map_memory(whole) else {
        return std::ptr::null_mut();
    };
    // SAFETY: mapped just now.
    unsafe { (start as *mut usize).write(whole) };
    (start + HEADER) as *mut c_void
}

pub extern "C" fn free(memory: *mut c_void) {
    if !memory.is_null() {
        let start = memory as usize - HEADER;
        // SAFETY: `malloc` put the length there.
        sys::unmap(start, unsafe { (start as *const usize).read() });
    }
}

pub extern "C" fn realloc(memory: *mut c_void, len: usize) -> *mut c_void {
    let new = malloc(len);
    if !new.is_null() && !memory.is_null() {
        // SAFETY: `malloc` put the length there; both are as long as copied.
        unsafe {
            let old = (memory as usize - HEADER) as *const usize;
            let len = len.min(old.read() - HEADER);
            std::ptr::copy_nonoverlapping(memory.cast::<u8>(), new.cast(), len);
        }
        free(memory);
    }
    new
}

/// The standard library's locks ask for `futex`; without it they look again.
pub extern "C" fn syscall(_number: c_long) -> c_long {
    refused() as c_long
}

// The report of a panic would look for the names of functions in files.

pub extern "C" fn open64(_path: *const c_char, _flags: c_int) -> c_int {
    refused() as c_int
}

pub extern "C" fn read(_fd: c_int, _bytes: *mut c_void, _len: usize) -> isize {
    refused()
}

pub extern "C" fn lseek64(_fd: c_int, _offset: i64, _from: c_int) -> i64 {
    refused() as i64
}

pub extern "C" fn fstat64(_fd: c_int, _out: *mut c_void) -> c_int {
    refused() as c_int
}

/// Where the kernel has no `statx` (before 4.11), a directory counts as not
/// there.
pub extern "C" fn stat64(_path: *const c_char, _out: *mut c_void) -> c_int {
    refused() as c_int
}

pub extern "C" fn lstat64(_path: *const c_char, _out: *mut c_void) -> c_int {
    refused() as c_int
}

pub extern "C" fn readlink(_path: *const c_char, _out: *mut c_char, _len: usize) -> isize {
    refused()
}

pub extern "C" fn mmap64(
    _address: *mut c_void,
    _len: usize,
    _protection: c_int,
    _flags: c_int,
    _fd: c_int,
    _offset: i64,
) -> *mut c_void {
    refused() as *mut c_void
}

pub extern "C" fn getcwd(_out: *mut c_char, _len: usize) -> *mut c_char {
    refused();
    std::ptr::null_mut()
}

pub extern "C" fn realpath(_path: *const c_char, _out: *mut c_char) -> *mut c_char {
    refused();
    std::ptr::null_mut()
}

pub extern "C" fn getenv(_name: *const c_char) -> *mut c_char {
    std::ptr::null_mut()
}

pub extern "C" fn dl_iterate_phdr(_each: *mut c_void, _state: *mut c_void) -> c_int {
    0
}

pub extern "C" fn __xpg_strerror_r(_error: c_int, out: *mut c_char, len: usize) -> c_int {
    if len > 0 {
        // SAFETY: the caller's buffer.
        unsafe { *out = 0 };
    }
    0
}

// Values of threads that have something to do when their thread ends. What
// the standard library keeps of a thread that panics is simply left behind.

pub extern "C" fn pthread_key_create(key: *mut u32, _destructor: *mut c_void) -> c_int {
    // SAFETY: the caller's; zero would be asked for once more.
    unsafe { *key = 1 };
    0
}

pub extern "C" fn pthread_key_delete(_key: u32) -> c_int {
    0
}

pub extern "C" fn pthread_setspecific(_key: u32, _value: *const c_void) -> c_int {
    0
}

pub extern "C" fn __cxa_thread_atexit_impl(
    _destructor: *mut c_void,
    _value: *mut c_void,
    _library: *mut c_void,
) -> c_int {
    0
}

/// Where a thread's copy of one of the standard library's variables lies. The
/// dynamic linker's own function allocates; but our block is part of every
/// thread's static area (see [`crate::tls`]), at the same place for all.
/// `index` is the module, which is ours, and the place in its block.
pub extern "C" fn __tls_get_addr(index: *const [usize; 2]) -> usize {
    // SAFETY: the code that the compiler makes passes its own table's entry.
    let [_, place] = unsafe { *index };
    crate::tls::block() as usize + place
}
