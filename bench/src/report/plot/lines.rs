//! Cost over size, and over the number of workers: a line for each system, with its name at its end.

use super::{
    Plot, Role, role,
    scale::Scale,
    svg::{Anchor, FAINT, Font, GRID, INK, LINE_HEIGHT, Svg, wrapped},
    tick_label,
};
use crate::{
    report::section::{MetricSection, Section, plural},
    rivals,
};

/// So many sizes are worth a chart.
const SIZES_MIN: usize = 3;

const MARGIN: f64 = 18.0;
const PANEL_WIDTH: f64 = 470.0;
const PANEL_GAP: f64 = 26.0;
const PLOT_HEIGHT: f64 = 300.0;
/// Room for figures, left of the lines, and for the systems' names, right of them.
const TICK_WIDTH: f64 = 40.0;
const NAME_WIDTH: f64 = 100.0;
const LABEL_HEIGHT: f64 = 13.0;

const TITLE: Font = Font::new(16.0).bold();
const ABOUT: Font = Font::new(12.0).coloured(FAINT);
const PANEL: Font = Font::new(13.0).bold();
const NAME: Font = Font::new(11.0);
const TICK: Font = Font::new(10.0).coloured(FAINT);

/// A system's values, by what the other axis shows.
#[derive(Clone, Debug)]
struct Line {
    system: &'static str,
    points: Vec<[f64; 2]>,
}

/// A chart of lines.
struct Panel {
    title: String,
    /// What the axis below shows.
    below: &'static str,
    lines: Vec<Line>,
}

