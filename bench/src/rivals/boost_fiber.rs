//! Boost.Fiber: a fiber for each job, in `native/boost_fiber.cpp`.

use super::{Kind, Rival};
use crate::native::{Native, Origin, Recipe, cells};

pub(crate) static RIVAL: Rival = Rival {
    name: "boost_fiber",
    about: "C++: a fiber for each job, scheduled in each thread",
    kind: Kind::System,
    package: None,
    workers_max: None,
    cells: cells![NATIVE:
        fib, quicksort, matmul, flat_spawn, never_waits, switch, event_ping_pong, mutex_ping_pong,
        channel_ping_pong, mutex_uncontended, mutex_contended, timers, switch_many, fanout, chain, tree,
        imbalanced, par_for, mandelbrot, sand, outside, wake_storm, frame, memory_fibers, start_stop,
        idle,
    ],
};

pub(crate) static NATIVE: Native = Native {
    name: RIVAL.name,
    origin: Origin::Package { header: "boost/fiber/all.hpp", install: "libboost-fiber-dev" },
    recipe: Recipe::Cpp {
        includes: &[],
        sources: &[],
        flags: &[],
        link: &["-lboost_fiber", "-lboost_context"],
    },
};
