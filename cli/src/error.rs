//! What went wrong, in one line that also says what to do about it.

use std::fmt;

/// An error that ends the program. Shown as one line on stderr.
#[derive(Debug)]
pub(crate) struct Failure {
    line: String,
}

impl Failure {
    /// A failure with this message. Line breaks, which messages of other libraries may contain,
    /// become spaces.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { line: message.split_whitespace().collect::<Vec<_>>().join(" ") }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}
