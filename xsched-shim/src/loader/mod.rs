//! What the dynamic linker has mapped, read without its locks being held
//! for long.
//!
//! `dlsym` takes the loader lock, which a thread that runs another library's
//! constructor holds for as long as it likes; a constructor that waits for a
//! thread that launches a kernel would hang. `dl_iterate_phdr` takes only
//! the short lock of the object list, so symbols are looked up by walking
//! the objects' own tables.

mod objects;
mod symbols;

pub use objects::{Object, basename, object_at, own_contains, visit};
pub use symbols::{Version, lookup};
