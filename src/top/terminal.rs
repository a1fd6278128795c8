//! The terminal: another screen while the program runs, and the one that was there afterwards, however it ends.

use std::io::{Stdout, Write as _, stdout};
use std::time::Duration;

use anyhow::Context as _;
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, poll, read};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use tokio::sync::mpsc;

/// How long the thread that waits for keys outlives the screen.
const LOOK: Duration = Duration::from_millis(200);
const KEYS: &str = "b behind  e events  y bytes  o oldest  t tenant  q quit";

/// What the person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Quit,
    Resized,
}

pub(super) struct Terminal {
    out: Stdout,
    keys: mpsc::Receiver<Key>,
}

impl Terminal {
    pub(super) fn open() -> anyhow::Result<Terminal> {
        let (sender, keys) = mpsc::channel(16);
        let mut terminal = Terminal { out: stdout(), keys };
        enable_raw_mode().context("use the terminal (in a pipe, --once prints once)")?;
        execute!(terminal.out, EnterAlternateScreen, Hide)?;
        // Waiting for keys blocks.
        std::thread::spawn(move || listen(&sender));
        Ok(terminal)
    }

    /// The next key; `None`: there will be none.
    pub(super) async fn key(&mut self) -> Option<Key> {
        self.keys.recv().await
    }

    /// Draws as much of the page as there is room for.
    pub(super) fn draw(&mut self, page: &str, flaw: Option<&str>) -> anyhow::Result<()> {
        let (columns, rows) = size()?;
        let last = flaw.unwrap_or(KEYS);
        let lines = page.lines().take(usize::from(rows).saturating_sub(1));
        queue!(self.out, MoveTo(0, 0))?;
        for line in lines {
            write!(self.out, "{}", clipped(line, columns))?;
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
            write!(self.out, "\r\n")?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), MoveTo(0, rows.saturating_sub(1)))?;
        write!(self.out, "{}", clipped(last, columns))?;
        Ok(self.out.flush()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to set right.
        let _ = execute!(self.out, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn clipped(line: &str, columns: u16) -> &str {
    line.char_indices().nth(usize::from(columns)).map_or(line, |(end, _)| &line[..end])
}

/// Until nobody waits for keys any more, or the terminal is gone.
fn listen(keys: &mpsc::Sender<Key>) {
    while !keys.is_closed() {
        let event = match poll(LOOK) {
            Ok(false) => continue,
            Ok(true) => read(),
            Err(_) => return,
        };
        let Ok(event) = event else { return };
        if let Some(key) = key(&event)
            && keys.blocking_send(key).is_err()
        {
            return;
        }
    }
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Resize(..) => Some(Key::Resized),
        Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
            // In raw mode the terminal does not make a signal of it.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Quit),
            KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
            KeyCode::Char(char) => Some(Key::Char(char)),
            _ => None,
        },
        _ => None,
    }
}
