//! Kernels the simulator knows by name and computes on the CPU, so that programs can check results bit for bit.
//!
//! | name | C signature | result |
//! |---|---|---|
//! | `vector_add` | `(const float *a, const float *b, float *c, size_t n)` | `c[i] = a[i] + b[i]` |
//! | `saxpy` | `(float a, const float *x, float *y, size_t n)` | `y[i] = a * x[i] + y[i]`, rounded after each operation |
//! | `fill` | `(uint32_t *to, uint32_t value, size_t n)` | `to[i] = value` |
//! | `reduce` | `(const float *in, float *out, size_t n)` | `*out` = the sum in index order |
//! | `counter` | `(uint64_t *counter, uint64_t add)` | `*counter += add` |
//! | `hipsim_spin` | `(uint64_t ns)` | nothing; takes `ns` of device time |
//!
//! A C++ kernel is known by its plain name. Where the code object tells a kernel's arguments, another signature is another
//! kernel ([`Known::with_signature`]). Launch dimensions are not looked at.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::names::{parameters, plain_name};

/// One of the known kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// `vector_add`
    VectorAdd,
    /// `saxpy`
    Saxpy,
    /// `fill`
    Fill,
    /// `reduce`
    Reduce,
    /// `counter`
    Counter,
    /// `hipsim_spin`
    Spin,
}

/// Sizes in bytes of a kernel's parameters, which are aligned to their size.
type Layout = &'static [usize];

/// An argument of a kernel as its code object tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Bytes from the segment's start.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// What it is, as far as it is told.
    pub kind: ArgumentKind,
}

/// What kind of argument it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// The address of memory.
    Pointer,
    /// Any bytes, which may be an address.
    Bytes,
}

impl Known {
    /// The kernel with this name, mangled or not, if its arguments are those of the known one: a kernel of a program's own
    /// that has the name by chance is not computed.
    pub fn with_signature(name: &str, arguments: &[Argument]) -> Option<Self> {
        let known = Self::find(plain_name(name))?;
        (known.has_layout(arguments) && known.has_types(name)).then_some(known)
    }

    fn has_layout(self, arguments: &[Argument]) -> bool {
        let layout = self.layout();
        let mut end: usize = 0;
        arguments.len() == layout.len()
            && arguments
                .iter()
                .zip(layout)
                .zip(self.types())
                .all(|((argument, size), types)| {
                    let offset = end.next_multiple_of(*size);
                    end = offset + size;
                    let is_told_so =
                        argument.kind == ArgumentKind::Bytes || types[0].starts_with('P');
                    (argument.offset, argument.size) == (offset, *size) && is_told_so
                })
    }

    /// Whether a mangled name, if it is one, has the types of the known kernel.
    fn has_types(self, name: &str) -> bool {
        if !name.starts_with("_Z") {
            return true;
        }
        let Some(mut rest) = parameters(name) else {
            return false;
        };
        for (index, types) in self.types().iter().enumerate() {
            // A type that was there before, which is a pointer: the types before were those expected.
            let repeated = rest
                .strip_prefix('S')
                .filter(|_| index > 0 && types[0].starts_with('P'))
                .and_then(|rest| rest.split_once('_'))
                .filter(|(number, _)| {
                    number
                        .bytes()
                        .all(|digit| digit.is_ascii_digit() || digit.is_ascii_uppercase())
                });
            let left = match repeated {
                Some((_, left)) => Some(left),
                None => types.iter().find_map(|known| rest.strip_prefix(*known)),
            };
            let Some(left) = left else {
                return false;
            };
            rest = left;
        }
        rest.is_empty()
    }

    /// Mangled types that each parameter may have (Itanium C++ ABI, "Type encodings").
    fn types(self) -> &'static [&'static [&'static str]] {
        const FLOATS: &[&str] = &["Pf", "PKf"];
        const SIZE: &[&str] = &["m", "y"];
        match self {
            Self::VectorAdd => &[FLOATS, FLOATS, FLOATS, SIZE],
            Self::Saxpy => &[&["f"], FLOATS, FLOATS, SIZE],
            Self::Fill => &[&["Pj"], &["j"], SIZE],
            Self::Reduce => &[FLOATS, FLOATS, SIZE],
            Self::Counter => &[&["Pm", "Py"], SIZE],
            Self::Spin => &[SIZE],
        }
    }

