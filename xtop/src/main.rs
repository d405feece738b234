//! The `xtop` command.

use std::process::ExitCode;

use clap::Parser;
use xtop::cli::{Args, Task};

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("xtop: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        match args.task() {
            Task::Interactive => xtop::app::run(args.settings(), args.theme()).await,
            Task::Print { count, format } => {
                xtop::output::run(&args.settings(), count, format).await
            }
        }
    })
}
