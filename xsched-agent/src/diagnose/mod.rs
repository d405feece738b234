//! Diagnosis: why work of a process escapes scheduling.
