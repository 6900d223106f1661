//! The page `results/RESULTS.md`.

use super::{Report, grid::Grid, picture, plot::Plot};

/// The whole page, with the pictures of each section.
pub(super) fn page(report: &Report, plots: &[Vec<Plot>]) -> String {
    let mut page = head(report, "Results");
    page += "\n## Medians\n\n";
    page += &overview(report).to_markdown();
    page += "\n`-`: the system cannot express the workload.\n";
    for (section, plots) in report.sections.iter().zip(plots) {
        page += &format!("\n## {}\n\n{}\n", section.workload, section.about);
        plots.iter().for_each(|plot| page += &picture(plot));
        if let Some(warning) = section.disturbance() {
            page += &format!("\n{warning}\n");
        }
        for metric in &section.metrics {
            page += &format!("\n**{}**\n\n", section.caption(metric));
            page += &section.grid(metric).to_markdown();
            let notes = section.notes(metric);
            if !notes.is_empty() {
                page.push('\n');
            }
            for note in notes {
                page += &format!("- {note}\n");
            }
        }
    }
    page
}

/// What a page begins with: how, when and where its figures were measured.
pub(super) fn head(report: &Report, title: &str) -> String {
    let mut head =
        format!("# {title}\n\nWritten by the harness; `README.md` says how each figure is measured.\n\n");
    head += &format!("```sh\n{}\n```\n\n", report.command);
    for (label, text) in report.machine.lines() {
        head += &format!("- {label}: {text}\n");
    }
    head += &format!("- figures: {}\n", report.figures_are());
    head += &format!("- runs: {}\n", report.runs_were());
    head
}

/// One table with the medians of everything.
fn overview(report: &Report) -> Grid {
    let systems = report.sections.first().map(|section| section.systems.clone()).unwrap_or_default();
    let mut header = vec!["workload".to_string(), "workers".into(), "unit".into()];
    header.extend(systems.iter().map(|system| system.to_string()));
    let mut grid = Grid::new(header);
    for section in &report.sections {
        for metric in &section.metrics {
            for &workers in &section.workers {
                let mut row = vec![
                    format!("{}: {}", section.workload, metric.name),
                    workers.to_string(),
                    metric.unit.into(),
                ];
                row.extend(systems.iter().map(|system| metric.short(system, workers)));
                grid.row(row);
            }
        }
    }
    grid
}
