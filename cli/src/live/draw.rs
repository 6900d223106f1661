//! Draws a view. From the top to the bottom, and what there is no room for is left out:
//!
//! ```text
//! the frames
//! the workers, in columns if they are many
//! the last minute
//! rates and amounts, in four columns
//! what fibers wait for
//! the keys, in the last line
//! ```

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Sparkline};

use super::history::{COLUMNS, View};
use super::snapshot::Worker;
use super::text::{bar, bytes, count, seconds, shortened};

/// Wider lines are harder to read.
const WIDTH_MAX: u16 = 120;
/// The least width of a worker.
const WORKER_WIDTH: u16 = 38;
/// What a worker's line takes beside its bar.
const WORKER_TEXT: u16 = 30;
/// Rows of the table.
const TABLE_ROWS: u16 = 6;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let area = frame.area();
    let mut rest = Rect { width: area.width.min(WIDTH_MAX), ..area };
    let keys = Rect { y: rest.bottom().saturating_sub(1), height: rest.height.min(1), ..rest };
    rest.height = rest.height.saturating_sub(1);
    frame.render_widget(keys_line(view), keys);

    rule(frame, &mut rest, "ramie demo");
    let row = cut(&mut rest, 1);
    frame.render_widget(frames_line(view, row.width), row);
    draw_workers(frame, &mut rest, &view.now.workers, area.height / 4);
    draw_minute(frame, &mut rest, view);
    draw_table(frame, &mut rest, view);
    draw_waits(frame, &mut rest, view);
}

/// The first rows of an area, which it no longer has afterwards.
fn cut(area: &mut Rect, rows: u16) -> Rect {
    let rows = rows.min(area.height);
    let cut = Rect { height: rows, ..*area };
    (area.y, area.height) = (area.y + rows, area.height - rows);
    cut
}

/// Column `index` of so many.
fn column(area: Rect, index: usize, count: usize) -> Rect {
    let width = area.width / count.max(1) as u16;
    Rect { x: area.x + width * index as u16, width, ..area }
}

/// A horizontal line with a title in it.
fn rule(frame: &mut Frame<'_>, rest: &mut Rect, title: &str) {
    let row = cut(rest, 1);
    let title = Line::from(vec![Span::raw("─").dark_gray(), Span::raw(format!(" {title} ")).bold()]);
    let line = Block::new().borders(Borders::TOP).border_style(Style::new().dark_gray());
    frame.render_widget(line.title(title), row);
}

fn keys_line(view: &View) -> Line<'static> {
    if view.ends {
        return Line::from(" The demo ends when the frames that have begun are done.").yellow();
    }
    let space = if view.paused {
        "space: go on (the view is paused, the demo is not)"
    } else {
        "space: pause the view"
    };
    Line::from(format!(" q: end the demo early   {space}")).dark_gray()
}

fn frames_line(view: &View, width: u16) -> Line<'static> {
    let share = f64::from(view.frames) / f64::from(view.frames_total.max(1));
    let before = format!(" frame {:>4} of {:<4} ", view.frames, view.frames_total);
    let after = format!(
        "{:>4.0} % {:>5.0} frames/s {:>9}",
        100.0 * share,
        view.frames_per_second,
        seconds(view.elapsed)
    );
    let bar_width = usize::from(width).saturating_sub(before.len() + after.len() + 1);
    let mut line = Line::from(before);
    line.extend(bar(share, bar_width, Color::Green));
    line.push_span(after);
    line
}

/// Draws as many workers as there is room for, in up to so many rows.
fn draw_workers(frame: &mut Frame<'_>, rest: &mut Rect, workers: &[Worker], rows_max: u16) {
    let rows_max = usize::from(rows_max.max(1));
    let columns = workers.len().div_ceil(rows_max).min(usize::from(rest.width / WORKER_WIDTH)).max(1);
    let rows = workers.len().div_ceil(columns).min(rows_max);
    let shown = workers.len().min(rows * columns);
    let title = if shown < workers.len() {
        format!("{shown} of {} workers: how busy, and how much is queued", workers.len())
    } else {
        "workers: how busy, and how much is queued".to_owned()
    };
    rule(frame, rest, &title);
    let area = cut(rest, rows as u16);
    for (index, worker) in workers[..shown].iter().enumerate() {
        let cell = column(area, index / rows, columns);
        let row = index % rows;
        if row < usize::from(area.height) {
            frame.render_widget(
                worker_line(worker, cell.width),
                Rect { y: cell.y + row as u16, height: 1, ..cell },
            );
        }
    }
}

