//! Numbers, times and bars as text.

use std::time::Duration;

use ratatui::style::{Color, Stylize};
use ratatui::text::Span;

/// A bar of this width, full at a share of 1; in eighths of a column.
pub(super) fn bar(share: f64, width: usize, colour: Color) -> [Span<'static>; 2] {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    let full = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let empty = "░".repeat(width - eighths.div_ceil(8));
    [Span::raw(full).fg(colour), Span::raw(empty).dark_gray()]
}

/// The text, cut off where it does not fit.
pub(super) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A number in groups of three digits, in at most seven columns.
pub(super) fn count(number: u64) -> String {
    match number {
        0..100_000 => {}
        100_000..10_000_000 => return count(number / 1000) + " k",
        _ => return count(number / 1_000_000) + " M",
    }
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn bytes(number: u64) -> String {
    match number {
        0..=1_048_575 => format!("{} KiB", number.div_ceil(1024)),
        1_048_576..10_485_760 => format!("{:.1} MiB", number as f64 / 1_048_576.0),
        _ => format!("{} MiB", number >> 20),
    }
}

pub(super) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
