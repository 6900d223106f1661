//! Backtraces of jobs that wait, for dumps.
//!
//! The stack of a fiber that is suspended stands still, but whoever makes a dump is another thread, and stops nobody: the fiber may be
//! resumed at any moment. So the stack is copied first, and then looked at whether its worker has switched in the meantime
//! ([`Remote::runs`] says why that proves it). Only a copy that is whole is unwound. If the worker has switched, it is tried again, a few times.
//!
//! ```text
//!   switches ──> saved stack pointer, its stack, copied ──> current, switches, state ──same──> unwind the copy ──> symbols
//!      ^                                                          │
//!      └───────────────────────── other ─────────────────────────┘
//! ```
//!
//! Stacks are never given back to the operating system, so what is copied is always there to be read.

use std::fmt;

/// One function in a backtrace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackFrame {
    /// The function's name, as the program's debug information has it: line tables alone have no module paths.
    pub function: Option<String>,
    /// The source file.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// The address to which the function that it has called returns; several functions have the same if all but the last
    /// were inlined.
    pub address: usize,
}

impl fmt::Display for StackFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None => write!(f, "{:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " at {file}:{line}"),
            (Some(file), None) => write!(f, " at {file}"),
            _ => Ok(()),
        }
    }
}

#[cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(super) use unwinding::Backtraces;

/// There are none.
#[cfg(not(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle))))]
pub(super) struct Backtraces;

#[cfg(not(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle))))]
impl Backtraces {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn of(&mut self, _: &'static crate::fiber::Fiber) -> std::sync::Arc<[StackFrame]> {
        std::sync::Arc::default()
    }
}

#[cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle)))]
mod stack_copy;
#[cfg(all(feature = "backtrace", target_os = "linux", target_arch = "x86_64", not(shuttle)))]
mod unwinding;
