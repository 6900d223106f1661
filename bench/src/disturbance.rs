//! How much of the machine other processes used while something was measured.
//!
//! A figure that was measured while something else was compiling says little, and nothing in the figure
//! shows it. The reports therefore say how busy the machine was with other things.
#![expect(unsafe_code, reason = "reads the children's use of the processor through libc")]

use std::time::{Duration, Instant};

/// The machine counts in ticks of about 10 ms: nothing can be said about less than this.
const WALL_MIN: Duration = Duration::from_millis(200);

/// The clocks at the start of a measurement.
#[derive(Debug)]
pub(crate) struct Disturbance {
    wall: Instant,
    machine: Option<Duration>,
    children: Duration,
}

impl Disturbance {
    /// Reads the clocks.
    pub(crate) fn start() -> Disturbance {
        Disturbance { wall: Instant::now(), machine: machine_busy(), children: children_busy() }
    }

    /// The share of the whole machine, in per cent, that has gone since then to others than this process's
    /// children, or to nobody because the host took it away. `None` where it cannot be known, or not yet.
    pub(crate) fn percent(&self) -> Option<f64> {
        let wall = self.wall.elapsed();
        if wall < WALL_MIN {
            return None;
        }
        let machine = machine_busy()?.saturating_sub(self.machine?);
        let others = machine.saturating_sub(children_busy().saturating_sub(self.children));
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Some(100.0 * others.as_secs_f64() / (wall.as_secs_f64() * cpus as f64))
    }
}

/// The processor time that the machine has spent on anything since it was started.
fn machine_busy() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    // user, nice, system, idle, waiting for input or output, interrupts of both kinds, stolen by the host.
    let ticks: Vec<u64> =
        text.lines().next()?.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    let busy = [0, 1, 2, 5, 6, 7].iter().map(|&column| ticks.get(column)).sum::<Option<u64>>()?;
    // SAFETY: sysconf only reads.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks_per_second > 0).then(|| Duration::from_secs_f64(busy as f64 / ticks_per_second as f64))
}

/// The processor time that this process's children have used, of those that have ended.
fn children_busy() -> Duration {
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000);
    // SAFETY: an rusage is plain integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is valid and may be written to.
    let status = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage) };
    assert_eq!(status, 0, "the children's use of the processor cannot be read");
    time(usage.ru_utime) + time(usage.ru_stime)
}
