//! What /proc tells about a process: identity, mapped objects, environment.
