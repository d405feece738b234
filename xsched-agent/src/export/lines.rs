//! Bounded lines: a peer that never ends its line must not fill memory.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Longest request that is read, bytes.
pub(super) const MAX_REQUEST: usize = 64 << 10;

/// What reading a line brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Complete(Vec<u8>),
    /// The line exceeds [`MAX_REQUEST`].
    TooLong,
    /// The peer closed; half a line before that is dropped.
    Closed,
}

/// Reads up to the next newline.
pub(super) async fn read_line(from: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Line> {
    let mut line = Vec::new();
    loop {
        let chunk = from.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Line::Closed);
        }
        let (taken, ended) = match chunk.iter().position(|&b| b == b'\n') {
            Some(end) => (end, true),
            None => (chunk.len(), false),
        };
        if line.len() + taken > MAX_REQUEST {
            return Ok(Line::TooLong);
        }
        line.extend_from_slice(&chunk[..taken]);
        from.consume(taken + usize::from(ended));
        if ended {
            return Ok(Line::Complete(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> Vec<Line> {
        let mut out = Vec::new();
        loop {
            let line = read_line(&mut bytes).await.expect("memory");
            let last = matches!(line, Line::Closed | Line::TooLong);
            out.push(line);
            if last {
                return out;
            }
        }
    }

    #[tokio::test]
    async fn lines_are_cut_at_newlines_and_bounded() {
        let got = read_all(b"one\n\ntwo\nhalf").await;
        let line = |text: &str| Line::Complete(text.as_bytes().to_vec());
        assert_eq!(got, [line("one"), line(""), line("two"), Line::Closed]);
        assert_eq!(
            read_all(&vec![b'x'; MAX_REQUEST + 1]).await,
            [Line::TooLong]
        );
    }
}
