//! The results as pictures: a bar chart for each workload, and lines where a workload's metrics are sizes.
//!
//! ```text
//! svg     text, lines and boxes as SVG        scale   where a value lies on an axis, and the axis's ticks
//! bars    a workload's medians                 lines   cost over size, or over the number of workers
//! ```

mod bars;
mod lines;
mod scale;
mod svg;

pub(super) use self::lines::scaling;
use super::section::Section;
use crate::rivals::{self, Kind};

/// A picture: the name of its file, without its ending, what it shows, and its text.
#[derive(Debug)]
pub(super) struct Plot {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) svg: String,
}

/// The pictures of a workload.
pub(super) fn plots(section: &Section) -> Vec<Plot> {
    let bars = bars::chart(section).map(|svg| Plot {
        name: section.workload.into(),
        about: format!("{}: medians of all systems", section.workload),
        svg,
    });
    bars.into_iter().chain(lines::by_size(section)).collect()
}

/// What a system's colours are chosen by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// What all of this is about.
    Own,
    Other,
    Reference,
}

fn role(system: &str) -> Role {
    match rivals::find(system) {
        _ if system == "ramie" => Role::Own,
        Some(rival) if rival.kind == Kind::Reference => Role::Reference,
        _ => Role::Other,
    }
}

/// A figure on an axis: as few characters as it takes.
fn tick_label(value: f64) -> String {
    let (scaled, suffix) = match value.abs() {
        size if size >= 999_999.5 => (value / 1e6, "M"),
        size if size >= 999.95 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = format!("{scaled:.6}");
    format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
}
