//! The file: one line of JSON for the header, then one per snapshot.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xsched_common::api::{API_VERSION, MAX_LINE, Snapshot};

/// Version of the format. Fields may be added without a new one.
pub const FORMAT_VERSION: u32 = 1;

/// Snapshots that are read: two weeks of one per second.
const MAX_FRAMES: usize = 1 << 20;

/// The longest header that is read, bytes.
const MAX_HEADER: u64 = 64 << 10;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    xtop_recording: u32,
    api_version: u32,
}

/// Every other line.
#[derive(Serialize)]
struct Frame<'a> {
    at_ms: u64,
    snapshot: &'a Snapshot,
}

#[derive(Deserialize)]
struct OwnedFrame {
    snapshot: Snapshot,
}

/// The part of a line that the index needs.
#[derive(Deserialize)]
struct FrameTime {
    at_ms: u64,
}

/// Why a recording cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file itself.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is something else.
    #[error("{} is no recording of xtop: make one with `xtop --record FILE`", path.display())]
    NoRecording {
        /// The file.
        path: PathBuf,
    },
    /// It is of a later xtop.
    #[error("{} has format {version}, this xtop reads {FORMAT_VERSION}: update xtop", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// A line is not as it should be.
    #[error("{} line {line}: {what}: the file is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// There is nothing in it.
    #[error("{} holds no snapshot", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// Writes a recording.
#[derive(Debug)]
pub struct Writer {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Writer {
    /// Begins a recording at `path`, which must not exist yet.
    pub fn create(path: &Path) -> Result<Writer, Error> {
        let file = File::create_new(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let mut writer = Writer {
            path: path.to_owned(),
            file: BufWriter::new(file),
        };
        writer.line(&Header {
            xtop_recording: FORMAT_VERSION,
            api_version: API_VERSION,
        })?;
        Ok(writer)
    }

    /// Appends a snapshot seen `at` after the start.
    pub fn push(&mut self, at: Duration, snapshot: &Snapshot) -> Result<(), Error> {
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.line(&Frame { at_ms, snapshot })
    }

    /// Every line reaches the file at once: a recording that is cut off ends
    /// with a whole line or a torn one, which readers leave out.
    fn line(&mut self, value: &impl Serialize) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut self.file, value)
            .map_err(io::Error::from)
            .and_then(|()| self.file.write_all(b"\n"))
            .and_then(|()| self.file.flush());
        written.map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })
    }
}

/// A recording that can be read from anywhere. Only the places of its lines
/// are kept in memory.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: BufReader<File>,
    frames: Vec<FrameEntry>,
}

#[derive(Clone, Copy, Debug)]
struct FrameEntry {
    at: Duration,
    offset: u64,
    length: usize,
}

impl Recording {
    /// Opens and indexes the file at `path`.
    pub fn open(path: &Path) -> Result<Recording, Error> {
        let open = || {
            let file = File::open(path)?;
            match file.metadata()?.is_file() {
                true => Ok(file),
                // A pipe cannot be sought, a directory not be read.
                false => Err(io::Error::other("not a regular file")),
            }
        };
        let file = open().map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let mut recording = Recording {
            path: path.to_owned(),
            file: BufReader::with_capacity(64 << 10, file),
            frames: Vec::new(),
        };
        recording.index()?;
        Ok(recording)
    }

    fn index(&mut self) -> Result<(), Error> {
        let mut offset = self.read_header()?;
        let mut line = Vec::new();
        for number in 2.. {
            line.clear();
            let mut bounded = (&mut self.file).take(MAX_LINE as u64 + 1);
            let read = bounded.read_until(b'\n', &mut line);
            let length = read.map_err(|source| self.file_error(source))?;
            if line.last() != Some(&b'\n') {
                if length > MAX_LINE {
                    return Err(self.damaged(number, format!("longer than {MAX_LINE} bytes")));
                }
                // The end, perhaps with a line that was being written.
                break;
            }
            if self.frames.len() >= MAX_FRAMES {
                return Err(self.damaged(number, format!("more than {MAX_FRAMES} snapshots")));
            }
            let time: FrameTime =
                serde_json::from_slice(&line).map_err(|e| self.damaged(number, e.to_string()))?;
            // A clock that goes backwards stands still instead.
            let before = self.frames.last().map_or(Duration::ZERO, |frame| frame.at);
            let at = Duration::from_millis(time.at_ms).max(before);
            self.frames.push(FrameEntry { at, offset, length });
            offset += length as u64;
        }
        match self.frames.is_empty() {
            true => Err(Error::Empty {
                path: self.path.clone(),
            }),
            false => Ok(()),
        }
    }

