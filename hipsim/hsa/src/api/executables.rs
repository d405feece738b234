//! The C functions of code objects: readers, executables and their symbols.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::agents;
use super::gpu_info;
use super::loader::{self, Image, Symbol};
use crate::abi::call::{api, put};
use crate::abi::status::{Result, Status};
use crate::abi::types::{AgentHandle, Handle};
use crate::machine::kernels;

/// What makes one: images on agents, and variables that the program defines.
#[derive(Default)]
struct Executable {
    images: Vec<(AgentHandle, Image)>,
    defined: HashMap<String, u64>,
    frozen: bool,
    /// Symbols that the program has handles of.
    handles: Vec<Handle>,
}

/// A symbol that the program has a handle of.
#[derive(Clone)]
struct Named {
    name: String,
    agent: AgentHandle,
    symbol: Symbol,
}

/// An image in the program's memory that a reader stands for.
#[derive(Clone, Copy)]
struct Reader {
    at: usize,
    size: usize,
}

struct Tables {
    last: Handle,
    readers: HashMap<Handle, Reader>,
    executables: HashMap<Handle, Executable>,
    symbols: HashMap<Handle, Named>,
}

static TABLES: Mutex<Option<Tables>> = Mutex::new(None);

/// The tables under their lock.
struct Locked(MutexGuard<'static, Option<Tables>>);

fn tables() -> Locked {
    Locked(TABLES.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Locked {
    fn get(&mut self) -> &mut Tables {
        self.0.get_or_insert_with(|| Tables {
            last: 0x1000,
            readers: HashMap::new(),
            executables: HashMap::new(),
            symbols: HashMap::new(),
        })
    }

    fn executable(&mut self, handle: Handle) -> Result<&mut Executable> {
        self.get()
            .executables
            .get_mut(&handle)
            .ok_or(Status::INVALID_EXECUTABLE)
    }
}

impl Tables {
    /// A handle that nothing had before.
    fn handle(&mut self) -> Handle {
        self.last += 0x10;
        self.last
    }

    /// The handle of an executable's symbol.
    fn name(&mut self, executable: Handle, named: Named) -> Handle {
        let handle = self.handle();
        if let Some(executable) = self.executables.get_mut(&executable) {
            executable.handles.push(handle);
        }
        self.symbols.insert(handle, named);
        handle
    }
}

fn note_kernels(image: &Image) {
    for (name, symbol) in &image.symbols {
        if let Symbol::Kernel {
            descriptor,
            arguments,
            signature,
            ..
        } = symbol
        {
            let name = name.strip_suffix(kernels::SUFFIX).unwrap_or(name);
            kernels::register(*descriptor, name, *arguments as usize, signature.as_deref());
        }
    }
}

fn find(executable: &Executable, name: &str, agent: Option<AgentHandle>) -> Option<Named> {
    let images = executable
        .images
        .iter()
        .filter(|(of, _)| agent.is_none_or(|agent| agent == *of));
    let mut found = images.filter_map(|(agent, image)| {
        let symbol = image
            .symbols
            .get(name)
            .or_else(|| image.symbols.get(&format!("{name}{}", kernels::SUFFIX)));
        Some(Named {
            name: name.to_owned(),
            agent: *agent,
            symbol: symbol?.clone(),
        })
    });
    found.next()
}

api! {
    /// `hsa_code_object_reader_create_from_memory`.
    fn read_memory(image: *const c_void, size: usize, reader: *mut Handle) {
        if image.is_null() || size == 0 {
            return Err(Status::INVALID_ARGUMENT);
        }
        let mut tables = tables();
        let handle = tables.get().handle();
        tables.get().readers.insert(handle, Reader { at: image as usize, size });
        put(reader, handle)
    }

    /// `hsa_code_object_reader_destroy`.
    fn destroy_reader(reader: Handle) {
        tables().get().readers.remove(&reader).map(drop).ok_or(Status::INVALID_READER)
    }

    /// `hsa_executable_create_alt`.
    fn create(_profile: u32, _rounding: u32, _options: *const c_char, executable: *mut Handle) {
        let mut tables = tables();
        let handle = tables.get().handle();
        tables.get().executables.insert(handle, Executable::default());
        put(executable, handle)
    }

    /// `hsa_executable_destroy`.
    fn destroy(executable: Handle) {
        let mut tables = tables();
        let tables = tables.get();
        let gone = tables.executables.remove(&executable).ok_or(Status::INVALID_EXECUTABLE)?;
        for handle in gone.handles {
            tables.symbols.remove(&handle);
        }
        for (_, image) in gone.images {
            kernels::forget(image.range());
            image.unmap();
        }
        Ok(())
    }

    /// `hsa_executable_load_agent_code_object`.
    fn load(executable: Handle, agent: AgentHandle, reader: Handle, _options: *const c_char, loaded: *mut Handle) {
        agents::gpu(agent)?;
        let mut tables = tables();
        let reader = *tables.get().readers.get(&reader).ok_or(Status::INVALID_READER)?;
        let executable = tables.executable(executable)?;
        if executable.frozen {
            return Err(Status::FROZEN_EXECUTABLE);
        }
        let bytes = std::slice::from_raw_parts(reader.at as *const u8, reader.size);
        let image = loader::load(bytes, gpu_info::target(), &executable.defined)?;
        note_kernels(&image);
        executable.images.push((agent, image));
        if loaded.is_null() {
            return Ok(());
        }
        put(loaded, reader.at as Handle)
    }

    /// `hsa_executable_freeze`.
    fn freeze(executable: Handle, _options: *const c_char) {
        tables().executable(executable)?.frozen = true;
        Ok(())
    }

    /// `hsa_executable_agent_global_variable_define`.
    fn define_variable(executable: Handle, _agent: AgentHandle, name: *const c_char, address: *mut c_void) {
        if name.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        let mut tables = tables();
        match tables.executable(executable)?.defined.insert(name, address as u64) {
            None => Ok(()),
            Some(_) => Err(Status::VARIABLE_ALREADY_DEFINED),
        }
    }

    /// `hsa_executable_get_symbol_by_name`.
    fn symbol_by_name(executable: Handle, name: *const c_char, agent: *const AgentHandle, symbol: *mut Handle) {
        if name.is_null() {
            return Err(Status::INVALID_ARGUMENT);
        }
        let name = CStr::from_ptr(name).to_string_lossy();
        let mut tables = tables();
        let found = find(tables.executable(executable)?, &name, agent.as_ref().copied());
        let found = found.ok_or(Status::INVALID_SYMBOL_NAME)?;
        put(symbol, tables.get().name(executable, found))
    }

    /// `hsa_executable_iterate_symbols`.
    fn iterate_symbols(
        executable: Handle, callback: Option<unsafe extern "C" fn(Handle, Handle, *mut c_void) -> Status>, data: *mut c_void,
    ) {
        let callback = callback.ok_or(Status::INVALID_ARGUMENT)?;
        let mut tables = tables();
        let all: Vec<Named> = tables.executable(executable)?.images.iter().flat_map(|(agent, image)| {
            image.symbols.iter().map(|(name, symbol)| Named {
                name: name.clone(),
                agent: *agent,
                symbol: symbol.clone(),
            })
        }).collect();
        let handles: Vec<Handle> = all.into_iter().map(|named| tables.get().name(executable, named)).collect();
        // The callback asks about the symbols.
        drop(tables);
        for handle in handles {
            match callback(executable, handle, data) {
                Status::SUCCESS => {}
                other => return Err(other),
            }
        }
        Ok(())
    }

    /// `hsa_executable_symbol_get_info`.
    fn symbol_info(symbol: Handle, attribute: u32, value: *mut c_void) {
        let named = tables().get().symbols.get(&symbol).cloned().ok_or(Status::INVALID_SYMBOL)?;
        match (attribute, &named.symbol) {
            // HSA_SYMBOL_KIND_VARIABLE and _KERNEL.
            (0, symbol) => put(value.cast(), u32::from(matches!(symbol, Symbol::Kernel { .. }))),
            (1, _) => put(value.cast(), named.name.len() as u32),
            (2, _) if value.is_null() => Err(Status::INVALID_ARGUMENT),
            (2, _) => {
                // Without an end, as the length says.
                std::ptr::copy_nonoverlapping(named.name.as_ptr(), value.cast(), named.name.len());
                Ok(())
            }
            (3, _) => put(value.cast(), 0_u32),
            (20, _) => put(value.cast(), named.agent),
            // Program linkage; a definition; allocated for the agent; global segment.
            (5, _) => put(value.cast(), 1_u32),
            (17, _) => put(value.cast(), true),
            (6, _) => put(value.cast(), 0_u32),
            (7, _) => put(value.cast(), 0_u32),
            (8, _) => put(value.cast(), 16_u32),
            (21, Symbol::Variable { address, .. }) => put(value.cast(), *address),
            (9, Symbol::Variable { size, .. }) => put(value.cast(), *size),
            (10, Symbol::Variable { is_const, .. }) => put(value.cast(), *is_const),
            (22, Symbol::Kernel { descriptor, .. }) => put(value.cast(), *descriptor),
            (11, Symbol::Kernel { arguments, .. }) => put(value.cast(), *arguments),
            (12, Symbol::Kernel { .. }) => put(value.cast(), 16_u32),
            (13, Symbol::Kernel { group_size, .. }) => put(value.cast(), *group_size),
            (14, Symbol::Kernel { private_size, .. }) => put(value.cast(), *private_size),
            (15, Symbol::Kernel { has_dynamic_stack, .. }) => put(value.cast(), *has_dynamic_stack),
            (18, Symbol::Kernel { .. }) => put(value.cast(), 0_u32),
            _ => Err(Status::INVALID_ARGUMENT),
        }
    }
}

/// The host's copy of a loaded address: memory is the process's, so it is the same.
///
/// # Safety
/// `host` is null or a place for the address.
pub unsafe extern "C" fn query_host_address(
    device: *const c_void,
    host: *mut *const c_void,
) -> Status {
    // SAFETY: the caller's promise.
    crate::abi::call::run(|| unsafe { put(host, device) })
}
