//! The text that is printed when all have played: three histograms side by side, and what they add up to.

use std::fmt::Write;

use super::child::{Outcome, Part};
use super::play::{FRAMES_PER_SECOND, HANGS_AFTER, PERIOD, Played};
use super::{Plan, frame, scripts};
use crate::error::Failure;

/// Where the classes of the histogram begin, in milliseconds; the first begins at zero. One of them is the period.
const BOUNDS_MS: [f64; 17] =
    [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 16.67, 20.0, 25.0, 33.3, 50.0, 100.0];
/// Widths in characters: of what is left of the columns, of a bar, of a column with its bar and number. 100 in all.
const LABEL: usize = 16;
const BAR: usize = 19;
const COLUMN: usize = 28;
/// Parts of a character, from one to eight eighths.
const EIGHTHS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];

/// What has to be known to judge the figures.
const WHY: &str = "\
The threads of ramie's Background jobs get a CPU only while nothing else wants it (SCHED_IDLE on
Linux). Those that decode for rayon and tokio are ordinary ones, which compete with frames: neither
has a setting for that. A program can make the threads of rayon's second pool such ones by a call of
the operating system, and then its frames are about as short as ramie's. It still has no jobs that
wait, and may hang when a lock is held across a loop (rayon issue 592).
";

/// What is told of one system.
#[derive(Debug)]
pub(super) struct Column {
    title: &'static str,
    part: Part,
    /// The hang that has made this a second attempt, under other conditions.
    before: Option<Outcome>,
}

impl Column {
    pub(super) fn new(title: &'static str, part: Part) -> Self {
        Self { title, part, before: None }
    }

    pub(super) fn again(title: &'static str, part: Part, before: Outcome) -> Self {
        Self { title, part, before: Some(before) }
    }

    pub(super) fn has_hung(&self) -> bool {
        matches!(self.part.outcome, Outcome::Hung { .. })
    }

    pub(super) fn into_outcome(self) -> Outcome {
        self.part.outcome
    }

    fn played(&self) -> Option<&Played> {
        match &self.part.outcome {
            Outcome::Played(played) => Some(played),
            Outcome::Hung { .. } => None,
        }
    }

    /// A figure of it, if it has played.
    fn figure(&self, of: impl Fn(&Played) -> String) -> String {
        self.played().map_or_else(|| "-".into(), of)
    }
}

/// Everything. Fails if the systems have not computed the same.
pub(super) fn all(plan: &Plan, columns: &[Column]) -> Result<String, Failure> {
    let mut text = what_is_played(plan);
    for column in columns {
        given(&mut text, column);
    }
    text += "\n";
    histograms(&mut text, columns);
    text += "\n";
    figures(&mut text, columns);
    text += "\n";
    for column in columns {
        notes(&mut text, column);
    }
    text += WHY;
    let mut checksums = columns.iter().filter_map(Column::played).map(|played| played.checksum);
    let Some(checksum) = checksums.next() else {
        return Err(Failure::new("no system has played its frames: try fewer --workers"));
    };
    if checksums.any(|other| other != checksum) {
        return Err(Failure::new("the systems have computed different things: please report this"));
    }
    push_line(&mut text, format_args!("all that are shown have computed the same, checksum {checksum:016x}"));
    columns.iter().for_each(|column| text += &column.part.trace);
    Ok(text)
}

fn what_is_played(plan: &Plan) -> String {
    let workers = if plan.workers == 1 { "worker" } else { "workers" };
    format!(
        "{FRAMES_PER_SECOND} frames/s for {} s on each system, {} {workers}; a frame is 7 ms of work on one core:\n\
         {} entities in a loop; {} islands, {} of which hold one lock across a loop; {} draw lists.\n\
         Beside that: assets of 5 ms are decoded without end, {} scripts wait, {} go on in each frame.\n\n",
        plan.seconds,
        plan.workers,
        frame::ENTITIES,
        frame::ISLANDS,
        frame::REGIONS,
        frame::LISTS,
        scripts::SCRIPTS,
        scripts::SCRIPTS / scripts::GROUPS,
    )
}

fn given(text: &mut String, column: &Column) {
    for (index, line) in column.part.given.iter().enumerate() {
        let title = if index == 0 { column.title } else { "" };
        push_line(text, format_args!("{title:<8} {line}"));
    }
}

