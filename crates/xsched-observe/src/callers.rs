//! From return addresses to the objects that called.

use std::collections::HashMap;
use std::sync::Arc;

use xsched_common::bpf::OTHER_CALLERS;
use xsched_host::process::{self, Mapping};
use xsched_host::text::printable;

use super::images::{ImageKind, Names};
use super::read_timeout::{HeldUp, ReadTimeout};

/// What a caller's code belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// A program or library.
    Program,
    /// The runtime itself: it calls some of its own functions, and such a
    /// call is part of another one that was counted.
    Runtime,
    /// A shim that calls the runtime instead of jumping to it.
    Shim,
    /// Memory without a file: generated code.
    Anonymous,
    /// Call sites beyond those that are told apart.
    Others,
    /// The process was gone, or had unmapped the code, before it could be
    /// asked.
    Unknown,
}

/// An object whose code called.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerObject {
    /// What it is.
    pub kind: ObjectKind,
    /// File name, printable; a description for anything but files.
    pub name: String,
    /// Path in the process's mount namespace; empty for anything but files.
    pub path: String,
}

impl CallerObject {
    fn nameless(kind: ObjectKind, name: &str) -> CallerObject {
        CallerObject {
            kind,
            name: name.to_owned(),
            path: String::new(),
        }
    }

    /// For [`OTHER_CALLERS`].
    fn others() -> CallerObject {
        CallerObject::nameless(ObjectKind::Others, "(others)")
    }

    fn unknown() -> CallerObject {
        CallerObject::nameless(ObjectKind::Unknown, "(not known: gone too soon)")
    }

    fn of(mapping: &Mapping, names: &Names) -> CallerObject {
        let basename = mapping.basename();
        if basename.is_empty() {
            return CallerObject::nameless(ObjectKind::Anonymous, "(generated code)");
        }
        CallerObject {
            kind: match names.kind_of(basename) {
                Some(ImageKind::Runtime) => ObjectKind::Runtime,
                Some(ImageKind::Shim) => ObjectKind::Shim,
                None => ObjectKind::Program,
            },
            name: printable(basename),
            path: mapping.path.clone(),
        }
    }
}

/// Where a call came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The return address.
    pub address: u64,
    /// The object that it lies in.
    pub object: Arc<CallerObject>,
    /// Its offset in the object's file; 0 when there is no file.
    pub file_offset: u64,
}

/// Remembers every address once mapped: a library may be unloaded, and a
/// process gone, when its count is read.
#[derive(Debug)]
pub struct Callers {
    names: Names,
    known: HashMap<u32, HashMap<u64, Caller>>,
}

impl Callers {
    /// Nothing known yet. `names` tells runtimes and shims.
    pub fn new(names: Names) -> Callers {
        Callers {
            names,
            known: HashMap::new(),
        }
    }

    /// Maps those of a process's addresses that are not known yet. Reads the
    /// process's mappings at most once.
    pub(super) fn learn(
        &mut self,
        pid: u32,
        addresses: impl IntoIterator<Item = u64>,
        read_timeout: &mut ReadTimeout,
    ) {
        let known = self.known.entry(pid).or_default();
        let mut maps: Option<Vec<Mapping>> = None;
        let mut objects: HashMap<usize, Arc<CallerObject>> = HashMap::new();
        for address in addresses {
            let settled = known
                .get(&address)
                .is_some_and(|caller| caller.object.kind != ObjectKind::Unknown);
            if settled {
                continue;
            }
            let maps = maps.get_or_insert_with(|| {
                let read = read_timeout.read(pid, move || process::maps(pid));
                // What is not known is asked for again the next time.
                read.map_or_else(|HeldUp| Vec::new(), Result::unwrap_or_default)
            });
            if address == OTHER_CALLERS {
                let caller = Caller {
                    address,
                    object: Arc::new(CallerObject::others()),
                    file_offset: 0,
                };
                known.insert(address, caller);
                continue;
            }
            // The return address of a call that ends its object lies outside.
            let inside = address.wrapping_sub(1);
            let index = maps.partition_point(|mapping| mapping.range.end <= inside);
            let caller = match maps.get(index).filter(|m| m.range.contains(&inside)) {
                Some(mapping) => Caller {
                    address,
                    object: Arc::clone(
                        objects
                            .entry(index)
                            .or_insert_with(|| Arc::new(CallerObject::of(mapping, &self.names))),
                    ),
                    file_offset: if mapping.inode == 0 {
                        0
                    } else {
                        mapping.offset.saturating_add(address - mapping.range.start)
                    },
                },
                None => Caller {
                    address,
                    object: Arc::new(CallerObject::unknown()),
                    file_offset: 0,
                },
            };
            known.insert(address, caller);
        }
    }

    /// What is known about an address.
    pub fn get(&self, pid: u32, address: u64) -> Caller {
        self.known
            .get(&pid)
            .and_then(|known| known.get(&address))
            .cloned()
            .unwrap_or_else(|| Caller {
                address,
                object: Arc::new(CallerObject::unknown()),
                file_offset: 0,
            })
    }

    /// Forgets a process.
    pub fn forget(&mut self, pid: u32) {
        self.known.remove(&pid);
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Scope;
    use super::*;

    fn here() -> u64 {
        here as *const () as u64 + 1
    }

    #[test]
    fn own_code_is_this_program() {
        let me = std::process::id();
        let mut callers = Callers::new(Names::with_shims(&[]));
        callers.learn(
            me,
            [here(), 0, 1, u64::MAX],
            &mut ReadTimeout::with(Scope::All),
        );
        assert_eq!(callers.get(me, 0).object.kind, ObjectKind::Others);
        let caller = callers.get(me, here());
        assert_eq!(caller.object.kind, ObjectKind::Program);
        let exe = process::exe(me).expect("exe");
        assert_eq!(caller.object.path, exe.to_string_lossy());
        assert!(caller.file_offset > 0);
        for nowhere in [1, u64::MAX] {
            assert_eq!(callers.get(me, nowhere).object.kind, ObjectKind::Unknown);
        }
    }

    #[test]
    fn what_was_learnt_outlives_the_process() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep");
        let pid = child.id();
        // Between fork and exec the child still shows this program's maps.
        let mut code = None;
        for _ in 0..500 {
            code = process::maps(pid)
                .expect("maps")
                .into_iter()
                .find(|m| m.executable && m.basename() == "sleep");
            if code.is_some() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let address = code.expect("sleep's code").range.start + 16;
        let mut callers = Callers::new(Names::with_shims(&[]));
        callers.learn(pid, [address], &mut ReadTimeout::with(Scope::All));
        child.kill().expect("kill");
        child.wait().expect("wait");
        callers.learn(pid, [address], &mut ReadTimeout::with(Scope::All));
        assert_eq!(callers.get(pid, address).object.name, "sleep");
        callers.forget(pid);
        callers.learn(pid, [address], &mut ReadTimeout::with(Scope::All));
        assert_eq!(callers.get(pid, address).object.kind, ObjectKind::Unknown);
    }
}
