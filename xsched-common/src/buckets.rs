//! The buckets of latency histograms, in pages and in BPF maps alike.
//!
//! The scheme is HdrHistogram's (http://hdrhistogram.org): 16 linear
//! sub-buckets per power of two, so a bucket is at most 1/16 of its value
//! wide and quantiles are right within about 3%. Values are nanoseconds;
//! everything from 2^40 ns (18 minutes) up shares the last bucket.

use crate::units::Nanos;

const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;
const MAX_BITS: u32 = 40;

/// Number of buckets.
pub const BUCKETS: usize = SUB * (MAX_BITS - SUB_BITS + 1) as usize;

/// The bucket a value is counted in.
pub const fn bucket_of(value: Nanos) -> usize {
    let v = value.0;
    if v < SUB as u64 {
        return v as usize;
    }
    let exponent = v.ilog2();
    if exponent >= MAX_BITS {
        return BUCKETS - 1;
    }
    let octave = (exponent - SUB_BITS) as usize;
    let within = (v >> octave) as usize - SUB;
    SUB + octave * SUB + within
}

/// Lowest value of a bucket and the first value beyond it.
pub const fn bucket_bounds(bucket: usize) -> (Nanos, Nanos) {
    if bucket < SUB {
        return (Nanos(bucket as u64), Nanos(bucket as u64 + 1));
    }
    let octave = (bucket - SUB) / SUB;
    let within = (bucket - SUB) % SUB;
    let low = ((SUB + within) as u64) << octave;
    (Nanos(low), Nanos(low + (1 << octave)))
}
