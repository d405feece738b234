//! `proxy`: the API socket over stdin and stdout.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use xsched_client::Error;

use super::run_dir;

/// For tools on another machine: `ssh HOST xsched-agent proxy` speaks the agent's
/// protocol, JSON lines, on stdin and stdout. What it may change is what the
/// user who runs it may change.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  echo '{\"op\":\"hello\"}' | xsched-agent proxy
  ssh gpu7 xsched-agent proxy
  xtop --ssh gpu7

Exit codes: 0 stdin or stdout ended, 2 no agent, or it ended the connection")]
pub struct Options {
    /// Print the JSON schema of requests and responses, and leave
    #[arg(long)]
    schema: bool,
}

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.schema {
        super::print(&format!("{:#}\n", xsched_agent::export::schema()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let run_dir = run_dir();
    let socket = run_dir.api_socket();
    let stream = UnixStream::connect(&socket).map_err(|e| Error::to_connect(&socket, e))?;
    let asked_all = Arc::new(AtomicBool::new(false));
    {
        let (to, asked_all) = (stream.try_clone()?, asked_all.clone());
        // Not joined: a read of stdin cannot be ended from here.
        std::thread::Builder::new()
            .name("requests".into())
            .spawn(move || {
                let _ = copy(io::stdin().lock(), &to);
                asked_all.store(true, Relaxed);
                // The agent answers what it was asked, and then ends.
                let _ = to.shutdown(Shutdown::Write);
            })?;
    }
    match copy(&stream, io::stdout().lock()) {
        Ok(()) if asked_all.load(Relaxed) => Ok(ExitCode::SUCCESS),
        Ok(()) => anyhow::bail!(
            "the agent at {} has ended the connection: look whether it still runs",
            run_dir.api_socket().display()
        ),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(e) => Err(e.into()),
    }
}

/// Until the end, each piece at once: the other side waits for it.
fn copy(mut from: impl Read, mut to: impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) if e.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(e) => return Err(e),
        };
        to.write_all(&buffer[..length])?;
        to.flush()?;
    }
}