    /// The kernel with this plain name.
    pub fn find(plain: &str) -> Option<Self> {
        Some(match plain {
            "vector_add" => Self::VectorAdd,
            "saxpy" => Self::Saxpy,
            "fill" => Self::Fill,
            "reduce" => Self::Reduce,
            "counter" => Self::Counter,
            "hipsim_spin" => Self::Spin,
            _ => return None,
        })
    }

    fn layout(self) -> Layout {
        match self {
            Self::VectorAdd => &[8, 8, 8, 8],
            Self::Saxpy => &[4, 8, 8, 8],
            Self::Fill => &[8, 4, 8],
            Self::Reduce => &[8, 8, 8],
            Self::Counter => &[8, 8],
            Self::Spin => &[8],
        }
    }

    /// Reads the arguments of `kernelParams`: an array of pointers to the values. They are copied now, as the runtime
    /// does, so that the caller may reuse its storage.
    ///
    /// # Safety
    /// `parameters` is null or what the kernel's signature demands.
    pub unsafe fn call_with_parameters(self, parameters: *mut *mut c_void) -> Option<KnownCall> {
        if parameters.is_null() {
            return None;
        }
        let mut arguments = [0; 4];
        for (index, size) in self.layout().iter().enumerate() {
            // SAFETY: the caller passes one pointer per parameter, to a value of its size.
            unsafe {
                let value = *parameters.add(index);
                if value.is_null() {
                    return None;
                }
                std::ptr::copy_nonoverlapping(
                    value.cast(),
                    (&raw mut arguments[index]).cast::<u8>(),
                    *size,
                );
            }
        }
        Some(KnownCall {
            kernel: self,
            arguments,
        })
    }

    /// Reads the arguments of a packed buffer (`HIP_LAUNCH_PARAM_BUFFER_POINTER`).
    pub fn call_with_buffer(self, buffer: &[u8]) -> Option<KnownCall> {
        let mut arguments = [0; 4];
        let mut offset: usize = 0;
        for (argument, size) in arguments.iter_mut().zip(self.layout()) {
            offset = offset.next_multiple_of(*size);
            let bytes = buffer.get(offset..offset + size)?;
            let mut word = [0; 8];
            word[..*size].copy_from_slice(bytes);
            *argument = u64::from_le_bytes(word);
            offset += size;
        }
        Some(KnownCall {
            kernel: self,
            arguments,
        })
    }
}

/// A known kernel with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownCall {
    kernel: Known,
    arguments: [u64; 4],
}

impl KnownCall {
    /// The device time this call asks for itself, in ns.
    pub fn requested_time(&self) -> Option<u64> {
        // A day is longer than any test and keeps sums of many launches from overflowing.
        (self.kernel == Known::Spin).then(|| self.arguments[0].min(86_400_000_000_000))
    }

    /// Whether it writes memory.
    pub fn has_effect(&self) -> bool {
        self.kernel != Known::Spin
    }

    /// The memory it uses: where, and how many bytes.
    pub fn memory(&self) -> [(usize, usize); 3] {
        let [a, b, c, d] = self.arguments.map(|word| word as usize);
        let words = |at: usize, count: usize| (at, count.saturating_mul(4));
        const NONE: (usize, usize) = (0, 0);
        match self.kernel {
            Known::VectorAdd => [words(a, d), words(b, d), words(c, d)],
            Known::Saxpy => [words(b, d), words(c, d), NONE],
            Known::Fill => [words(a, c), NONE, NONE],
            Known::Reduce => [words(a, c), words(b, 1), NONE],
            Known::Counter => [(a, 8), NONE, NONE],
            Known::Spin => [NONE; 3],
        }
    }

    fn pointer<T>(&self, index: usize) -> *mut T {
        self.arguments[index] as usize as *mut T
    }

