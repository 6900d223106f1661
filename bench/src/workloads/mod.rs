//! The workloads. Each file defines one: what is measured, in which unit, and the part of the measurement
//! that all systems share. What a system does with it is in the system's own file, in `rivals/`.
//!
//! To add a workload: write its file with a `WORKLOAD`, add its name to the list below, and give it a line in
//! the table of each system that can express it.

/// A thing to measure.
#[derive(Debug)]
pub(crate) struct Workload {
    /// Its name, on the command line and in the reports.
    pub(crate) name: &'static str,
    /// What it does, in a line.
    pub(crate) about: &'static str,
    /// With how many workers it makes sense.
    pub(crate) workers: Workers,
    /// The figures that it yields.
    pub(crate) metrics: &'static [Metric],
}

/// A figure that a workload yields.
#[derive(Debug)]
pub(crate) struct Metric {
    /// Its name within the workload.
    pub(crate) name: &'static str,
    /// Its unit. Smaller is better, unless `about` says otherwise.
    pub(crate) unit: &'static str,
    /// What it says, in a line.
    pub(crate) about: &'static str,
}

/// The worker counts that a workload is measured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// Each of those asked for.
    Each,
    /// One worker, whatever was asked for.
    One,
    /// Two workers, whatever was asked for.
    Two,
    /// The largest of those asked for.
    Most,
}

impl Workers {
    /// The counts to measure when `asked` was asked for.
    pub(crate) fn of(self, asked: &[usize]) -> Vec<usize> {
        match self {
            Workers::Each => asked.to_vec(),
            Workers::One => vec![1],
            Workers::Two => vec![2],
            Workers::Most => asked.iter().copied().max().into_iter().collect(),
        }
    }
}

/// Declares the workloads' modules and lists them in the order of the reports.
macro_rules! workloads {
    ($($module:ident),* $(,)?) => {
        $(pub(crate) mod $module;)*

        /// All workloads, in the order of the reports.
        pub(crate) static ALL: &[&Workload] = &[$(&$module::WORKLOAD),*];
    };
}

workloads! {
    fib,
    integrate,
    nqueens,
    uts,
    quicksort,
    matmul,
    skynet,
    flat_spawn,
    flat_spawn_sizes,
    flat_batch,
    jobs_200ns,
    memory_jobs,
    memory_frames,
    never_waits,
    switch,
    switch_many,
    yields,
    event_ping_pong,
    mutex_ping_pong,
    channel_ping_pong,
    mutex_uncontended,
    mutex_contended,
    block_on_ready,
    oneshot_across,
    timers,
    producers,
    fanout,
    fanout_sizes,
    chain,
    chain_sizes,
    tree,
    tree_sizes,
    wavefront,
    batches,
    imbalanced,
    transforms,
    par_for,
    par_for_sizes,
    mandelbrot,
    npb,
    sand,
    outside,
    wake_storm,
    thief_latency,
    latency,
    frame,
    frame_beside_low,
    frame_beside_background,
    memory_fibers,
    start_stop,
    idle,
}

/// The workload called `name`.
pub(crate) fn find(name: &str) -> Option<&'static Workload> {
    ALL.iter().copied().find(|workload| workload.name == name)
}
