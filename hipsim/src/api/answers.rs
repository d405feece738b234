//! Functions whose answer is no error code: names, numbers, structures, nothing. `data/answers.tsv` lists all of the ABI.

use std::ffi::{c_char, c_int, c_uint};

use super::support::put;

/// `hipChannelFormatDesc`, returned through a pointer that the caller passes first.
#[repr(C)]
pub struct ChannelDescription {
    bits: [c_int; 4],
    kind: c_int,
}

pub unsafe extern "C" fn channel_description(
    x: c_int,
    y: c_int,
    z: c_int,
    w: c_int,
    kind: c_int,
) -> ChannelDescription {
    ChannelDescription {
        bits: [x, y, z, w],
        kind,
    }
}

/// Names for tools that trace the runtime's calls, which are not told of any here.
pub unsafe extern "C" fn name(_number: c_uint) -> *const c_char {
    c"unknown".as_ptr()
}

pub unsafe extern "C" fn build_name() -> *const c_char {
    c"hipsim".as_ptr()
}

pub unsafe extern "C" fn git_hash() -> *const c_char {
    c"".as_ptr()
}

pub unsafe extern "C" fn build_id() -> usize {
    0
}

/// There is no precompiled header.
pub unsafe extern "C" fn precompiled_header(at: *mut *const c_char, size: *mut c_uint) {
    // SAFETY: the program's pointers for the results.
    unsafe {
        let _ = put(at, std::ptr::null());
        let _ = put(size, 0);
    }
}

/// For functions that return nothing and have nothing to do.
pub unsafe extern "C" fn nothing() {}

/// A compiler's helper: an IEEE half (1 + 5 + 10 bits) as a float.
pub unsafe extern "C" fn half_to_float(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10 & 0x1f), u32::from(half & 0x3ff));
    match exponent {
        // Zero or a subnormal: a multiple of 2^-24, which a float holds exactly.
        0 => f32::from_bits(sign | (fraction as f32 / 16_777_216.0).to_bits()),
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The reverse, rounded to nearest, ties to even.
pub unsafe extern "C" fn float_to_half(float: f32) -> u16 {
    let bits = float.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let half = match magnitude {
        // Not a number stays one, quietly.
        0x7f80_0001.. => 0x7e00,
        // From 65520 on nearest is infinity.
        0x477f_f000.. => 0x7c00,
        // Normal: a carry of the rounding goes into the exponent, as it should.
        0x3880_0000.. => round(magnitude - (112 << 23), 13),
        // Subnormal: the fraction with its hidden bit, in units of 2^-24.
        0x3300_0000.. => round(magnitude & 0x7f_ffff | 0x80_0000, 126 - (magnitude >> 23)),
        _ => 0,
    };
    sign | half as u16
}

/// Drops the last bits of a number.
fn round(number: u32, bits: u32) -> u32 {
    let (kept, rest, half) = (number >> bits, number & ((1 << bits) - 1), 1 << (bits - 1));
    kept + u32::from(rest > half || (rest == half && kept & 1 == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_survive_the_round_trip() {
        for half in 0..=u16::MAX {
            // SAFETY: no pointers.
            let (float, again) =
                unsafe { (half_to_float(half), float_to_half(half_to_float(half))) };
            if float.is_nan() {
                assert_eq!(again & 0x7fff, 0x7e00, "{half:#x}");
            } else {
                assert_eq!(again, half, "{float}");
            }
        }
    }

    #[test]
    fn halves_are_rounded_to_nearest_even() {
        for (float, half) in [
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65519.9, 0x7bff),
            (65520.0, 0x7c00),
            (f32::INFINITY, 0x7c00),
            // Half-way between two halves: to the even one.
            (1.0 + 1.0 / 2048.0, 0x3c00),
            (1.0 + 3.0 / 2048.0, 0x3c02),
            // The least subnormal, half of it, and a little more than half.
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (2.980_233e-8, 0x0001),
        ] {
            // SAFETY: no pointers.
            assert_eq!(unsafe { float_to_half(float) }, half, "{float}");
        }
    }
}
