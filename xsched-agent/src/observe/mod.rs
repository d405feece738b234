//! The observer: finds images of the runtime, probes them, drains the counts.
