//! A table of text, for the terminal and for Markdown.

/// Rows of cells under a header. The first column is aligned to the left, the others to the right.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Grid {
    /// A table without rows.
    pub(super) fn new(header: Vec<String>) -> Grid {
        Grid { header, rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If it has not as many cells as the header.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The table with aligned columns, each line indented by two spaces.
    pub(super) fn to_text(&self) -> String {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut out = String::from(" ");
            for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                if column == 0 {
                    out += &format!(" {cell:<width$}");
                } else {
                    out += &format!("  {cell:>width$}");
                }
            }
            text += out.trim_end();
            text.push('\n');
        }
        text
    }

    /// The table in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> =
            (0..self.header.len()).map(|column| if column == 0 { "---" } else { "---:" }.into()).collect();
        let mut text = line(&self.header) + &line(&rule);
        for row in &self.rows {
            text += &line(row);
        }
        text
    }
}

/// A figure with about three significant digits, and commas between the thousands.
pub(super) fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => thousands(value.round() as i64),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        size if size >= 0.09995 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

/// A figure in this unit. Ratios near one have a digit more: there, a few thousandths say something.
pub(super) fn figure_in(value: f64, unit: &str) -> String {
    if unit == "x" && (0.9..1.9995).contains(&value) { format!("{value:.3}") } else { figure(value) }
}

/// A whole number with commas between the thousands.
fn thousands(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
