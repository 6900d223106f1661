//! A workload's medians as bars, a panel for each metric: a row for each system, and in it a bar for each number of
//! workers, with a whisker from the smallest run to the largest.

use super::{
    Role, role,
    scale::Scale,
    svg::{ALARM, Anchor, FAINT, Font, GRID, INK, LINE_HEIGHT, Svg, text_width, wrapped},
    tick_label,
};
use crate::report::{
    grid::figure_in,
    section::{Entry, MetricSection, Section, plural},
};

const MARGIN: f64 = 18.0;
const PANEL_WIDTH: f64 = 470.0;
const PANEL_GAP: f64 = 26.0;
/// Room for the systems' names, left of the bars, and for figures, right of them.
const NAME_WIDTH: f64 = 112.0;
const FIGURE_WIDTH: f64 = 58.0;
const BAR: f64 = 10.0;
const ROW_GAP: f64 = 6.0;
const TICK_HEIGHT: f64 = 22.0;
/// A whisker that goes beyond the bars by more than this factor is cut off, where the axis is not logarithmic.
const WHISKER_FACTOR: f64 = 1.6;

const TITLE: Font = Font::new(16.0).bold();
const ABOUT: Font = Font::new(12.0).coloured(FAINT);
const METRIC: Font = Font::new(13.0).bold();
const NOTE: Font = Font::new(10.5).coloured(FAINT);
const NAME: Font = Font::new(11.5).anchored(Anchor::End);
const FIGURE: Font = Font::new(10.0);
const TICK: Font = Font::new(10.0).coloured(FAINT).anchored(Anchor::Middle);

/// The chart; `None` if nothing was measured.
pub(super) fn chart(section: &Section) -> Option<String> {
    let panels: Vec<Panel<'_>> =
        section.metrics.iter().filter_map(|metric| Panel::new(section, metric)).collect();
    let columns = if panels.len() > 1 { 2 } else { 1 };
    let width = columns as f64 * (PANEL_WIDTH + PANEL_GAP) - PANEL_GAP + 2.0 * MARGIN;
    let about = wrapped(section.about, width - 2.0 * MARGIN, ABOUT.size);
    let head = MARGIN + TITLE.size + (about.len() as f64 + 3.2) * ABOUT.size * LINE_HEIGHT;
    let rows: Vec<f64> = panels
        .chunks(columns)
        .map(|row| row.iter().map(Panel::height).fold(0.0, f64::max) + PANEL_GAP)
        .collect();
    if rows.is_empty() {
        return None;
    }
    let mut svg = Svg::new(width, head + rows.iter().sum::<f64>());
    svg.text([MARGIN, MARGIN + TITLE.size * 0.8], section.workload, TITLE);
    let base = svg.lines([MARGIN, MARGIN + TITLE.size * 0.8 + ABOUT.size * LINE_HEIGHT * 1.2], &about, ABOUT);
    legend(&mut svg, [MARGIN, base + 4.0], &section.workers);
    let mut y = head;
    for (panels, height) in panels.chunks(columns).zip(rows) {
        for (column, panel) in panels.iter().enumerate() {
            panel.draw(&mut svg, [MARGIN + column as f64 * (PANEL_WIDTH + PANEL_GAP), y]);
        }
        y += height;
    }
    Some(svg.finish())
}

/// Which shade means how many workers, and what a whisker is.
fn legend(svg: &mut Svg, [left, y]: [f64; 2], workers: &[usize]) {
    let mut x = left;
    for (index, &count) in workers.iter().enumerate() {
        for role in [Role::Own, Role::Other, Role::Reference] {
            svg.rect([x, y - BAR], [BAR, BAR], &shade(role, index, workers.len()));
            x += BAR + 1.0;
        }
        let label = plural(count);
        svg.text([x + 5.0, y], &label, NOTE);
        x += text_width(&label, NOTE.size) + 22.0;
    }
    let whiskers = "bars: medians; whiskers: the smallest and the largest run";
    svg.text([left, y + NOTE.size * LINE_HEIGHT * 1.1], whiskers, NOTE);
}

/// A metric, with what is drawn of it.
struct Panel<'a> {
    metric: &'a MetricSection,
    systems: Vec<&'static str>,
    workers: &'a [usize],
    scale: Scale,
    note: Vec<String>,
}

