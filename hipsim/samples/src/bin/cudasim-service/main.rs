//! A service on CUDA, at the driver's interface.

mod cuda;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    hipsim_samples::service::main::<cuda::Cuda>()
}
