//! Multi-uprobe links: all probes of an image in one link.
//!
//! The BPF library knows only perf uprobes, which detach one by one, each
//! waiting for a grace period under a lock that all share: 63 probes took
//! 5.2 s however many threads closed them. A multi link waits once. It wants
//! its programs loaded for it, so this file does that as well, by the raw
//! system call (linux/bpf.h).

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::{io, mem};

use aya_obj::Object;

use super::plan::End;
use super::site::Site;

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_KPROBE: u32 = 2;
const BPF_TRACE_UPROBE_MULTI: u32 = 48;
const BPF_F_UPROBE_MULTI_RETURN: u32 = 1;

/// `struct { ... } prog_load` of `union bpf_attr`, as far as it is used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

/// `struct { ... } link_create` of `union bpf_attr` with its `uprobe_multi`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    uprobe_flags: u32,
    pid: u32,
    reserved: u32,
}

const _: () = {
    assert!(size_of::<ProgLoad>() == 72);
    assert!(size_of::<LinkCreate>() == 64);
};

/// # Safety
/// Every pointer and length in `attr` is what `command` expects.
unsafe fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: by the contract above; the kernel only reads `attr`.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            &raw const *attr,
            mem::size_of::<T>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Loads the programs of these names in `object` for multi links, over maps
/// that exist.
///
/// # Errors
/// The object cannot be relocated, or the kernel refuses a program.
pub fn load(
    object: &[u8],
    names: &[&str],
    maps: &HashMap<String, BorrowedFd<'_>>,
) -> io::Result<HashMap<String, OwnedFd>> {
    let mut object = Object::parse(object).map_err(io::Error::other)?;
    let text_sections = object
        .functions
        .keys()
        .map(|&(section, _)| section)
        .collect();
    let definitions = object.maps.clone();
    let with_fds = definitions.iter().filter_map(|(name, definition)| {
        Some((name.as_str(), maps.get(name)?.as_raw_fd(), definition))
    });
    object
        .relocate_maps(with_fds, &text_sections)
        .map_err(io::Error::other)?;
    object
        .relocate_calls(&text_sections)
        .map_err(io::Error::other)?;
    object
        .programs
        .iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, program)| {
            let function = object
                .functions
                .get(&program.function_key())
                .ok_or(io::ErrorKind::NotFound)?;
            let attr = ProgLoad {
                prog_type: BPF_PROG_TYPE_KPROBE,
                insn_cnt: function.instructions.len() as u32,
                insns: function.instructions.as_ptr() as u64,
                license: program.license.as_ptr() as u64,
                log_level: 0,
                log_size: 0,
                log_buf: 0,
                kern_version: 0,
                prog_flags: 0,
                prog_name: short_name(name),
                prog_ifindex: 0,
                expected_attach_type: BPF_TRACE_UPROBE_MULTI,
            };
            // SAFETY: instructions and licence live in `object`, the count is
            // theirs.
            Ok((name.clone(), unsafe { bpf(BPF_PROG_LOAD, &attr) }?))
        })
        .collect()
}

/// At most 15 bytes and a NUL.
fn short_name(name: &str) -> [u8; 16] {
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    short
}

/// Attaches `program` to all `sites` of the file at `path`, with a cookie
/// each, at their entries or at their returns; for one process, or for all if
/// `pid` is `None`.
///
/// # Errors
/// What the kernel says. One bad site fails all.
pub fn attach(
    program: &OwnedFd,
    path: &CStr,
    end: End,
    sites: &[(Site, u64)],
    pid: Option<u32>,
) -> io::Result<OwnedFd> {
    let offsets: Vec<u64> = sites.iter().map(|(site, _)| site.offset).collect();
    let cookies: Vec<u64> = sites.iter().map(|&(_, cookie)| cookie).collect();
    let attr = LinkCreate {
        prog_fd: program.as_fd().as_raw_fd() as u32,
        target_fd: 0,
        attach_type: BPF_TRACE_UPROBE_MULTI,
        flags: 0,
        path: path.as_ptr() as u64,
        offsets: offsets.as_ptr() as u64,
        ref_ctr_offsets: 0,
        cookies: cookies.as_ptr() as u64,
        cnt: sites.len() as u32,
        uprobe_flags: match end {
            End::Entry => 0,
            End::Return => BPF_F_UPROBE_MULTI_RETURN,
        },
        pid: pid.unwrap_or(0),
        reserved: 0,
    };
    // SAFETY: path, offsets and cookies outlive the call; both arrays have
    // `cnt` elements.
    unsafe { bpf(BPF_LINK_CREATE, &attr) }
}
