//! What the dynamic linker has mapped, read without its locks being held
//! for long.
//!
//! `dlsym` takes the loader lock, which a thread that runs another library's
//! constructor holds for as long as it likes; a constructor that waits for a
//! thread that launches a kernel would hang. `dl_iterate_phdr` takes only
//! the short lock of the object list, so symbols are looked up by walking
//! the objects' own tables. It is the C library's own `dl_iterate_phdr` that
//! we call, see [`host`].

mod chain;
mod hidden;
pub mod host;
mod imports;
mod objects;
mod symbols;

pub use chain::{has_dlsym, vdso};
pub use hidden::Hidden;
pub use imports::slots;
pub use objects::{Object, Slot, basename, object_at, own_contains, visit};
pub use symbols::{Version, is_linked_with, lookup};
