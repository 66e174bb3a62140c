//! The live view's picture.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::bar;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Row as TableRow, Table};

use super::app::{App, SORT_KEYS};
use super::rates::{Column, Row};
use super::text::{duration, percent, short};

/// Lines that are not rows of the table: a summary, the headings, the keys.
const OTHER_LINES: u16 = 3;

/// Columns that the history gets on a wide screen.
const WIDE_HISTORY: u16 = 24;

const BARS: [&str; 8] = [
    bar::ONE_EIGHTH,
    bar::ONE_QUARTER,
    bar::THREE_EIGHTHS,
    bar::HALF,
    bar::FIVE_EIGHTHS,
    bar::THREE_QUARTERS,
    bar::SEVEN_EIGHTHS,
    bar::FULL,
];

/// Rows of the table that a screen of this height has room for.
pub(crate) fn room(height: u16) -> usize {
    usize::from(height.saturating_sub(OTHER_LINES))
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &App) {
    let [summary, table, keys] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(self::summary(app), summary);
    draw_table(frame, app, table);
    frame.render_widget(self::keys(app), keys);
    if app.help {
        draw_help(frame);
    }
}

fn summary(app: &App) -> Line<'static> {
    let (rate, cpu) = app.total();
    let mut spans = vec![
        "bombus top".bold(),
        format!(
            "  {} programs  {} runs/s  {}% of a CPU  every {:.3}s",
            app.count(),
            short(rate),
            percent(cpu),
            app.interval.as_secs_f64()
        )
        .into(),
    ];
    if app.paused {
        spans.push("  PAUSED".bold().yellow());
    }
    spans.into()
}

fn keys(app: &App) -> Line<'static> {
    if app.typing {
        return Line::from(vec!["/".bold(), app.filter.clone().into(), "_".into()]);
    }
    let mut line = Line::default();
    if !app.filter.is_empty() {
        line.push_span(format!("filter: {}  ", app.filter).yellow());
    }
    for (key, what) in
        [("c r n t i y m", "sort"), ("/", "filter"), ("p", "pause"), ("?", "help"), ("q", "quit")]
    {
        line.push_span(key.bold());
        line.push_span(Span::from(format!(" {what}  ")));
    }
    line
}

/// The widths of the columns: name and history take what a wide screen has, the holders the rest.
fn widths(width: u16) -> [Constraint; 9] {
    let wide = width >= 110;
    [
        Constraint::Length(6),
        Constraint::Length(if wide { 16 } else { 10 }),
        Constraint::Length(15),
        Constraint::Length(6),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(if wide { WIDE_HISTORY } else { 8 }),
        Constraint::Fill(1),
    ]
}

fn heading(app: &App, name: &'static str, column: Option<Column>, right: bool) -> Line<'static> {
    let mut line = Line::from(name);
    if right {
        line = line.right_aligned();
    }
    if column == Some(app.order.column) { line.reversed() } else { line }
}

fn draw_table(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let headings = TableRow::new([
        heading(app, "ID", Some(Column::Id), true),
        heading(app, "TYPE", Some(Column::Kind), false),
        heading(app, "NAME", Some(Column::Name), false),
        heading(app, "RUNS/S", Some(Column::Rate), true),
        heading(app, "NS/RUN", Some(Column::NsPerRun), true),
        heading(app, "CPU%", Some(Column::Cpu), true),
        heading(app, "TOTAL", Some(Column::Total), true),
        heading(app, "HISTORY", None, false),
        heading(app, "HELD BY", None, false),
    ])
    .style(Style::new().add_modifier(Modifier::BOLD));
    let rows = app.rows();
    let room = usize::from(area.height.saturating_sub(1));
    let first = app.first_shown(rows.len(), room);
    let history = if area.width >= 110 { WIDE_HISTORY } else { 8 };
    let shown = rows.iter().skip(first).take(room).map(|row| line(row, usize::from(history)));
    let table = Table::new(shown, widths(area.width)).header(headings).column_spacing(1);
    frame.render_widget(table, area);
}

/// A program's line; what stands still is dim.
fn line(row: &Row, history: usize) -> TableRow<'static> {
    let right = |text: String| Line::from(text).right_aligned();
    let style = if row.rate > 0.0 { Style::new() } else { Style::new().dim() };
    TableRow::new([
        right(row.id.to_string()),
        row.kind.clone().into(),
        row.name.clone().into(),
        right(short(row.rate)),
        right(row.ns_per_run.map_or("-".to_owned(), |ns| short(ns.round()))),
        right(percent(row.cpu)),
        right(duration(row.run_time_ns as f64)),
        Line::from(sparkline(row, history)).style(Style::new().fg(Color::Green)),
        row.holders_text().into(),
    ])
    .style(style)
}

