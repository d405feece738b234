//! A vendor's library, opened by name.

use std::ffi::{CStr, c_char};

use super::Silent;

/// An open library whose functions return zero on success.
pub struct Library {
    file: &'static str,
    inner: libloading::Library,
}

impl Library {
    /// Opens `file` as the dynamic linker finds it.
    pub fn open(file: &'static str) -> Result<Library, Silent> {
        // SAFETY: a library that the administrator has installed; what its
        // initialisers do is what they do in each of the vendor's own tools.
        let inner = unsafe { libloading::Library::new(file) };
        inner
            .map(|inner| Library { file, inner })
            .map_err(|_| Silent::Absent(file))
    }

    /// The function of this name.
    ///
    /// # Safety
    /// `F` must be its type.
    pub unsafe fn function<F: Copy>(&self, name: &'static str) -> Result<F, Silent> {
        // SAFETY: the caller's promise.
        let symbol = unsafe { self.inner.get::<F>(name) };
        symbol.map(|symbol| *symbol).map_err(|_| Silent::Lacking {
            library: self.file,
            function: name,
        })
    }

    /// Turns what `function` returned into an error, unless it is zero.
    pub fn check(&self, function: &'static str, code: i32) -> Result<(), Silent> {
        match code {
            0 => Ok(()),
            code => Err(Silent::Refused {
                library: self.file,
                function,
                code,
            }),
        }
    }
}

/// The text that `fill` has written into a buffer of the given size; `None`
/// if it failed or wrote nothing.
pub fn text(fill: impl FnOnce(*mut c_char, usize) -> i32) -> Option<String> {
    const SIZE: usize = 256;
    let mut buffer = [0_u8; SIZE];
    if fill(buffer.as_mut_ptr().cast(), SIZE) != 0 {
        return None;
    }
    let text = CStr::from_bytes_until_nul(&buffer).ok()?;
    Some(text.to_string_lossy().into_owned()).filter(|text| !text.is_empty())
}
