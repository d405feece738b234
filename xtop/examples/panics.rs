//! Panics while it has the screen: what the terminal is like then is tested in `tests/screen.rs`.

fn main() {
    let mut screen = xtop::terminal::Screen::enter().expect("a terminal");
    screen.terminal.hide_cursor().expect("hides");
    panic!("planted");
}