impl<'a> Panel<'a> {
    fn new(section: &'a Section, metric: &'a MetricSection) -> Option<Panel<'a>> {
        let figures = || metric.entries.iter().filter_map(|entry| entry.summary.figures.as_ref());
        let medians = figures().map(|figures| figures.median);
        let largest = medians.clone().reduce(f64::max)?;
        let bars = Scale::new(medians)?;
        let ends = figures().flat_map(|figures| [figures.min, figures.max]);
        let scale = if bars.is_log() {
            let smallest = ends.clone().filter(|end| *end > 0.0).reduce(f64::min)?;
            Scale::log(smallest, ends.reduce(f64::max)?)
        } else {
            Scale::new([ends.reduce(f64::max)?.min(largest * WHISKER_FACTOR)].into_iter())?
        };
        let is_shown = |system: &&str| metric.entries.iter().any(|entry| entry.system == *system);
        Some(Panel {
            metric,
            systems: section.systems.iter().copied().filter(is_shown).collect(),
            workers: &section.workers,
            scale,
            note: wrapped(metric.about, PANEL_WIDTH, NOTE.size),
        })
    }

    fn row_height(&self) -> f64 {
        BAR * self.workers.len() as f64 + ROW_GAP
    }

    /// Title and note.
    fn head_height(&self) -> f64 {
        METRIC.size + self.note.len() as f64 * NOTE.size * LINE_HEIGHT + 10.0
    }

    fn height(&self) -> f64 {
        self.head_height() + self.systems.len() as f64 * self.row_height() + TICK_HEIGHT
    }

    fn draw(&self, svg: &mut Svg, [x, y]: [f64; 2]) {
        let log = if self.scale.is_log() { ", log scale" } else { "" };
        let title = format!("{}, {}{log}", self.metric.name, self.metric.unit);
        svg.text([x, y + METRIC.size * 0.8], &title, METRIC);
        svg.lines([x, y + METRIC.size * 0.8 + NOTE.size * LINE_HEIGHT], &self.note, NOTE);
        let top = y + self.head_height();
        let bottom = top + self.systems.len() as f64 * self.row_height();
        let left = x + NAME_WIDTH;
        let length = PANEL_WIDTH - NAME_WIDTH - FIGURE_WIDTH;
        let place = |value: f64| left + self.scale.position(value) * length;
        for tick in self.scale.ticks() {
            svg.line([place(tick), top - 3.0], [place(tick), bottom], GRID, 1.0);
            svg.text([place(tick), bottom + TICK.size + 3.0], &tick_label(tick), TICK);
        }
        for (index, system) in self.systems.iter().enumerate() {
            let row = top + index as f64 * self.row_height();
            let middle = row + BAR * self.workers.len() as f64 / 2.0;
            let name = if role(system) == Role::Own { NAME.bold() } else { NAME };
            svg.text([left - 7.0, middle + NAME.size * 0.35], system, name);
            for (index, &workers) in self.workers.iter().enumerate() {
                let Some(entry) = self.metric.entry(system, workers) else { continue };
                let fill = shade(role(system), index, self.workers.len());
                self.bar(svg, [left, row + index as f64 * BAR], entry, &fill, place);
            }
        }
        svg.line([left, top - 3.0], [left, bottom], FAINT, 1.0);
    }

    fn bar(&self, svg: &mut Svg, [left, y]: [f64; 2], entry: &Entry, fill: &str, place: impl Fn(f64) -> f64) {
        let base = y + BAR * 0.5 + FIGURE.size * 0.34;
        let Some(figures) = &entry.summary.figures else {
            let word = entry.summary.failures.first().map_or("-", |failure| failure.word);
            svg.text([left + 5.0, base], word, FIGURE.coloured(ALARM));
            return;
        };
        let end = place(figures.median);
        // Where an axis begins with the smallest, its bar would have no length.
        svg.rect([left, y + 0.5], [(end - left).max(1.5), BAR - 1.0], fill);
        let (low, high) = (place(figures.min), place(figures.max));
        let middle = y + BAR / 2.0;
        if high - low > 1.5 {
            svg.line([low, middle], [high, middle], INK, 1.0);
            for (at, value) in [(low, figures.min), (high, figures.max)] {
                if self.scale.position(value) < 1.0 {
                    svg.line([at, middle - 2.5], [at, middle + 2.5], INK, 1.0);
                }
            }
        }
        let failed = entry.summary.failures.first();
        let median = figure_in(figures.median, self.metric.unit);
        let label = failed.map_or(median.clone(), |failure| format!("{median} ({})", failure.word));
        svg.text([end.max(high) + 5.0, base], &label, FIGURE);
    }
}

/// The colour of the bars for the `index`-th of so many worker counts: the more workers, the darker.
fn shade(role: Role, index: usize, count: usize) -> String {
    let [light, dark] = match role {
        Role::Own => [[253, 186, 116], [217, 72, 15]],
        Role::Other => [[164, 190, 220], [59, 99, 147]],
        Role::Reference => [[205, 210, 216], [125, 133, 144]],
    };
    let share = if count > 1 { index as f64 / (count - 1) as f64 } else { 1.0 };
    let mix = |channel: usize| {
        let [light, dark] = [light, dark].map(|colour: [u8; 3]| f64::from(colour[channel]));
        (light + (dark - light) * share).round() as u8
    };
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}
