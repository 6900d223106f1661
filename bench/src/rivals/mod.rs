//! The systems that are measured. Each file is one: its [`Rival`] lists the workloads that the system can
//! express, with the function that measures each.
//!
//! To add a rival: write its file with a `RIVAL`, and add its name to the list below. A rival that is a
//! program of its own has a `NATIVE` besides, in the list of those, and its program in `bench/native/`.

use crate::{cell::Measured, native::Native, params::Params, workloads::Workload};

/// A system to measure.
#[derive(Debug)]
pub(crate) struct Rival {
    /// Its name, on the command line and in the reports.
    pub(crate) name: &'static str,
    /// What it is, in a line.
    pub(crate) about: &'static str,
    /// What it is here for. Only systems have a row in the tables of workloads that they cannot express.
    pub(crate) kind: Kind,
    /// The package whose version the reports name.
    pub(crate) package: Option<&'static str>,
    /// The most workers it can have, where that is limited.
    pub(crate) workers_max: Option<usize>,
    /// The workloads that it can express.
    pub(crate) cells: &'static [(&'static Workload, Measure)],
}

/// What a system is here for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A job system, here to be beaten.
    System,
    /// Another way to use a system, for the workloads in which that makes a difference.
    Variant,
    /// Something that shows what plain code or the bare machine takes.
    Reference,
}

/// Measures one workload on one system.
pub(crate) type Measure = fn(&Params) -> Measured;

impl Rival {
    /// How to measure `workload`, if this system can express it.
    pub(crate) fn measure(&self, workload: &Workload) -> Option<Measure> {
        self.cells.iter().find(|(known, _)| known.name == workload.name).map(|(_, measure)| *measure)
    }

    /// Whether this system can express `workload` with that many workers.
    pub(crate) fn supports(&self, workload: &Workload, workers: usize) -> bool {
        self.measure(workload).is_some() && self.workers_max.is_none_or(|max| workers <= max)
    }

    /// The version of the rival's package in this harness's lockfile.
    pub(crate) fn version(&self) -> Option<&'static str> {
        locked_version(include_str!("../../Cargo.lock"), self.package?)
    }
}

/// The version of `package` in the text of a lockfile.
fn locked_version<'a>(lockfile: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = lockfile.lines();
    lines.find(|line| line.strip_prefix("name = ").is_some_and(|name| name.trim_matches('"') == package))?;
    lines.next()?.strip_prefix("version = ").map(|version| version.trim_matches('"'))
}

/// Declares the rivals' modules and lists them in the order of the reports.
macro_rules! rivals {
    ($($(#[$attribute:meta])* $module:ident),* $(,)?) => {
        $($(#[$attribute])* mod $module;)*

        /// All systems, in the order of the reports.
        pub(crate) static ALL: &[&Rival] = &[$($(#[$attribute])* &$module::RIVAL),*];
    };
}

rivals! {
    serial,
    thread,
    parking_lot,
    parking_lot_fair,
    corosensei,
    rayon,
    rayon_2pools,
    rayon_nice,
    rayon_idle,
    chili,
    #[cfg(feature = "forte")]
    forte,
    bumpalo,
    tokio,
    may,
    bevy_tasks,
    onetbb,
    openmp,
    boost_fiber,
    enkits,
    marl,
    fibertaskinglib,
    taskflow,
    rustfiber,
    #[cfg(feature = "ramie")]
    ramie,
}

/// Those of them that are programs of their own.
pub(crate) static NATIVE: &[&Native] = &[
    &onetbb::NATIVE,
    &openmp::NATIVE,
    &boost_fiber::NATIVE,
    &enkits::NATIVE,
    &marl::NATIVE,
    &fibertaskinglib::NATIVE,
    &taskflow::NATIVE,
    &rustfiber::NATIVE,
];

/// The program of the rival called `name`, if it is one of its own.
pub(crate) fn native(name: &str) -> Option<&'static Native> {
    NATIVE.iter().copied().find(|native| native.name == name)
}

/// The system called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Rival> {
    ALL.iter().copied().find(|rival| rival.name == name)
}

/// The systems that figures are compared with, the most telling first.
const BASELINES: [&str; 7] =
    ["rayon_2pools", "rayon", "corosensei", "parking_lot", "tokio", "thread", "serial"];

/// The one of `rivals` that the figures of `workload` are compared with.
pub(crate) fn baseline(workload: &Workload, rivals: &[&'static Rival]) -> Option<&'static Rival> {
    let can_be =
        |name| rivals.iter().copied().find(|rival| rival.name == name && rival.measure(workload).is_some());
    BASELINES.into_iter().find_map(can_be)
}

#[cfg(test)]
mod tests;
