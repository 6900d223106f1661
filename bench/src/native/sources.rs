//! The folders with rivals' sources: named one by one, or found by their usual names in one folder.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::Origin;
use crate::rivals;

/// The environment variable that names a folder with folders of sources in it.
pub(crate) const VARIABLE: &str = "RAMIE_BENCH_SOURCES";

/// The folders, by the rivals' names.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    folders: HashMap<&'static str, PathBuf>,
}

impl Sources {
    /// Takes what `named` says, each as `NAME=DIR`, and for the rest what lies in `all`.
    ///
    /// # Errors
    /// If a name is not one of a rival that needs a folder, or a folder that was named is not there.
    pub(crate) fn new(named: &[String], all: Option<&Path>) -> Result<Sources, String> {
        let mut folders = HashMap::new();
        if let Some(all) = all {
            for (name, folder) in known() {
                folders.extend(absolute(&all.join(folder)).map(|path| (name, path)));
            }
        }
        for text in named {
            let names = || known().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
            let Some((name, folder)) = text.split_once('=') else {
                return Err(format!("--source {text}: say NAME=DIR, with one of the names {}", names()));
            };
            let Some((name, _)) = known().find(|(known, _)| *known == name) else {
                return Err(format!(
                    "--source {text}: no rival of this name needs a folder; there are: {}",
                    names()
                ));
            };
            let path = absolute(Path::new(folder))
                .ok_or_else(|| format!("--source {text}: there is no such folder"))?;
            folders.insert(name, path);
        }
        Ok(Sources { folders })
    }

    /// The folder of the rival called `name`.
    pub(super) fn folder(&self, name: &str) -> Option<&Path> {
        self.folders.get(name).map(PathBuf::as_path)
    }
}

/// The rivals that need a folder, with its usual name.
fn known() -> impl Iterator<Item = (&'static str, &'static str)> {
    rivals::NATIVE.iter().filter_map(|native| match native.origin {
        Origin::Folder { folder, .. } => Some((native.name, folder)),
        Origin::Package { .. } => None,
    })
}

/// The full path of a folder, if it is one.
fn absolute(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().filter(|path| path.is_dir())
}
