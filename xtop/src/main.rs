//! The `xtop` command.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use xtop::cli::{Args, Task};

fn main() -> ExitCode {
    let args = Args::parse();
    let usage = |error: &dyn std::error::Error| {
        eprintln!("xtop: {error}");
        ExitCode::from(2)
    };
    match args.manual().serve(Args::command()) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        Err(error) => return usage(&error),
    }
    if let Some(contradiction) = args.contradiction() {
        eprintln!("xtop: {contradiction}");
        return ExitCode::from(2);
    }
    if let Err(error) = xsched_common::run_dir::check() {
        return usage(&error);
    }
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return usage(&error),
    };
    let tape = match args.tape() {
        Ok(tape) => tape,
        Err(error) => return usage(&error),
    };
    let saved = args.saved();
    let settings = args.settings(&saved);
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
            Task::Interactive => {
                let start = xtop::app::Start {
                    settings,
                    keys: config.keys.clone(),
                    theme: args.theme(&config),
                    saved,
                    saves: match args.saves() {
                        true => xtop::app::Saves::AtTheEnd,
                        false => xtop::app::Saves::Never,
                    },
                    hosts: args.hosts().to_vec(),
                };
                xtop::app::run(start, tape).await
            }
            Task::Print { count, format } => {
                xtop::output::run(&settings, tape, count, format).await
            }
        }
    })
}
