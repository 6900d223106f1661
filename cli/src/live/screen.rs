//! The terminal: its other screen is the view's, and the keys come one by one.
//!
//! Everything is written to stderr, under its lock, and only while the screen is open. So whoever closes it, be it a
//! panic on another thread in the midst of drawing, has the last word.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

use super::draw::draw;
use super::history::View;

/// Whether the view has the terminal. Read and written under the lock of stderr, which is what orders the accesses.
static OPEN: AtomicBool = AtomicBool::new(false);

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    End,
    Pause,
}

/// The terminal while it shows the view; dropping this gives it back.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Output>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let print = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                close();
                print(panic);
            }));
        });
        let mut stderr = io::stderr().lock();
        OPEN.store(true, Relaxed);
        let mut open = || {
            enable_raw_mode()?;
            execute!(stderr, EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(Output::default()))
        };
        open().map(|terminal| Self { terminal }).inspect_err(|_| close())
    }

    pub(super) fn is_open(&self) -> bool {
        let _stderr = io::stderr().lock();
        OPEN.load(Relaxed)
    }

    pub(super) fn draw(&mut self, view: &View) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, view)).map(drop)
    }

    /// The next key that was pressed and means something.
    pub(super) fn key(&mut self) -> io::Result<Option<Key>> {
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else { continue };
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            let meaning = match key.code {
                _ if key.kind != KeyEventKind::Press => None,
                KeyCode::Char('c') if control => Some(Key::End),
                KeyCode::Char('q') | KeyCode::Esc => Some(Key::End),
                KeyCode::Char(' ') => Some(Key::Pause),
                _ => None,
            };
            if meaning.is_some() {
                return Ok(meaning);
            }
        }
        Ok(None)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        close();
    }
}

/// Gives the terminal back as it was, if the view has it.
fn close() {
    let mut stderr = io::stderr().lock();
    if OPEN.swap(false, Relaxed) {
        // If this fails there is no terminal any more.
        let _ = execute!(stderr, LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Collects what is drawn, and writes it at once.
#[derive(Debug, Default)]
struct Output {
    bytes: Vec<u8>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut stderr = io::stderr().lock();
        if OPEN.load(Relaxed) {
            stderr.write_all(&self.bytes)?;
        }
        self.bytes.clear();
        stderr.flush()
    }
}
