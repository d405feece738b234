//! The GPU's clock while it is measured.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// A reader of the driver's own tool; without it nothing is known.
pub struct Clock {
    tool: Option<Child>,
    seen: Arc<Mutex<Vec<(Instant, f64)>>>,
}

impl Drop for Clock {
    fn drop(&mut self) {
        if let Some(tool) = &mut self.tool {
            let _ = tool.kill();
            let _ = tool.wait();
        }
    }
}

impl Clock {
    /// Begins to read it, four times a second.
    pub fn start() -> Clock {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let query = [
            "--query-gpu=clocks.sm",
            "--format=csv,noheader,nounits",
            "-lms",
            "250",
        ];
        let tool = Command::new("nvidia-smi")
            .args(query)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut tool = tool.ok();
        if let Some(out) = tool.as_mut().and_then(|tool| tool.stdout.take()) {
            let seen = seen.clone();
            // Ends with the tool.
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    if let Ok(mhz) = line.trim().parse() {
                        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                        seen.push((Instant::now(), mhz));
                    }
                }
            });
        }
        Clock { tool, seen }
    }

    /// A moment to look back to.
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// MHz; `None` if it was not read since.
    pub fn mean_since(&self, since: Instant) -> Option<f64> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let later: Vec<f64> = seen
            .iter()
            .filter(|(at, _)| *at >= since)
            .map(|(_, mhz)| *mhz)
            .collect();
        (!later.is_empty()).then(|| later.iter().sum::<f64>() / later.len() as f64)
    }
}
