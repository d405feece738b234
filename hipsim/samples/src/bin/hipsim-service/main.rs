//! A service on HIP.

mod hip;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    hipsim_samples::service::main::<hip::Hip>()
}