fn histograms(text: &mut String, columns: &[Column]) {
    push_row(text, "ms a frame", columns.iter().map(|column| column.title.to_owned()));
    let classes: Vec<Vec<usize>> = columns
        .iter()
        .map(|column| column.played().map_or_else(|| vec![0; BOUNDS_MS.len() + 1], |p| classes(&p.frames_ns)))
        .collect();
    let used = |class: &usize| classes.iter().any(|counts| counts[*class] > 0);
    let (Some(first), Some(last)) =
        ((0..=BOUNDS_MS.len()).find(used), (0..=BOUNDS_MS.len()).rev().find(used))
    else {
        return;
    };
    let most = classes.iter().flatten().copied().max().unwrap_or(1).max(1);
    let deadline = BOUNDS_MS.iter().position(|bound| *bound > PERIOD.as_secs_f64() * 1e3).unwrap_or_default();
    for class in first..=last {
        let cells = classes.iter().map(|counts| bar(counts[class], most));
        push_row(text, &label(class), cells);
        if class == deadline {
            push_line(text, format_args!("{:-<100}", "--- 16.67 ms "));
        }
    }
}

/// How many frames are in each class.
fn classes(frames_ns: &[u64]) -> Vec<usize> {
    let mut counts = vec![0; BOUNDS_MS.len() + 1];
    for frame in frames_ns {
        let milliseconds = *frame as f64 / 1e6;
        counts[BOUNDS_MS.partition_point(|bound| *bound <= milliseconds)] += 1;
    }
    counts
}

fn label(class: usize) -> String {
    let bound = |index: usize| BOUNDS_MS[index].to_string();
    match class {
        0 => format!("{:>5} - {:<5}", 0, bound(0)),
        _ if class == BOUNDS_MS.len() => format!("{:>5} -", bound(class - 1)),
        _ => format!("{:>5} - {:<5}", bound(class - 1), bound(class)),
    }
}

/// A bar, and the number. What is not nothing is seen.
fn bar(count: usize, most: usize) -> String {
    if count == 0 {
        return String::new();
    }
    let eighths = (count * BAR * 8 / most).max(1);
    let mut text: String = std::iter::repeat_n(EIGHTHS[7], eighths / 8).collect();
    if !eighths.is_multiple_of(8) {
        text.push(EIGHTHS[eighths % 8 - 1]);
    }
    let _ = write!(text, " {count}");
    text
}

fn figures(text: &mut String, columns: &[Column]) {
    let mut row = |name: &str, of: &dyn Fn(&Played) -> String| {
        push_row(text, name, columns.iter().map(|column| column.figure(of)));
    };
    row("p50 ms", &|played| milliseconds(percentile(&played.frames_ns, 50)));
    row("p99 ms", &|played| milliseconds(percentile(&played.frames_ns, 99)));
    row("max ms", &|played| milliseconds(percentile(&played.frames_ns, 100)));
    row("missed frames", &|played| format!("{} of {}", played.missed, played.frames_ns.len()));
    row("assets/s", &|played| {
        format!("{:.0}", played.assets as f64 / played.elapsed.as_secs_f64().max(1e-9))
    });
    row("scripts' turns", &|played| played.turns.map_or_else(|| "-".into(), |turns| turns.to_string()));
}

fn notes(text: &mut String, column: &Column) {
    let where_it_hung = |frame: Option<usize>| match frame {
        Some(frame) => format!("in frame {}, and was given up after {} s", frame + 1, HANGS_AFTER.as_secs()),
        None => "and its process was ended".to_owned(),
    };
    if let Some(Outcome::Hung { frame }) = column.before {
        let hung = where_it_hung(frame);
        push_line(
            text,
            format_args!(
                "{}: with the lock held across the loop it hung {hung}\n\
                 (rayon issue 592). What is shown was played with the loop first, and then the lock.",
                column.title
            ),
        );
    }
    if let Outcome::Hung { frame } = column.part.outcome {
        push_line(text, format_args!("{} hung {}.", column.title, where_it_hung(frame)));
    }
}

/// The shortest time that at least `percent` of all frames do not exceed.
fn percentile(frames_ns: &[u64], percent: usize) -> u64 {
    let mut sorted = frames_ns.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn milliseconds(ns: u64) -> String {
    format!("{:.2}", ns as f64 / 1e6)
}

fn push_row(text: &mut String, label: &str, cells: impl Iterator<Item = String>) {
    let mut line = format!("{label:<LABEL$}");
    for cell in cells {
        let _ = write!(line, "{cell:<COLUMN$}");
    }
    push_line(text, format_args!("{}", line.trim_end()));
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

#[cfg(test)]
mod tests;
