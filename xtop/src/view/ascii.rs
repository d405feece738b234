//! The screen in ASCII alone: what is drawn with other characters gets the
//! nearest that there is. Names of programs may be in any script; what has no
//! likeness is `?`.

use ratatui::buffer::Buffer;

/// Replaces everything else.
pub fn convert(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if !cell.symbol().is_ascii() {
            let like = cell.symbol().chars().next().and_then(likeness);
            cell.set_symbol(like.unwrap_or("?"));
        }
    }
}

fn likeness(c: char) -> Option<&'static str> {
    Some(match c {
        '│' | '┃' => "|",
        '─' | '━' => "-",
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => "+",
        '•' => "*",
        '░' => ".",
        '▒' => ":",
        '▓' => "+",
        '█' => "#",
        // A cell of braille has up to eight dots.
        '\u{2800}'..='\u{28ff}' => match (c as u32 - 0x2800).count_ones() {
            0 => " ",
            1..=2 => ".",
            3..=4 => ":",
            5..=6 => "+",
            _ => "#",
        },
        _ => return None,
    })
}
