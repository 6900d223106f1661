//! The page `results/RESULTS.md`.

use super::{Report, grid::Grid};

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::from(
        "# Results\n\nWritten by the harness; `README.md` says how each figure is measured.\n\n",
    );
    page += &format!("```sh\n{}\n```\n\n", report.command);
    for (label, text) in report.machine.lines() {
        page += &format!("- {label}: {text}\n");
    }
    page += &format!("- figures: {}\n", report.figures_are());
    page += &format!("- runs: {}\n", report.runs_were());
    page += "\n## Medians\n\n";
    page += &overview(report).to_markdown();
    page += "\n`-`: the system cannot express the workload.\n";
    for section in &report.sections {
        page += &format!("\n## {}\n\n{}\n", section.workload, section.about);
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
