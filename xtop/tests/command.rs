//! The built command, on terminals and pipes.

mod proxy;
mod screen;
mod text;

mod support {
    pub mod agent;
}