/// The newest part of the history, as tall as its own highest point.
fn sparkline(row: &Row, width: usize) -> String {
    let skipped = row.history.len().saturating_sub(width);
    let newest = || row.history.iter().skip(skipped).copied();
    let highest = newest().max().unwrap_or(0).max(1);
    let mut text = " ".repeat(width.saturating_sub(row.history.len()));
    for share in newest() {
        let level = (share * BARS.len() as u64).div_ceil(highest);
        text.push_str(match level {
            0 => " ",
            level => BARS[(level as usize).min(BARS.len()) - 1],
        });
    }
    text
}

fn draw_help(frame: &mut Frame<'_>) {
    let name = |column| match column {
        Column::Id => "id",
        Column::Kind => "type",
        Column::Name => "name",
        Column::Rate => "runs a second",
        Column::NsPerRun => "nanoseconds a run",
        Column::Cpu => "CPU share (100 is one CPU)",
        Column::Total => "total time",
    };
    let mut lines: Vec<(String, String)> = SORT_KEYS
        .iter()
        .map(|(key, column)| (key.to_string(), format!("sort by {}", name(*column))))
        .collect();
    let others = [
        ("", "the same key again reverses"),
        ("/", "filter by id, type, name or holder; Esc forgets it"),
        ("p", "pause and go on"),
        ("+ -", "look more or less often"),
        ("up down", "scroll, also by pages"),
        ("q", "quit, as Esc and Ctrl-C"),
    ];
    lines.extend(others.map(|(key, what)| (key.to_owned(), what.to_owned())));
    let area = frame.area();
    let (width, height) = (64.min(area.width), (lines.len() as u16 + 2).min(area.height));
    let area = area.centered(Constraint::Length(width), Constraint::Length(height));
    let lines: Vec<Line<'_>> = lines
        .into_iter()
        .map(|(key, what)| Line::from(vec![format!("{key:>8}  ").bold(), what.into()]))
        .collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" Keys ")), area);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use expect_test::{ExpectFile, expect_file};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::app::{App, Key};
    use super::super::rates::tests::sample;
    use super::*;

    fn busy() -> App {
        let mut app = App::new(Duration::from_secs(1));
        for at in 0..30_u64 {
            let programs = [
                (17, "count_openat", at * 1_234, at * at * 50_000),
                (4, "drop_icmp", at * 2_500_000, at * 700_000_000 + (at % 5) * 90_000_000),
                (233, "idle", 3, 2_100),
            ];
            app.add(sample(at * 1_000_000_000, &programs));
        }
        app
    }

    fn screen(app: &App, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, app)).expect("a picture");
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            format!("{}\n", line.trim_end())
        });
        lines.collect()
    }

    fn check(app: &App, width: u16, height: u16, expected: ExpectFile) {
        expected.assert_eq(&screen(app, width, height));
    }

    #[test]
    fn narrow_and_wide() {
        check(&busy(), 80, 8, expect_file!["../../tests/top/narrow.txt"]);
        check(&busy(), 120, 8, expect_file!["../../tests/top/wide.txt"]);
    }

    #[test]
    fn paused_with_a_filter() {
        let mut app = busy();
        "/xdp".chars().for_each(|char| {
            app.press(Key::Char(char), 5);
        });
        check(&app, 80, 6, expect_file!["../../tests/top/typing.txt"]);
        app.press(Key::Enter, 5);
        app.press(Key::Char('p'), 5);
        check(&app, 80, 6, expect_file!["../../tests/top/filtered.txt"]);
    }

    #[test]
    fn help() {
        let mut app = busy();
        app.press(Key::Char('?'), 5);
        check(&app, 80, 18, expect_file!["../../tests/top/help.txt"]);
    }

    #[test]
    fn more_than_fits() {
        let mut app = App::new(Duration::from_secs(1));
        let names: Vec<String> = (1..=40).map(|id| format!("program{id}")).collect();
        let programs: Vec<_> =
            names.iter().zip(1..).map(|(name, id)| (id, name.as_str(), 0, 0)).collect();
        app.add(sample(0, &programs));
        app.press(Key::PageDown, room(8));
        check(&app, 80, 8, expect_file!["../../tests/top/scrolled.txt"]);
    }

    /// No size of the screen is too small to draw on.
    #[test]
    fn any_size() {
        let mut app = busy();
        app.help = true;
        for (width, height) in [(1, 1), (3, 2), (20, 3), (79, 1), (300, 100)] {
            assert_eq!(screen(&app, width, height).lines().count(), usize::from(height));
        }
    }
}