    /// Computes it.
    ///
    /// # Safety
    /// The arguments are valid for the kernel's signature.
    pub unsafe fn run(&self) {
        let count = self.arguments[3] as usize;
        // SAFETY: the caller's promise. Raw pointers throughout: programs may pass the same buffer twice.
        unsafe {
            match self.kernel {
                Known::VectorAdd => {
                    let (a, b, c) = (
                        self.pointer::<f32>(0),
                        self.pointer::<f32>(1),
                        self.pointer::<f32>(2),
                    );
                    for i in 0..count {
                        *c.add(i) = *a.add(i) + *b.add(i);
                    }
                }
                Known::Saxpy => {
                    let a = f32::from_bits(self.arguments[0] as u32);
                    let (x, y) = (self.pointer::<f32>(1), self.pointer::<f32>(2));
                    for i in 0..count {
                        *y.add(i) += a * *x.add(i);
                    }
                }
                Known::Fill => {
                    let to = self.pointer::<u32>(0);
                    for i in 0..self.arguments[2] as usize {
                        *to.add(i) = self.arguments[1] as u32;
                    }
                }
                Known::Reduce => {
                    let (from, to) = (self.pointer::<f32>(0), self.pointer::<f32>(1));
                    let mut sum = 0.0;
                    for i in 0..self.arguments[2] as usize {
                        sum += *from.add(i);
                    }
                    *to = sum;
                }
                Known::Counter => {
                    // Atomically: kernels of two rings may count in one place at the same time.
                    let counter = self.pointer::<AtomicU64>(0);
                    (*counter).fetch_add(self.arguments[1], Ordering::SeqCst);
                }
                Known::Spin => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(sizes: &[usize]) -> Vec<Argument> {
        let mut end: usize = 0;
        let place = |size: &usize| {
            let offset = end.next_multiple_of(*size);
            end = offset + size;
            Argument {
                offset,
                size: *size,
                kind: ArgumentKind::Bytes,
            }
        };
        sizes.iter().map(place).collect()
    }

    #[test]
    fn a_kernel_with_other_arguments_is_another() {
        let find = |name, sizes: &[usize]| Known::with_signature(name, &arguments(sizes));
        assert_eq!(find("fill", &[8, 4, 8]), Some(Known::Fill));
        assert_eq!(find("fill", &[8, 4, 4]), None, "a count of 32 bits");
        assert_eq!(find("fill", &[8, 4]), None);
        assert_eq!(find("counter", &[8, 8, 8]), None);
        assert_eq!(find("hipsim_spin", &[8]), Some(Known::Spin));
        assert_eq!(find("other", &[8]), None);
        let mut told = arguments(&[8, 4, 8]);
        told[2].kind = ArgumentKind::Pointer;
        assert_eq!(Known::with_signature("fill", &told), None, "no count");
        told[2].kind = ArgumentKind::Bytes;
        told[0].kind = ArgumentKind::Pointer;
        assert_eq!(Known::with_signature("fill", &told), Some(Known::Fill));
    }

    #[test]
    fn a_mangled_name_tells_types() {
        let adds = |name| Known::with_signature(name, &arguments(&[8, 8, 8, 8])).is_some();
        assert!(adds("_Z10vector_addPKfS0_Pfm"));
        assert!(adds("_ZN3foo10vector_addEPKfS1_Pfm"));
        assert!(adds("_ZL10vector_addPfS_S_y"));
        for other in [
            "_Z10vector_addPKdS0_Pdm",
            "_Z10vector_addPKfS0_Pf",
            "_Z10vector_addPKfS0_Pfmi",
            "_Z10vector_addIfEvPKT_S2_PS0_m",
            "_ZN3foo10vector_addEPS_S0_S0_m",
            "_Z10vector_addPKfS0_Pfl",
            "_Z10vector_add",
        ] {
            assert!(!adds(other), "{other}");
        }
    }

    #[test]
    fn packed_and_pointed_arguments_agree() {
        let mut y = [10.0f32, 20.0];
        let x = [1.0f32, 2.0];
        let (mut a, mut xp, mut yp, mut n) = (0.5f32, x.as_ptr(), y.as_mut_ptr(), 2usize);
        let mut parameters = [
            (&raw mut a).cast::<c_void>(),
            (&raw mut xp).cast(),
            (&raw mut yp).cast(),
            (&raw mut n).cast(),
        ];
        // SAFETY: four pointers to values of saxpy's parameter types.
        let pointed =
            unsafe { Known::Saxpy.call_with_parameters(parameters.as_mut_ptr()) }.unwrap();
        let mut packed = Vec::new();
        packed.extend_from_slice(&a.to_le_bytes());
        packed.extend_from_slice(&[0xee; 4]);
        packed.extend_from_slice(&(xp as u64).to_le_bytes());
        packed.extend_from_slice(&(yp as u64).to_le_bytes());
        packed.extend_from_slice(&n.to_le_bytes());
        assert_eq!(Known::Saxpy.call_with_buffer(&packed), Some(pointed));
        assert_eq!(
            Known::Saxpy.call_with_buffer(&packed[..20]),
            None,
            "a short buffer"
        );
        // SAFETY: `x` and `y` hold two floats.
        unsafe { pointed.run() };
        assert_eq!(y, [10.5, 21.0]);
        let used = [(xp as usize, 8), (yp as usize, 8), (0, 0)];
        assert_eq!(pointed.memory(), used);
    }
}
