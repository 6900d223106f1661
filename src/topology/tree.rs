//! The files that a topology is read from, below a root that need not be `/`.

use std::cell::RefCell;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// More than any file of these has. What is longer is garbled.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A tree of files, and what was noticed while it was read.
pub(super) struct Tree<'a> {
    root: &'a Path,
    /// Where whatever is read is written to as well, and the first error of that.
    copy: Option<&'a Path>,
    copy_error: RefCell<Option<(PathBuf, std::io::Error)>>,
    notes: RefCell<Vec<String>>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: &'a Path, copy: Option<&'a Path>) -> Self {
        Self { root, copy, copy_error: RefCell::new(None), notes: RefCell::new(Vec::new()) }
    }

    /// What is in this file, if it is there and is text.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let mut text = String::new();
        let file = fs::File::open(self.root.join(path)).ok()?;
        let count = file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        if count as u64 == FILE_BYTES_MAX {
            return None;
        }
        self.write(path, &text);
        Some(text)
    }

    /// What is in this file, if that is one value.
    pub(super) fn value<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.trim().parse().ok()
    }

    /// The numbers N of the entries called `{prefix}N` in this folder, ascending.
    pub(super) fn numbered(&self, folder: &str, prefix: &str) -> Vec<u32> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else { return Vec::new() };
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok();
        let mut numbers: Vec<u32> = entries.flatten().filter_map(number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Writes a file of the copy.
    pub(super) fn write(&self, path: &str, text: &str) {
        let Some(copy) = self.copy else { return };
        let path = copy.join(path);
        let folder = path.parent().unwrap_or(copy);
        if let Err(error) = fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)) {
            self.copy_error.borrow_mut().get_or_insert((path, error));
        }
    }

    /// Says what was missing, or made no sense.
    pub(super) fn note(&self, note: String) {
        let mut notes = self.notes.borrow_mut();
        if !notes.contains(&note) {
            notes.push(note);
        }
    }

    pub(super) fn into_notes(self) -> (Vec<String>, Option<(PathBuf, std::io::Error)>) {
        (self.notes.into_inner(), self.copy_error.into_inner())
    }
}
