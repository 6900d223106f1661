//! `ramie demo --under-fire`: 60 frames a second on ramie, rayon and tokio, with everything going on at once.
//!
//! ```text
//! pacing thread   |frame 1      |frame 2      |frame 3      ...  one each 16.67 ms
//! the system       animate, islands and navigation, draw         the frame's jobs
//!                  script script script                          100 of 10,000 waiters go on in each frame
//!                  decode decode decode                          5 ms each, in the background, always a few
//! reader thread   read  read  read                               hands blocks to the decoders
//! ```
//!
//! What the jobs do is in [`frame`], [`assets`] and [`scripts`], and is the same code for all. How they become jobs,
//! tasks or parts of loops is in `on_ramie`, `on_rayon` and `on_tokio`, each as that system's documentation recommends.
//!
//! Each system plays in a process of its own, which this one starts with `--only`: then none has threads of another beside it,
//! memory that another has warmed up, or the chance to hang them all.

mod assets;
mod child;
mod engine;
mod frame;
mod on_ramie;
mod on_rayon;
mod on_tokio;
mod play;
mod report;
mod scripts;
mod stalled;
mod work;

use std::io::{self, IsTerminal};
use std::num::NonZero;
use std::thread::available_parallelism;

use clap::ValueEnum;

use crate::args::DemoArgs;
use crate::error::Failure;

use report::Column;

pub(crate) use stalled::run as break_one;
pub(crate) use work::Work;

/// The greatest number of workers that `--workers` takes.
const WORKERS_MAX: usize = 256;

/// What frames are played on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    Ramie,
    Rayon,
    /// rayon, with the lock released before the parallel call.
    RayonReleased,
    Tokio,
}

impl System {
    /// The argument that names it.
    fn argument(self) -> &'static str {
        match self {
            Self::Ramie => "ramie",
            Self::Rayon => "rayon",
            Self::RayonReleased => "rayon-released",
            Self::Tokio => "tokio",
        }
    }
}

/// What all systems are given alike.
#[derive(Clone, Copy, Debug)]
struct Plan {
    workers: usize,
    seconds: usize,
    work: Work,
}

impl Plan {
    fn of(args: &DemoArgs) -> Self {
        let usable = || available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
        Self {
            workers: args.workers.map_or_else(usable, usize::from),
            seconds: usize::from(args.fire.seconds),
            work: args.fire.work.unwrap_or_else(Work::calibrate),
        }
    }
}

/// Plays on all systems, or on the one that is named. Gives back what is to be printed.
pub(crate) fn run(args: &DemoArgs) -> Result<String, Failure> {
    let plan = Plan::of(args);
    if let Some(system) = args.fire.only {
        return child::play(&plan, system, args.trace.as_deref());
    }
    if let Some(file) = &args.trace {
        // So that a place that cannot be written is known before anything plays.
        drop(crate::trace::start(file)?);
    }
    let play = |system: System, trace| {
        if io::stderr().is_terminal() {
            eprintln!("{} plays for {} s", system.argument(), plan.seconds);
        }
        child::run(&plan, system, trace)
    };
    let ramie = play(System::Ramie, args.trace.as_deref())?;
    let mut rayon = Column::new("rayon", play(System::Rayon, None)?);
    if rayon.has_hung() {
        let released = play(System::RayonReleased, None)?;
        rayon = Column::again("rayon *", released, rayon.into_outcome());
    }
    let tokio = Column::new("tokio", play(System::Tokio, None)?);
    report::all(&plan, &[Column::new("ramie", ramie), rayon, tokio])
}
