//! Kernels the program can launch: from its own fat binary (by address of the host stub) and from loaded modules.

use std::collections::HashMap;
use std::ffi::c_void;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError, RwLock};

use simdevice::known::Known;
use simdevice::names::plain_name;

use super::command::Address;
use crate::options;

/// A kernel. Never freed: launches of other threads may be reading it.
#[derive(Debug)]
pub struct Kernel {
    /// Its name in the code object.
    pub name: std::ffi::CString,
    /// Time alone on the device, in ns, before jitter.
    pub service: u64,
    /// Set for kernels that compute.
    pub known: Option<Known>,
    /// Whether the device runs it.
    pub code: Code,
}

/// What there is of a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Code {
    /// Code for this device.
    #[default]
    Runs,
    /// Code for other devices only.
    Other,
}

impl Kernel {
    /// A kernel with the duration its name asks for.
    pub fn new(name: &str) -> Self {
        let plain = plain_name(name);
        Self {
            name: std::ffi::CString::new(name).unwrap_or_default(),
            service: options::get().kernel_duration(name, plain),
            known: Known::find(plain),
            code: Code::Runs,
        }
    }
}

/// A set of kernels that comes and goes together: a fat binary or a loaded module.
#[derive(Debug, Default)]
struct Module {
    /// Names of its kernels; `None` accepts any name.
    names: Option<Vec<String>>,
    code: Code,
    functions: HashMap<String, usize>,
    /// Device copies of its variables by host address.
    variables: Vec<usize>,
}

/// Addresses are spread well enough by multiplication, and the launch path looks one up each time.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }
    fn write_usize(&mut self, value: usize) {
        self.0 = (self.0 ^ value as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type ByAddress<T> = HashMap<usize, T, BuildHasherDefault<AddressHasher>>;

static LAUNCHABLE: RwLock<ByAddress<&'static Kernel>> =
    RwLock::new(HashMap::with_hasher(BuildHasherDefault::new()));
static MODULES: Mutex<Option<Modules>> = Mutex::new(None);

#[derive(Debug, Default)]
struct Modules {
    all: HashMap<usize, Module>,
    next: usize,
    /// Device address and size of each registered variable, by host address.
    variables: HashMap<usize, (usize, usize)>,
}

/// Handles are never mapped addresses, and never reused.
const FIRST_MODULE: usize = 0x53 << 40;

fn modules<T>(use_them: impl FnOnce(&mut Modules) -> T) -> T {
    let mut guard = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    use_them(guard.get_or_insert_with(Modules::default))
}

fn set_launchable(at: usize, kernel: Option<&'static Kernel>) {
    let mut launchable = LAUNCHABLE.write().unwrap_or_else(PoisonError::into_inner);
    match kernel {
        Some(kernel) => launchable.insert(at, kernel),
        None => launchable.remove(&at),
    };
}

/// The kernel that a host stub's address or a function handle names.
pub fn find(at: *const c_void) -> Option<&'static Kernel> {
    LAUNCHABLE
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .get(&(at as usize))
        .copied()
}

/// A new module; `names` are its kernels, or `None` when any name shall be found in it.
pub fn add_module(names: Option<Vec<String>>, code: Code) -> *mut c_void {
    modules(|modules| {
        modules.next += 16;
        let handle = FIRST_MODULE + modules.next;
        modules.all.insert(
            handle,
            Module {
                names,
                code,
                ..Module::default()
            },
        );
        handle as *mut c_void
    })
}

/// Removes a module with its kernels and variables; false if there is none.
pub fn remove_module(handle: *const c_void) -> bool {
    modules(|modules| {
        let Some(module) = modules.all.remove(&(handle as usize)) else {
            return false;
        };
        for at in module.functions.values() {
            set_launchable(*at, None);
        }
        for host in module.variables {
            modules.variables.remove(&host);
        }
        true
    })
}

/// Whether the module exists.
pub fn is_module(handle: *const c_void) -> bool {
    modules(|modules| modules.all.contains_key(&(handle as usize)))
}

/// Makes the host stub at `at` launch the kernel called `name`.
pub fn register_function(module: *const c_void, at: *const c_void, name: &str) {
    modules(|modules| {
        if let Some(module) = modules.all.get_mut(&(module as usize)) {
            module.functions.insert(name.to_owned(), at as usize);
            let kernel = Kernel {
                code: module.code,
                ..Kernel::new(name)
            };
            set_launchable(at as usize, Some(Box::leak(Box::new(kernel))));
        }
    });
}

/// The function handle of a module's kernel; `None` if the module has no kernel of that name.
pub fn function(module: *const c_void, name: &str) -> Option<*mut c_void> {
    modules(|modules| {
        let module = modules.all.get_mut(&(module as usize))?;
        if let Some(at) = module.functions.get(name) {
            return Some(*at as *mut c_void);
        }
        if module
            .names
            .as_ref()
            .is_some_and(|names| !names.iter().any(|known| known == name))
        {
            return None;
        }
        let kernel: &'static Kernel = Box::leak(Box::new(Kernel::new(name)));
        let at = std::ptr::from_ref(kernel) as usize;
        module.functions.insert(name.to_owned(), at);
        set_launchable(at, Some(kernel));
        Some(at as *mut c_void)
    })
}

/// Number of kernels a module has; zero when it accepts any name.
pub fn function_count(module: *const c_void) -> Option<usize> {
    modules(|modules| {
        Some(
            modules
                .all
                .get(&(module as usize))?
                .names
                .as_ref()
                .map_or(0, Vec::len),
        )
    })
}

/// Notes the device copy of a variable.
pub fn register_variable(module: *const c_void, host: Address, device: Address, size: usize) {
    modules(|modules| {
        if let Some(module) = modules.all.get_mut(&(module as usize)) {
            module.variables.push(host.0);
            modules.variables.insert(host.0, (device.0, size));
        }
    });
}

/// Device address and size of a variable.
pub fn variable(host: *const c_void) -> Option<(Address, usize)> {
    modules(|modules| {
        modules
            .variables
            .get(&(host as usize))
            .map(|(device, size)| (Address(*device), *size))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_accept_the_names_they_have() {
        let module = add_module(Some(vec!["a".to_owned()]), Code::Runs);
        let function = function(module, "a").unwrap();
        assert_eq!(find(function).unwrap().name.to_bytes(), b"a");
        assert!(super::function(module, "b").is_none());
        assert!(remove_module(module));
        assert!(find(function).is_none(), "a function dies with its module");
        assert!(!remove_module(module));
    }
}
