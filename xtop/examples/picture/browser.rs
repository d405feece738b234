//! What a browser shows of a picture, compared with the terminal: the same
//! characters, each in its cell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use xsched_client::{Endpoint, LinkEvent};
use xsched_common::api::Snapshot;
use xtop::input::Keymap;
use xtop::state::{Access, Msg, Settings, Size, Sort, State};
use xtop::text::width;
use xtop::theme::{Charset, Palette, Theme};
use xtop::ui::Ui;

use super::shapes::Shape;
use super::svg::{self, CELL, MARGIN};

/// Programs that can show a page without a screen and print it.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// How long each frame of an animated picture is shown, s.
const SECONDS: f32 = 0.5;

/// Goes to the middle of each frame and writes every visible character: frame,
/// where it begins and ends, its base line, its code point.
const SCRIPT: &str = "
const frames = Math.max(1, document.querySelectorAll('.f').length), seen = [];
for (let frame = 0; frame < frames; frame++) {
    for (const animation of document.getAnimations()) {
        animation.pause();
        animation.currentTime = (frame + .5) * SECONDS * 1000;
    }
    for (const text of document.querySelectorAll('svg text')) {
        if (getComputedStyle(text).visibility != 'visible') continue;
        const shown = text.textContent;
        for (let i = 0; i < shown.length;) {
            const code = shown.codePointAt(i), next = i + (code > 0xffff ? 2 : 1);
            const begin = text.getStartPositionOfChar(i);
            const end = text.getEndPositionOfChar(next - 1);
            seen.push([frame, begin.x, end.x, begin.y, code].join(' '));
            i = next;
        }
    }
}
document.body.textContent = 'SEEN\\n' + seen.join('\\n') + '\\nEND';
";

/// What stands in each cell, by line and column.
type Grid = BTreeMap<(usize, usize), String>;

