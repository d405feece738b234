//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use xsched_common::api::MAX_LINE;

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The peer closed, perhaps within a line.
    #[error("closed")]
    Closed,
    /// Longer than [`MAX_LINE`].
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
    /// Reading failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads up to and without the next newline.
pub async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, LineError> {
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Err(LineError::Closed);
        }
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..newline.unwrap_or(buffer.len())];
        if line.len() + part.len() > MAX_LINE {
            return Err(LineError::TooLong);
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(newline.is_some());
        reader.consume(used);
        if newline.is_some() {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(mut input: &[u8]) -> (Vec<Vec<u8>>, LineError) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut lines = Vec::new();
            loop {
                match read(&mut input).await {
                    Ok(line) => lines.push(line),
                    Err(error) => return (lines, error),
                }
            }
        })
    }

    #[test]
    fn lines_come_one_by_one_and_a_torn_one_is_none() {
        let (lines, error) = read_all(b"one\n\ntwo\ntorn");
        assert_eq!(lines, [&b"one"[..], b"", b"two"]);
        assert!(matches!(error, LineError::Closed));
    }

    #[test]
    fn endless_lines_are_refused() {
        let mut input = vec![b'x'; MAX_LINE];
        input.push(b'\n');
        let (lines, _) = read_all(&input);
        assert_eq!(lines.len(), 1, "the longest line is still read");
        input.insert(0, b'x');
        let (lines, error) = read_all(&input);
        assert!(lines.is_empty() && matches!(error, LineError::TooLong));
    }
}
