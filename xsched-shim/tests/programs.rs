//! Programs under the built library, beside each other.

mod accidents;
mod exports;
mod gate;
mod groups;
mod imports;
mod lifecycle;
mod queues;
mod sanitizers;
mod strict;
mod support;
mod surroundings;
mod timing;
mod transparency;
