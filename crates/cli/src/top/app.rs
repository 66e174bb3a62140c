//! What the live view shows and what its keys do, without a terminal.

use std::time::Duration;

use super::rates::{Column, Order, Rates, Row, Sample};

/// The shortest and the longest time between two looks.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(125), Duration::from_secs(64));

/// A key, as far as there are differences.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C.
    Interrupt,
}

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    GoOn,
    Quit,
}

/// The state of the view.
#[derive(Clone, Debug)]
pub(crate) struct App {
    rates: Rates,
    pub(crate) order: Order,
    pub(crate) interval: Duration,
    pub(crate) paused: bool,
    pub(crate) help: bool,
    pub(crate) filter: String,
    /// The filter is being typed.
    pub(crate) typing: bool,
    /// The first row that is shown.
    top: usize,
}

/// Keys that sort, with the heading that they sort by.
pub(crate) const SORT_KEYS: [(char, Column); 7] = [
    ('i', Column::Id),
    ('y', Column::Kind),
    ('m', Column::Name),
    ('r', Column::Rate),
    ('n', Column::NsPerRun),
    ('c', Column::Cpu),
    ('t', Column::Total),
];

impl App {
    /// Nothing seen yet; the busiest programs first.
    pub(crate) fn new(interval: Duration) -> App {
        App {
            rates: Rates::default(),
            order: Order { column: Column::Cpu, reversed: false },
            interval: interval.clamp(INTERVALS.0, INTERVALS.1),
            paused: false,
            help: false,
            filter: String::new(),
            typing: false,
            top: 0,
        }
    }

    /// Takes a look in, unless the view stands still.
    pub(crate) fn add(&mut self, sample: Sample) {
        if !self.paused {
            self.rates.add(sample);
        }
    }