fn worker_line(worker: &Worker, width: u16) -> Line<'static> {
    let mut line = Line::from(format!(" {:>6} ", worker.name));
    line.extend(bar(worker.busy, usize::from(width.saturating_sub(WORKER_TEXT)), Color::Cyan));
    line.push_span(format!("{:>4.0} % {:>8} queued", 100.0 * worker.busy, count(worker.queued as u64)));
    line
}

/// A column for each second; the newest is the last.
fn draw_minute(frame: &mut Frame<'_>, rest: &mut Rect, view: &View) {
    const BEFORE: &str = "   60 s ago ";
    rule(frame, rest, "all workers in the last minute: how busy");
    let area = cut(rest, 2);
    let room = usize::from(area.width).saturating_sub(BEFORE.len() + " 100 %".len()).min(COLUMNS);
    let newest = &view.minute[view.minute.len().saturating_sub(room)..];
    if let Some(row) = area.rows().next_back() {
        let now = newest.last().copied().unwrap_or_default();
        frame.render_widget(
            Line::from(vec![
                Span::raw(BEFORE).dark_gray(),
                Span::raw(" ".repeat(room)),
                Span::raw(format!("{now:>4} %")),
            ]),
            row,
        );
    }
    let graph =
        Rect { x: area.x + (BEFORE.len() + room - newest.len()) as u16, width: newest.len() as u16, ..area };
    let graph = graph.intersection(area);
    frame.render_widget(Sparkline::default().data(newest).max(100).style(Style::new().cyan()), graph);
}

fn draw_table(frame: &mut Frame<'_>, rest: &mut Rect, view: &View) {
    let (rates, now) = (&view.rates, &view.now);
    let each =
        |rows: &[(&'static str, u64)]| rows.iter().map(|&(name, value)| (name, count(value))).collect();
    let columns: [(&str, Vec<(&str, String)>); 4] = [
        (
            "per second",
            each(&[
                ("jobs", rates.jobs),
                ("steals", rates.steals),
                ("suspended", rates.suspensions),
                ("wakes", rates.wakes),
                ("parks", rates.parks),
            ]),
        ),
        ("steals from", each(&rates.steals_by_distance)),
        ("suspended for", each(&rates.suspensions_by_reason)),
        (
            "now",
            vec![
                ("fibers", count(now.fibers)),
                ("at most", count(now.fibers_max)),
                ("jobs not begun", count(now.unstarted)),
                ("stacks", count(now.stacks)),
                ("deepest", bytes(now.stack_used_bytes)),
                ("frame bytes", bytes(now.frame_bytes)),
            ],
        ),
    ];
    let area = cut(rest, 1 + TABLE_ROWS);
    for (index, (title, rows)) in columns.iter().enumerate() {
        let mut cell = column(area, index, columns.len());
        rule(frame, &mut cell, title);
        let gap = if index + 1 < columns.len() { 2 } else { 1 };
        let width = usize::from(cell.width).saturating_sub(gap);
        for (name, value) in rows {
            let name = shortened(name, width.saturating_sub(value.len() + 1));
            let room = width.saturating_sub(name.chars().count());
            let row = cut(&mut cell, 1);
            frame.render_widget(Line::from(format!(" {name}{value:>room$}")), row);
        }
    }
}

fn draw_waits(frame: &mut Frame<'_>, rest: &mut Rect, view: &View) {
    rule(frame, rest, "fibers that wait, and how long the oldest does");
    if view.waits.is_empty() {
        let row = cut(rest, 1);
        frame.render_widget(Line::from("      none").dark_gray(), row);
    }
    let rows = usize::from(rest.height);
    let shown = if view.waits.len() > rows { rows.saturating_sub(1) } else { rows };
    let width = usize::from(rest.width);
    for wait in view.waits.iter().take(shown) {
        let job = if wait.job.is_empty() { "unnamed" } else { wait.job };
        let before = format!("{:>7}  {job:<10} ", count(wait.count as u64));
        let place = if wait.place.is_empty() { String::new() } else { format!(" at {}", wait.place) };
        let age = format!("{:>9}", seconds(wait.oldest));
        let taken = [&before, &place, &age].map(|text| text.chars().count()).iter().sum();
        let waits_for = shortened(&wait.waits_for, width.saturating_sub(taken));
        let text = format!("{before}{waits_for}{place}");
        let room = width.saturating_sub(age.len());
        let row = cut(rest, 1);
        frame.render_widget(Line::from(format!("{text:<room$}{age}")), row);
    }
    if shown < view.waits.len() {
        let row = cut(rest, 1);
        let more = format!("        and {} more places", view.waits.len() - shown);
        frame.render_widget(Line::from(more).dark_gray(), row);
    }
}

#[cfg(test)]
mod tests;
