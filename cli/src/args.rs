//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::fire::{System, Work};

/// Shows what the job system `ramie` does.
#[derive(Debug, Parser)]
#[command(name = "ramie", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turns a picture into sand and films how it falls.
    ///
    /// Each frame goes through a pipeline: clear, mark and update move the sand, draw makes a picture
    /// of it, encode writes the picture. Drawing and encoding run beside the simulation of the frames
    /// that follow.
    ///
    /// Into the folder go the frames (frame-0000.png and so on, 500 x 500 pixels, one pixel for 2 x 2
    /// cells of the grid) and animation.png, an animated PNG of 250 x 250 pixels that shows every second
    /// frame, 15 a second. Together they take about 32 MB with the default of 240 frames.
    #[command(verbatim_doc_comment)]
    Demo(DemoArgs),
    /// Draws the machine: packages, NUMA nodes, caches, cores and their threads, and where each
    /// pinning puts workers.
    ///
    /// A CPU in parentheses is none that this process may use.
    #[command(verbatim_doc_comment)]
    Topo(TopoArgs),
    /// Makes a timeline of a recording, and prints what took how long.
    ///
    /// A recording is what `Recording::save` and `RecordBuilder::start_streaming` write. Beside it go FILE.html, a page
    /// that shows the timeline in any browser, without a network, and FILE.json, a trace for
    /// https://ui.perfetto.dev and chrome://tracing.
    #[command(verbatim_doc_comment)]
    Trace(TraceArgs),
}

/// The arguments of `ramie trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Gives each fiber a track of its own in the trace, too
    #[arg(long)]
    pub(crate) fibers: bool,

    /// Prints the summary, and writes nothing
    #[arg(long)]
    pub(crate) no_files: bool,
}

/// The arguments of `ramie topo`.
#[derive(Debug, Args)]
pub(crate) struct TopoArgs {
    /// Workers to place, 1 to 4096 [default: as many as a system has by default]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) workers: Option<u16>,

    /// Prints an object in JSON instead
    #[arg(long)]
    pub(crate) json: bool,

    /// Reads a recorded machine instead of this one
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Records this machine into a folder, for --root, and prints nothing else
    #[arg(long, value_name = "DIR", conflicts_with_all = ["root", "json", "workers"])]
    pub(crate) record: Option<PathBuf>,
}

/// The arguments of `ramie demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The picture to turn into sand, a PNG file [default: one that comes with the program]
    #[arg(value_name = "IMAGE.png")]
    pub(crate) picture: Option<PathBuf>,

    /// Worker threads, 1 to 256 [default: one per usable CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: Option<u16>,

    /// Frames to simulate, 1 to 9999; a frame is six steps of the simulation
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=9999))]
    pub(crate) frames: u32,

    /// The most grains to make, 1 to 100000
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) grains: u32,

    /// The folder for the pictures; it is created if it is missing
    #[arg(long, value_name = "DIR", default_value = "out")]
    pub(crate) out: PathBuf,

    /// Decides every chance in the simulation; the same seed gives the same sand
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Simulates only: draws and writes nothing
    #[arg(long)]
    pub(crate) no_images: bool,

    /// Records what the workers do into this file, and makes a timeline (FILE.html) and a trace
    /// (FILE.json) of it
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,

    /// Runs the simulation again in another form and compares time and result
    #[arg(long, value_name = "WITH")]
    pub(crate) compare: Option<Comparison>,

    /// Shows in the terminal what the workers do and what fibers wait for, while the frames are made. Space holds the
    /// view still. q, Esc or Ctrl-C end the demonstration early: frames that have begun are finished, the animation and
    /// the report are about those, and the exit code is 0
    #[arg(long, conflicts_with_all = ["compare", "under_fire"])]
    pub(crate) live: bool,

    #[command(flatten)]
    pub(crate) fire: FireArgs,
}

/// The arguments of `ramie demo --under-fire`.
#[derive(Debug, Args)]
pub(crate) struct FireArgs {
    /// Plays 60 frames a second on ramie, rayon and tokio, one after the other, while assets stream in and are decoded in
    /// the background, a lock is held across a parallel call, and 10,000 fibers wait; shows the times of the frames. --trace
    /// records ramie's part
    #[arg(
        long,
        conflicts_with_all = ["picture", "frames", "grains", "out", "seed", "no_images", "compare"]
    )]
    pub(crate) under_fire: bool,

    /// How long each of them plays, 1 to 60
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(1..=60),
        requires = "under_fire"
    )]
    pub(crate) seconds: u16,

    /// Drops one signal in ramie's part, and shows the report of the stall; the exit code is then 1
    #[arg(id = "break", long, requires = "under_fire", conflicts_with = "trace")]
    pub(crate) drops_signal: bool,

    /// Plays on this system only, in this process, and prints the result for the process that compares
    #[arg(long, hide = true, value_name = "SYSTEM", requires = "under_fire", conflicts_with = "break")]
    pub(crate) only: Option<System>,

    /// How much work everything is, as another process has calibrated it
    #[arg(long, hide = true, value_name = "ROUNDS", requires = "only")]
    pub(crate) work: Option<Work>,
}

/// What the parallel simulation can be compared with.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Comparison {
    /// The same rules on one thread, without atomics
    Serial,
}
