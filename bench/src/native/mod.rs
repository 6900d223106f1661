//! Rivals that are programs of their own: written in another language, or with sources that only the user
//! has.
//!
//! ```text
//! sources   which folders the user has named          build    compiles what has changed since the last time
//! ```
//!
//! Such a rival has a file in `src/rivals/`, as every rival does, and its program in `bench/native/`. The
//! program takes the arguments of the `cell` subcommand and prints the same line of JSON, measured by the
//! same rules. The harness builds it when it is asked for; a cell of it replaces its process by the program.
//!
//! A rival whose library is not here is absent. That is an error only if it was asked for by its name.

mod build;
mod sources;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde::Deserialize;

pub(crate) use self::sources::{Sources, VARIABLE};
use crate::{
    cell::Measured,
    plan::Plan,
    rivals::{self, Rival},
};

/// A rival's program, and what it takes to build it.
#[derive(Debug)]
pub(crate) struct Native {
    /// The rival's name, which is also the name of the program's source in `bench/native/`.
    pub(crate) name: &'static str,
    /// Where its library comes from.
    pub(crate) origin: Origin,
    /// How to build it.
    pub(crate) recipe: Recipe,
}

/// Where a rival's library comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The system's packages, or the compiler's own.
    Package {
        /// A header that is there if the library is.
        header: &'static str,
        /// What to install where it is not: a package of Debian.
        install: &'static str,
    },
    /// A folder that the user names.
    Folder {
        /// The folder's usual name, which is the project's.
        folder: &'static str,
        /// Where to get it.
        url: &'static str,
    },
}

/// How to build a rival's program.
#[derive(Debug)]
pub(crate) enum Recipe {
    /// `bench/native/NAME.cpp`, with the sources of the library, if it does not come compiled.
    Cpp {
        /// Folders of headers, in the library's folder.
        includes: &'static [&'static str],
        /// The library's own sources, in its folder: C++, C or assembly.
        sources: &'static [&'static str],
        /// Further arguments of the compiler, for all files.
        flags: &'static [&'static str],
        /// Further arguments of the linker.
        link: &'static [&'static str],
    },
    /// `bench/native/NAME/main.rs`, with the library's folder as a dependency of this name.
    Cargo {
        /// The library's package.
        package: &'static str,
    },
}

/// What became of the rivals that were to be built.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    /// Names and versions of those that are there.
    pub(crate) versions: Vec<(String, String)>,
    /// Those that are not.
    pub(crate) absent: Vec<Absent>,
    /// The C++ compiler, if it was needed.
    pub(crate) compiler: Option<String>,
}

/// A rival that is not there.
#[derive(Debug)]
pub(crate) struct Absent {
    /// Its name.
    pub(crate) name: &'static str,
    /// Why, and what to do.
    pub(crate) reason: String,
}

/// What a program says about itself.
#[derive(Debug, Deserialize)]
struct About {
    /// The version of its library, where the library tells.
    version: String,
    /// The workloads that it knows.
    workloads: Vec<String>,
}

/// Builds the programs that `plan` needs, and leaves out of it the rivals that are absent.
///
/// # Errors
/// If an absent rival is among those that were `named`, or if a program does not know the workloads that its
/// rival's list names.
pub(crate) fn prepare(plan: &mut Plan, named: &[String], sources: &Sources) -> Result<Prepared, String> {
    let mut prepared = Prepared::default();
    for rival in plan.rivals() {
        let Some(native) = rivals::native(rival.name) else { continue };
        match native.prepare(sources) {
            Ok(about) => {
                about.compare(rival)?;
                let version = native.version(sources).unwrap_or(about.version);
                prepared.versions.push((rival.name.into(), version));
                if matches!(native.recipe, Recipe::Cpp { .. }) && prepared.compiler.is_none() {
                    prepared.compiler = build::compiler_version();
                }
            }
            Err(reason) if named.iter().any(|name| name == rival.name) => {
                return Err(format!("{}: {reason}", rival.name));
            }
            Err(reason) => {
                plan.leave_out(rival.name);
                prepared.absent.push(Absent { name: rival.name, reason });
            }
        }
    }
    Ok(prepared)
}

impl Native {
    /// Builds the program, if need be, and asks it what it is; else why that cannot be done.
    fn prepare(&self, sources: &Sources) -> Result<About, String> {
        let folder = match self.origin {
            Origin::Package { .. } => None,
            Origin::Folder { folder, url } => {
                let name = self.name;
                let advice = || format!("get {folder} from {url} and say --source {name}=DIR");
                Some(sources.folder(name).ok_or_else(advice)?)
            }
        };
        build::build(self, folder)?;
        let program = self.program();
        let output = Command::new(&program).arg("about").output();
        let output = output.map_err(|error| format!("its program does not start: {error}"))?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("its program does not tell what it is: {error}"))
    }

    /// The version of the library's folder, as its version control has it.
    fn version(&self, sources: &Sources) -> Option<String> {
        let folder = sources.folder(self.name)?;
        // A folder without history may lie in one that has some.
        if !folder.join(".git").exists() {
            return None;
        }
        let output =
            Command::new("git").arg("-C").arg(folder).args(["describe", "--tags", "--always"]).output();
        let text = String::from_utf8(output.ok().filter(|output| output.status.success())?.stdout).ok()?;
        Some(text.trim().to_string())
    }

    /// Where its files are built.
    fn target(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("target/native").join(self.name)
    }

    /// The program, once it is built.
    fn program(&self) -> PathBuf {
        match self.recipe {
            Recipe::Cpp { .. } => self.target().join(self.name),
            Recipe::Cargo { .. } => self.target().join("release").join(self.name),
        }
    }

    /// Measures the cell that this process was started for: replaces it by the program, with the same
    /// arguments.
    ///
    /// # Panics
    /// If the program is not there: the harness builds it before it starts a cell.
    #[cfg(unix)]
    pub(crate) fn measure(&self) -> Measured {
        use std::os::unix::process::CommandExt;
        let error = Command::new(self.program()).args(std::env::args_os().skip(1)).exec();
        panic!("the program of {} does not start: {error}", self.name);
    }

    /// Measures the cell that this process was started for: starts the program with the same arguments.
    ///
    /// # Panics
    /// If the program is not there, or fails.
    #[cfg(not(unix))]
    pub(crate) fn measure(&self) -> Measured {
        let output = Command::new(self.program()).args(std::env::args_os().skip(1)).output();
        let output = output.expect("the program is built");
        assert!(output.status.success(), "the program failed: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("the program prints a result")
    }
}

impl About {
    /// Whether the program knows what the list of `rival` says.
    fn compare(&self, rival: &Rival) -> Result<(), String> {
        let listed: Vec<_> = rival.cells.iter().map(|(workload, _)| workload.name).collect();
        let missing = listed.iter().find(|name| !self.workloads.iter().any(|known| known == *name));
        let unlisted = self.workloads.iter().find(|name| !listed.contains(&name.as_str()));
        match (missing, unlisted) {
            (Some(name), _) => {
                Err(format!("the program of {} does not know the workload {name}", rival.name))
            }
            (None, Some(name)) => {
                Err(format!("the program of {} knows the workload {name}, its list does not", rival.name))
            }
            (None, None) => Ok(()),
        }
    }
}

/// The cells of a rival whose program is `$native`: the workloads' modules by name.
macro_rules! cells {
    ($native:ident: $($workload:ident),* $(,)?) => {
        &[$((&crate::workloads::$workload::WORKLOAD, |_| $native.measure())),*]
    };
}
pub(crate) use cells;

#[cfg(test)]
mod tests;
