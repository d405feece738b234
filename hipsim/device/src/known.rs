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
//! A C++ kernel is known by its plain name, whatever its mangled one. Launch dimensions are not looked at.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

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

impl Known {
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
    }
}
