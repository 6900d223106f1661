//! The page `results/SCALING.md`: what each workload costs with few workers and with many.

use super::{
    Report,
    grid::Grid,
    markdown::head,
    picture,
    plot::Plot,
    section::{MetricSection, Section, figure_of_ratio, plural},
};

/// The worker count that the ratios refer to.
const RATIO_TO: usize = 2;

/// The whole page, with a picture for each section that has one.
pub(super) fn page(report: &Report, plots: &[Option<Plot>]) -> String {
    let mut page = head(report, "Scaling");
    page += &format!(
        "\nEach figure stands beside its ratio to the same system with {RATIO_TO} workers. More workers than the machine \
         has CPUs cannot make anything faster: what counts there is how little slower it gets.\n"
    );
    for (section, plot) in report.sections.iter().zip(plots) {
        page += &format!("\n## {}\n\n{}\n", section.workload, section.about);
        if let Some(warning) = section.disturbance() {
            page += &format!("\n{warning}\n");
        }
        plot.iter().for_each(|plot| page += &picture(plot));
        for metric in &section.metrics {
            page += &format!("\n**{}, {}: {}**\n\n", metric.name, metric.unit, metric.about);
            page += &grid(section, metric).to_markdown();
        }
    }
    page
}

/// A row for each system that was measured, and two columns for each number of workers.
fn grid(section: &Section, metric: &MetricSection) -> Grid {
    let mut header = vec!["system".to_string()];
    for &workers in &section.workers {
        header.push(plural(workers));
        if workers != RATIO_TO {
            header.push(format!("/ {RATIO_TO}"));
        }
    }
    let mut grid = Grid::new(header);
    let is_measured = |system: &&&str| metric.entries.iter().any(|entry| entry.system == **system);
    for system in section.systems.iter().filter(is_measured) {
        let mut row = vec![system.to_string()];
        let base = metric.median(system, RATIO_TO).filter(|median| *median > 0.0);
        for &workers in &section.workers {
            row.push(metric.short(system, workers));
            if workers != RATIO_TO {
                let ratio = metric.median(system, workers).zip(base).map(|(median, base)| median / base);
                row.push(ratio.map(figure_of_ratio).unwrap_or_default());
            }
        }
        grid.row(row);
    }
    grid
}

#[cfg(test)]
mod tests;
