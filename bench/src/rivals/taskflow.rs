//! Taskflow: task graphs and asynchronous tasks, in `native/taskflow.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "taskflow",
    about: "C++: task graphs and asynchronous tasks, work stealing without suspension",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, flat_spawn, never_waits, chain, tree, par_for, sand, outside, start_stop, idle
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Folder { folder: "taskflow", url: "github.com/taskflow/taskflow" },
    recipe: Recipe::Cpp { includes: &[""], sources: &[], flags: &[], link: &[] },
};