/// What a browser shows of each frame; none where there is no browser, which
/// is said.
fn shown(picture: &str) -> Option<Vec<Grid>> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let page = folder.path().join("page.html");
    let script = SCRIPT.replace("SECONDS", &SECONDS.to_string());
    let html = format!(
        "<!doctype html><meta charset=\"utf-8\"><body>{picture}<script>{script}</script></body>"
    );
    std::fs::write(&page, html).expect("writable");
    let output = BROWSERS.iter().find_map(|browser| {
        let mut command = Command::new("timeout");
        command
            .args(["90", browser, "--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--disable-dev-shm-usage", "--no-first-run", "--dump-dom"])
            .arg(format!("--user-data-dir={}", folder.path().display()))
            .arg(format!("file://{}", page.display()));
        let output = command.output().expect("timeout runs");
        // 127: there is no such program.
        (output.status.code() != Some(127)).then_some(output)
    });
    let Some(output) = output else {
        eprintln!("LEFT OUT: this test needs a browser (apt-get install chromium)");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let seen = text
        .split_once("SEEN\n")
        .and_then(|(_, rest)| rest.split_once("\nEND"));
    let (seen, _) = seen.unwrap_or_else(|| {
        panic!(
            "no page: {text} {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let mut grids = Vec::new();
    for line in seen.lines() {
        let fields: Vec<f64> = line
            .split(' ')
            .map(|field| field.parse().expect("a number"))
            .collect();
        let [frame, begin, end, base, code] = fields[..] else {
            panic!("{line}");
        };
        let character = char::from_u32(code as u32).expect("a character");
        let column = (begin - MARGIN as f64) / CELL.0 as f64;
        let line = (base - MARGIN as f64) / CELL.1 as f64;
        assert!(
            (column - column.round()).abs() < 0.25,
            "{character:?} begins at column {column} of line {line}"
        );
        // Half a cell: an icon may be a little wider than its cells.
        let cells = (end - begin) / CELL.0 as f64;
        let own = width(&character.to_string()).max(1) as f64;
        assert!(
            cells <= own + 0.5,
            "{character:?} takes {cells} cells at {column} of line {line}"
        );
        grids.resize_with(grids.len().max(frame as usize + 1), Grid::new);
        let cell = grids[frame as usize].entry((line as usize, column.round() as usize));
        cell.or_default().push(character);
    }
    Some(grids)
}

/// The characters of a screen's text that are written, by cell.
fn written(text: &str) -> Grid {
    use unicode_segmentation::UnicodeSegmentation as _;
    let mut grid = Grid::new();
    for (line, text) in text.lines().enumerate() {
        let mut column = 0;
        for symbol in text.graphemes(true) {
            if symbol != " " && Shape::of(symbol).is_none() {
                grid.insert((line, column), symbol.to_owned());
            }
            column += width(symbol).max(1);
        }
    }
    grid
}

fn assert_same(shown: &Grid, text: &str, what: &str) {
    let expected = written(text);
    let differs = expected
        .iter()
        .find(|(cell, symbol)| shown.get(cell) != Some(symbol));
    assert_eq!(
        differs.map(|d| (d, shown.get(d.0))),
        None,
        "{what}: missing"
    );
    let more = shown.iter().find(|(cell, _)| !expected.contains_key(cell));
    assert_eq!(more, None, "{what}: nothing is there");
}

/// xtop's screens, with the agent's snapshot as recorded once.
fn screens() -> Vec<Buffer> {
    let mut snapshot: Snapshot =
        serde_json::from_str(include_str!("../../tests/data/snapshot.json")).expect("a snapshot");
    let size = Size {
        width: 130,
        height: 40,
    };
    let settings = Settings {
        endpoint: Endpoint::Socket("/nowhere".into()),
        interval: Duration::from_secs(1),
        access: Access::Full,
        sort: Sort::default(),
        filter: String::new(),
        uid: 0,
    };
    let mut ui = Ui {
        state: State::new(settings, size),
        keys: Keymap::default(),
        theme: Theme::new(Palette::Dark, Charset::Unicode),
    };
    let mut terminal = Terminal::new(TestBackend::new(size.width, size.height)).expect("memory");
    let mut screens = Vec::new();
    for (key, second) in "12345".chars().zip(1..) {
        let now = Duration::from_secs(second);
        snapshot.time_unix_ns += 1_000_000_000;
        ui.update(
            now,
            Msg::Link(LinkEvent::Snapshot(Box::new(snapshot.clone()))),
        );
        let press = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
        ui.event(now, &Event::Key(press));
        let drawn = terminal.draw(|frame| ui.draw(frame)).expect("memory");
        screens.push(drawn.buffer.clone());
    }
    screens
}

#[test]
fn a_browser_shows_each_screen_as_the_terminal_does() {
    let mut screens = screens();
    let mut scripts = Buffer::empty(Rect::new(0, 0, 130, 40));
    scripts.set_string(3, 2, "推論サーバ  a<b & \"c\"  → … é  │x│", Style::new());
    screens.push(scripts);
    let Some(shown) = shown(&svg::animated(&screens, SECONDS)) else {
        return;
    };
    assert_eq!(shown.len(), screens.len());
    for (n, (shown, screen)) in shown.iter().zip(&screens).enumerate() {
        assert!(n == 5 || shown.len() > 200, "frame {n}: {}", shown.len());
        assert_same(shown, &svg::text(screen), &format!("frame {n}"));
    }
}

fn documents() -> Vec<PathBuf> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let files = std::fs::read_dir(docs).expect("the documents");
    let paths = files.map(|file| file.expect("a file").path());
    paths
        .filter(|path| {
            let name = path.file_name().map(|name| name.to_string_lossy());
            name.is_some_and(|name| name.starts_with("xtop") && name.ends_with(".svg"))
        })
        .collect()
}

/// Each says in its description what its first screen is.
#[test]
fn a_browser_shows_the_documents_pictures_as_they_were_drawn() {
    let documents = documents();
    assert!(documents.len() >= 4, "{documents:?}");
    for path in documents {
        let picture = std::fs::read_to_string(&path).expect("readable");
        assert!(picture.len() <= 200 << 10, "{}: too large", path.display());
        let described = picture
            .split_once("<desc>")
            .and_then(|(_, rest)| rest.split_once("</desc>"))
            .unwrap_or_else(|| panic!("{} has no description", path.display()));
        let text = described.0.replace("&lt;", "<").replace("&gt;", ">");
        let text = text.replace("&amp;", "&");
        let Some(shown) = shown(&picture) else { return };
        assert_same(&shown[0], &text, &path.display().to_string());
    }
}
