//! The live view on a terminal, which is left as it was found, whatever ends the view.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use bombus_runtime::Signals;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::app::{App, Key, Next};
use super::sample::Sampler;
use super::view;
use crate::failure::Failure;

/// How long a signal may have to wait until somebody looks.
const PATIENCE: Duration = Duration::from_millis(200);

/// Signals that end the view; the terminal gives Ctrl-C as a key.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Shows the view until somebody ends it.
pub(crate) fn show(sampler: &mut Sampler<'_>, interval: Duration) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::new("bombus top needs a terminal")
            .help("--once prints one table without a terminal, -j with it JSON"));
    }
    let failed = |error: io::Error| Failure::new(format!("could not use the terminal: {error}"));
    let signals = Signals::catch(&ENDING).map_err(failed)?;
    let mut app = App::new(interval);
    // The first look before the screen is taken: it may fail for want of a privilege.
    app.add(sampler.look().map_err(|error| Failure::kernel(&error, false))?);
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let outcome = run(&mut terminal, &mut app, sampler, &signals);
    ratatui::try_restore().map_err(failed)?;
    outcome
}

fn run(
    terminal: &mut DefaultTerminal,
    app: &mut App,
    sampler: &mut Sampler<'_>,
    signals: &Signals,
) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(format!("could not use the terminal: {error}"));
    let mut last_look = Instant::now();
    while signals.take().is_empty() {
        let left = app.interval.saturating_sub(last_look.elapsed());
        if left.is_zero() {
            app.add(sampler.look().map_err(|error| Failure::kernel(&error, false))?);
            last_look = Instant::now();
        }
        terminal.draw(|frame| view::draw(frame, app)).map_err(failed)?;
        let wait = app.interval.saturating_sub(last_look.elapsed()).min(PATIENCE);
        if !event::poll(wait).map_err(failed)? {
            continue;
        }
        if let Some(key) = key(&event::read().map_err(failed)?) {
            let height = terminal.size().map_err(failed)?.height;
            if app.press(key, view::room(height)) == Next::Quit {
                break;
            }
        }
    }
    Ok(())
}

fn key(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return None;
    };
    let control = modifiers.contains(KeyModifiers::CONTROL);
    Some(match code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char(_) if control => return None,
        KeyCode::Char(char) => Key::Char(*char),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        _ => return None,
    })
}