    /// Length of the header's line.
    fn read_header(&mut self) -> Result<u64, Error> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.file).take(MAX_HEADER);
        let read = bounded.read_until(b'\n', &mut line);
        let length = read.map_err(|source| self.file_error(source))?;
        let path = || self.path.clone();
        match serde_json::from_slice::<Header>(&line) {
            Err(_) => Err(Error::NoRecording { path: path() }),
            Ok(header) if header.xtop_recording > FORMAT_VERSION => Err(Error::TooNew {
                path: path(),
                version: header.xtop_recording,
            }),
            Ok(_) => Ok(length as u64),
        }
    }

    /// Snapshots in it; never none.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none; never so.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// When the snapshot `index` was seen, since the first.
    pub fn time(&self, index: usize) -> Duration {
        let first = self.frames.first().map_or(Duration::ZERO, |frame| frame.at);
        let frame = self.frames.get(index).or(self.frames.last());
        frame.map_or(Duration::ZERO, |frame| frame.at.saturating_sub(first))
    }

    /// The last snapshot that was seen by `time` since the first.
    pub fn index_at(&self, time: Duration) -> usize {
        let first = self.time_of_first();
        self.frames
            .partition_point(|frame| frame.at.saturating_sub(first) <= time)
            .saturating_sub(1)
    }

    fn time_of_first(&self) -> Duration {
        self.frames.first().map_or(Duration::ZERO, |frame| frame.at)
    }

    /// Reads the snapshot `index`.
    pub fn read(&mut self, index: usize) -> Result<Snapshot, Error> {
        let line = index + 2;
        let Some(place) = self.frames.get(index).copied() else {
            return Err(self.damaged(line, "it is missing".into()));
        };
        let mut bytes = vec![0; place.length];
        let read = self.file.seek(SeekFrom::Start(place.offset));
        read.and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| self.file_error(source))?;
        serde_json::from_slice::<OwnedFrame>(&bytes)
            .map(|frame| frame.snapshot)
            .map_err(|e| self.damaged(line, e.to_string()))
    }

    fn file_error(&self, source: io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            source,
        }
    }

    fn damaged(&self, line: usize, what: String) -> Error {
        Error::Damaged {
            path: self.path.clone(),
            line,
            what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{many, typical};

    fn write(lines: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("recording");
        std::fs::write(&path, lines.concat()).expect("writes");
        (dir, path)
    }

    #[test]
    fn what_was_written_is_read_from_anywhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("recording");
        let mut writer = Writer::create(&path).expect("creates");
        for second in 1..=5 {
            let snapshot = many(second as u32);
            writer
                .push(Duration::from_secs(10 + second), &snapshot)
                .expect("writes");
        }
        assert!(Writer::create(&path).is_err(), "nothing is overwritten");
        let mut recording = Recording::open(&path).expect("opens");
        for index in [4, 0, 2] {
            assert_eq!(
                recording.read(index).expect("reads"),
                many(index as u32 + 1)
            );
        }
        assert_eq!(recording.time(4), Duration::from_secs(4));
        let at = |ms| recording.index_at(Duration::from_millis(ms));
        assert_eq!((at(0), at(999), at(1_000), at(99_000)), (0, 0, 1, 4));
    }

    #[test]
    fn a_torn_end_is_left_out() {
        let frame = serde_json::to_string(&typical()).expect("serialises");
        let line = format!("{{\"at_ms\":7,\"snapshot\":{frame}}}\n");
        let header = "{\"xtop_recording\":1,\"api_version\":1,\"later\":true}\n";
        let (_dir, path) = write(&[header, &line, &line[..40]]);
        let mut recording = Recording::open(&path).expect("opens");
        assert_eq!(recording.len(), 1);
        assert_eq!(recording.read(0).expect("reads"), typical());
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        let header = "{\"xtop_recording\":1,\"api_version\":1}\n";
        let long = "x".repeat(MAX_LINE + 2);
        let said = |lines: &[&str]| {
            let (_dir, path) = write(lines);
            let opened = Recording::open(&path);
            opened
                .and_then(|mut r| r.read(0))
                .expect_err("refused")
                .to_string()
        };
        assert!(said(&[]).contains("no recording of xtop"));
        assert!(said(&["\x7fELF\0\0\n"]).contains("no recording of xtop"));
        assert!(said(&[&long]).contains("no recording of xtop"));
        assert!(said(&[header]).contains("holds no snapshot"));
        assert!(said(&["{\"xtop_recording\":2,\"api_version\":1}\n"]).contains("format 2"));
        assert!(said(&[header, "{\"at_ms\":-1}\n"]).contains("line 2"));
        assert!(said(&[header, "{\"at_ms\":1,\"snapshot\":[]}\n"]).contains("line 2"));
        assert!(said(&[header, &long]).contains("longer than"));
        let directory = Recording::open(Path::new("/")).expect_err("refused");
        assert!(directory.to_string().contains("not a regular file"));
    }

    #[test]
    fn times_never_go_back() {
        let frame = |ms: u64| format!("{{\"at_ms\":{ms},\"snapshot\":0}}\n");
        let header = "{\"xtop_recording\":1,\"api_version\":1}\n";
        let (_dir, path) = write(&[header, &frame(500), &frame(u64::MAX), &frame(3)]);
        let recording = Recording::open(&path).expect("opens");
        assert!(recording.time(2) >= recording.time(1));
        assert_eq!(recording.index_at(Duration::MAX), 2);
    }
}