/// Charts of cost over size, for the metrics of a workload that differ in nothing but size.
pub(super) fn by_size(section: &Section) -> Vec<Plot> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in section.metrics.iter().filter_map(|metric| size_of(metric.name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.into_iter().filter_map(|name| chart_by_size(section, name)).collect()
}

fn chart_by_size(section: &Section, name: &str) -> Option<Plot> {
    let metrics: Vec<(f64, &MetricSection)> = section
        .metrics
        .iter()
        .filter_map(|metric| Some((size_of(metric.name).filter(|(other, _)| *other == name)?.1, metric)))
        .collect();
    if metrics.len() < SIZES_MIN {
        return None;
    }
    let (unit, factor) = smaller_unit(metrics[0].1.unit);
    let panel = |&workers: &usize| Panel {
        title: format!("{name}, {unit} for each item, {}", plural(workers)),
        below: "items, log scale",
        lines: lines(section, |system| {
            let point = |(size, metric): &(f64, &MetricSection)| {
                Some([*size, metric.median(system, workers)? * factor / size])
            };
            metrics.iter().filter_map(point).collect()
        }),
    };
    let panels: Vec<Panel> = section.workers.iter().map(panel).collect();
    Some(Plot {
        name: format!("{}_{name}", section.workload),
        about: format!("{} {name}: cost of an item over the number of items", section.workload),
        svg: chart(&format!("{}: {name}", section.workload), section.about, &panels)?,
    })
}

/// Charts of all metrics of a workload over the number of workers.
pub(in crate::report) fn scaling(section: &Section) -> Option<Plot> {
    let panel = |metric: &MetricSection| Panel {
        title: format!("{}, {}", metric.name, metric.unit),
        below: "workers, log scale",
        lines: lines(section, |system| {
            let point = |&workers: &usize| Some([workers as f64, metric.median(system, workers)?]);
            section.workers.iter().filter_map(point).collect()
        }),
    };
    let panels: Vec<Panel> = section.metrics.iter().map(panel).collect();
    Some(Plot {
        name: format!("scaling_{}", section.workload),
        about: format!("{}: medians over the number of workers", section.workload),
        svg: chart(section.workload, section.about, &panels)?,
    })
}

/// The lines of the systems that have a point.
fn lines(section: &Section, points: impl Fn(&'static str) -> Vec<[f64; 2]>) -> Vec<Line> {
    let line = |system: &&'static str| Line { system, points: points(system) };
    section.systems.iter().map(line).filter(|line| !line.points.is_empty()).collect()
}

/// What a metric's name says before its size, and the size that it ends with, if it does: `saxpy 10k`.
fn size_of(metric: &str) -> Option<(&str, f64)> {
    let (name, size) = metric.rsplit_once(' ')?;
    let (digits, factor) = match size.strip_suffix(['k', 'M']) {
        Some(digits) => (digits, if size.ends_with('k') { 1e3 } else { 1e6 }),
        None => (size, 1.0),
    };
    Some((name, f64::from(digits.parse::<u32>().ok()?) * factor))
}

/// The unit for what a thousandth of something costs, and the factor.
fn smaller_unit(unit: &'static str) -> (&'static str, f64) {
    match unit {
        "us" => ("ns", 1e3),
        "ms" => ("us", 1e3),
        other => (other, 1.0),
    }
}

/// All panels, two in a row; `None` if there is nothing to show.
fn chart(title: &str, about: &str, panels: &[Panel]) -> Option<String> {
    let panels: Vec<&Panel> = panels.iter().filter(|panel| !panel.lines.is_empty()).collect();
    if panels.is_empty() {
        return None;
    }
    let columns = panels.len().min(2);
    let width = columns as f64 * (PANEL_WIDTH + PANEL_GAP) - PANEL_GAP + 2.0 * MARGIN;
    let about = wrapped(about, width - 2.0 * MARGIN, ABOUT.size);
    let head = MARGIN + TITLE.size + (about.len() as f64 + 1.0) * ABOUT.size * LINE_HEIGHT;
    let panel_height = PANEL.size + 10.0 + PLOT_HEIGHT + 2.0 * TICK.size * LINE_HEIGHT + PANEL_GAP;
    let mut svg = Svg::new(width, head + panels.len().div_ceil(columns) as f64 * panel_height);
    svg.text([MARGIN, MARGIN + TITLE.size * 0.8], title, TITLE);
    svg.lines([MARGIN, MARGIN + TITLE.size * 0.8 + ABOUT.size * LINE_HEIGHT * 1.2], &about, ABOUT);
    for (index, panel) in panels.iter().enumerate() {
        let [column, row] = [index % columns, index / columns].map(|number| number as f64);
        panel.draw(&mut svg, [MARGIN + column * (PANEL_WIDTH + PANEL_GAP), head + row * panel_height]);
    }
    Some(svg.finish())
}

impl Panel {
    fn draw(&self, svg: &mut Svg, [x, y]: [f64; 2]) {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let values = points().map(|point| point[1]);
        let Some(scale) = Scale::new(values) else { return };
        let across = axis_below(points().map(|point| point[0]));
        let log = if scale.is_log() { ", log scale" } else { "" };
        svg.text([x, y + PANEL.size * 0.8], &format!("{}{log}", self.title), PANEL);
        let (left, top) = (x + TICK_WIDTH, y + PANEL.size + 10.0);
        let (right, bottom) = (x + PANEL_WIDTH - NAME_WIDTH, top + PLOT_HEIGHT);
        let at = |[size, value]: [f64; 2]| {
            [left + across.position(size) * (right - left), bottom - scale.position(value) * (bottom - top)]
        };
        for tick in scale.ticks() {
            let [_, height] = at([1.0, tick]);
            svg.line([left, height], [right, height], GRID, 1.0);
            let font = TICK.anchored(Anchor::End);
            svg.text([left - 5.0, height + TICK.size * 0.35], &tick_label(tick), font);
        }
        for tick in sizes(points().map(|point| point[0])) {
            let [place, _] = at([tick, 1.0]);
            svg.line([place, top], [place, bottom], GRID, 1.0);
            let font = TICK.anchored(Anchor::Middle);
            svg.text([place, bottom + TICK.size + 3.0], &tick_label(tick), font);
        }
        let middle = (left + right) / 2.0;
        let font = TICK.anchored(Anchor::Middle);
        svg.text([middle, bottom + TICK.size * (1.0 + LINE_HEIGHT) + 4.0], self.below, font);
        svg.path(&[[left, top], [left, bottom], [right, bottom]], FAINT, 1.0, "");
        // What is ours lies above the others.
        let mut order: Vec<&Line> = self.lines.iter().collect();
        order.sort_by_key(|line| role(line.system) == Role::Own);
        for line in &order {
            let (colour, dashes) = look(line.system);
            let width = if role(line.system) == Role::Own { 3.0 } else { 1.5 };
            let points: Vec<[f64; 2]> = line.points.iter().map(|point| at(*point)).collect();
            svg.path(&points, &colour, width, dashes);
            points.iter().for_each(|point| svg.disc(*point, width + 0.5, &colour));
        }
        let end = |line: &Line| at(*line.points.last().expect("a line has points"));
        let mut ends: Vec<(f64, &Line)> = self.lines.iter().map(|line| (end(line)[1], line)).collect();
        ends.sort_by(|left, right| left.0.total_cmp(&right.0));
        let heights = spread(ends.iter().map(|(height, _)| *height).collect(), bottom);
        for ((_, line), height) in ends.iter().zip(heights) {
            let (colour, dashes) = look(line.system);
            let [place, from] = end(line);
            svg.path(&[[place + 3.0, from], [right + 12.0, height]], &colour, 0.6, dashes);
            let font = if role(line.system) == Role::Own { NAME.bold() } else { NAME };
            svg.text_in([right + 14.0, height + NAME.size * 0.35], line.system, font, &colour);
        }
    }
}

/// The axis of sizes, with room on both sides.
fn axis_below(sizes: impl Iterator<Item = f64> + Clone) -> Scale {
    let smallest = sizes.clone().fold(f64::INFINITY, f64::min);
    let largest = sizes.fold(0.0, f64::max);
    Scale::Log { min: smallest / 1.1, max: largest * 1.1 }
}

/// The sizes that occur, each once.
fn sizes(all: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sizes: Vec<f64> = all.collect();
    sizes.sort_by(f64::total_cmp);
    sizes.dedup();
    sizes
}

/// Moves ascending heights apart, so that labels do not overlap, and up where they would go below `bottom`.
fn spread(mut heights: Vec<f64>, bottom: f64) -> Vec<f64> {
    for index in 1..heights.len() {
        heights[index] = heights[index].max(heights[index - 1] + LABEL_HEIGHT);
    }
    let mut limit = bottom;
    for height in heights.iter_mut().rev() {
        *height = height.min(limit);
        limit = *height - LABEL_HEIGHT;
    }
    heights
}

/// A system's colour, and its dashes: always the same, and none like ours.
fn look(system: &str) -> (String, &'static str) {
    match role(system) {
        Role::Own => ("#d9480f".into(), ""),
        Role::Reference => (if system == "serial" { INK.into() } else { FAINT.into() }, "2 3"),
        Role::Other => {
            let index = rivals::ALL.iter().position(|rival| rival.name == system).unwrap_or(0);
            // From yellow-green to violet: orange and red are taken. Neighbours in the list lie far apart.
            let hue = 75 + index * 97 % 235;
            let lightness = [32, 44][index % 2];
            (format!("hsl({hue}, 60%, {lightness}%)"), ["", "6 3"][index / 2 % 2])
        }
    }
}

#[cfg(test)]
mod tests;