    /// The rows that pass the filter, in order.
    pub(crate) fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> =
            self.rates.rows().filter(|row| row.matches(&self.filter)).collect();
        self.order.sort(&mut rows);
        rows
    }

    /// How many programs there are, whatever the filter says.
    pub(crate) fn count(&self) -> usize {
        self.rates.rows().count()
    }

    /// Runs a second, and per cent of one CPU, of all programs together.
    pub(crate) fn total(&self) -> (f64, f64) {
        self.rates.total()
    }

    /// The first of `rows` rows that is shown where there is room for `room`.
    pub(crate) fn first_shown(&self, rows: usize, room: usize) -> usize {
        self.top.min(rows.saturating_sub(room))
    }

    /// Does what a key asks for. `room`: rows that the screen has room for.
    pub(crate) fn press(&mut self, key: Key, room: usize) -> Next {
        if key == Key::Interrupt {
            return Next::Quit;
        }
        if self.typing {
            self.edit_filter(key);
            return Next::GoOn;
        }
        // Whatever closes the help has no other meaning.
        if std::mem::take(&mut self.help) {
            return Next::GoOn;
        }
        let last = self.rows().len().saturating_sub(room);
        self.top = self.top.min(last);
        match key {
            Key::Char('q') => return Next::Quit,
            Key::Escape if self.filter.is_empty() => return Next::Quit,
            Key::Escape => self.filter.clear(),
            Key::Char('?' | 'h') => self.help = true,
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Char('/') => self.typing = true,
            Key::Char('+') => self.interval = (self.interval / 2).max(INTERVALS.0),
            Key::Char('-') => self.interval = (self.interval * 2).min(INTERVALS.1),
            Key::Up | Key::Char('k') => self.top = self.top.saturating_sub(1),
            Key::Down | Key::Char('j') => self.top = (self.top + 1).min(last),
            Key::PageUp => self.top = self.top.saturating_sub(room),
            Key::PageDown => self.top = (self.top + room).min(last),
            Key::Home => self.top = 0,
            Key::End => self.top = last,
            Key::Char(char) => {
                if let Some((_, column)) = SORT_KEYS.iter().find(|(key, _)| *key == char) {
                    self.sort_by(*column);
                }
            }
            Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        Next::GoOn
    }

    /// The same column a second time: the other way round.
    fn sort_by(&mut self, column: Column) {
        let reversed = self.order.column == column && !self.order.reversed;
        self.order = Order { column, reversed };
    }

    fn edit_filter(&mut self, key: Key) {
        match key {
            Key::Char(char) => self.filter.push(char),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::rates::tests::sample;
    use super::*;

    /// A view of a few programs after two looks.
    pub(crate) fn app(programs: &[(u32, &str, u64, u64)]) -> App {
        let mut app = App::new(Duration::from_secs(1));
        let before: Vec<_> = programs.iter().map(|&(id, name, ..)| (id, name, 0, 0)).collect();
        app.add(sample(0, &before));
        app.add(sample(1_000_000_000, programs));
        app
    }

    fn ids(app: &App) -> Vec<u32> {
        app.rows().iter().map(|row| row.id).collect()
    }

    fn type_in(app: &mut App, text: &str) {
        text.chars().for_each(|char| assert_eq!(app.press(Key::Char(char), 10), Next::GoOn));
    }

    #[test]
    fn quitting() {
        for key in [Key::Char('q'), Key::Escape, Key::Interrupt] {
            assert_eq!(app(&[]).press(key, 10), Next::Quit);
        }
        let mut app = app(&[]);
        type_in(&mut app, "/q");
        assert_eq!(app.filter, "q");
        assert_eq!(app.press(Key::Interrupt, 10), Next::Quit);
    }

    #[test]
    fn sorting_and_reversing() {
        let mut app = app(&[(1, "b", 1, 10), (2, "a", 2, 30)]);
        assert_eq!(ids(&app), [2, 1]);
        type_in(&mut app, "i");
        assert_eq!(ids(&app), [1, 2]);
        type_in(&mut app, "i");
        assert_eq!(ids(&app), [2, 1]);
        type_in(&mut app, "m");
        assert_eq!(ids(&app), [2, 1]);
        assert!(!app.order.reversed);
    }

    #[test]
    fn filtering() {
        let mut app = app(&[(1, "alpha", 1, 10), (2, "beta", 2, 30)]);
        type_in(&mut app, "/alx");
        assert_eq!(ids(&app), [0; 0]);
        app.press(Key::Backspace, 10);
        app.press(Key::Enter, 10);
        assert_eq!(ids(&app), [1]);
        assert_eq!(app.count(), 2);
        // Once to be rid of the filter, once to quit.
        assert_eq!(app.press(Key::Escape, 10), Next::GoOn);
        assert_eq!(ids(&app), [2, 1]);
        assert_eq!(app.press(Key::Escape, 10), Next::Quit);
    }

    #[test]
    fn a_pause_keeps_what_is_shown() {
        let mut app = app(&[(1, "a", 100, 1000)]);
        type_in(&mut app, "p");
        app.add(sample(2_000_000_000, &[(1, "a", 900, 1000)]));
        assert_eq!(app.rows()[0].rate, 100.0);
        type_in(&mut app, " ");
        // The time of the pause counts: 800 runs in two seconds.
        app.add(sample(3_000_000_000, &[(1, "a", 900, 1000)]));
        assert_eq!(app.rows()[0].rate, 400.0);
    }

    #[test]
    fn intervals_have_bounds() {
        let mut app = app(&[]);
        (0..20).for_each(|_| type_in(&mut app, "+"));
        assert_eq!(app.interval, INTERVALS.0);
        (0..20).for_each(|_| type_in(&mut app, "-"));
        assert_eq!(app.interval, INTERVALS.1);
    }

    #[test]
    fn scrolling_stays_inside() {
        let programs: Vec<_> = (1..=25).map(|id| (id, "p", 0, 0)).collect();
        let mut app = app(&programs);
        let shown = |app: &App| app.first_shown(25, 10);
        app.press(Key::Up, 10);
        assert_eq!(shown(&app), 0);
        app.press(Key::PageDown, 10);
        app.press(Key::Down, 10);
        assert_eq!(shown(&app), 11);
        app.press(Key::End, 10);
        app.press(Key::Down, 10);
        assert_eq!(shown(&app), 15);
        // Where the screen grew, there is nothing below the end.
        assert_eq!(app.first_shown(25, 20), 5);
        app.press(Key::PageUp, 10);
        assert_eq!(shown(&app), 5);
        app.press(Key::Home, 10);
        assert_eq!(shown(&app), 0);
    }

    #[test]
    fn any_key_closes_the_help() {
        let mut app = app(&[]);
        type_in(&mut app, "?");
        assert!(app.help);
        assert_eq!(app.press(Key::Char('q'), 10), Next::GoOn);
        assert!(!app.help);
    }
}
