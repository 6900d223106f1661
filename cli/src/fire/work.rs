//! How much work the jobs are: rounds of each kind, calibrated once so that all systems get the same.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::assets::{self, Archive};
use super::frame::{self, ISLANDS, LISTS, PARTS, REGIONS};

/// What the jobs of a frame are to take on one core, all together: less than half of the 16.67 ms that there are,
/// even for a single worker.
const ANIMATE_ALL: Duration = Duration::from_micros(3000);
const SOLVE_ALL: Duration = Duration::from_micros(2000);
const REBUILD_ALL: Duration = Duration::from_micros(800);
const DRAW_ALL: Duration = Duration::from_micros(1200);
/// What a script does when it goes on.
const SCRIPT: Duration = Duration::from_micros(3);
/// What decoding an asset takes.
const DECODE: Duration = Duration::from_micros(5000);

const TRIALS: usize = 5;
/// The least time of a trial.
const TRIAL: Duration = Duration::from_millis(1);

/// Rounds of each kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    pub(super) animate: u32,
    pub(super) solve: u32,
    pub(super) rebuild: u32,
    pub(super) draw: u32,
    pub(super) script: u32,
    pub(super) decode: u32,
}

impl Work {
    /// Finds out how fast this machine is. That takes about 0.1 s.
    pub(crate) fn calibrate() -> Self {
        let archive = Archive::new();
        let mut bytes = Vec::new();
        let entities = u32::try_from(frame::ENTITIES).expect("there are 2,000");
        Self {
            animate: rounds(ANIMATE_ALL / entities, |rounds| frame::pose(1, rounds)),
            solve: rounds(SOLVE_ALL / island_units(), |rounds| frame::relax(1, rounds)),
            rebuild: rounds(REBUILD_ALL / part_units(), |rounds| frame::scan(&[1; 64], rounds)),
            draw: rounds(DRAW_ALL / LISTS as u32, |rounds| frame::sort_keys(1, rounds)),
            script: rounds(SCRIPT, |rounds| frame::pose(1, rounds)),
            decode: rounds(DECODE, |rounds| assets::decode(archive.block(0), rounds, &mut bytes)),
        }
    }
}

/// The sizes of all islands together.
fn island_units() -> u32 {
    (0..ISLANDS).map(frame::island_size).sum()
}

/// The sizes of all parts of all regions together.
fn part_units() -> u32 {
    REGIONS as u32 * (0..PARTS).map(frame::part_size).sum::<u32>()
}

/// How many rounds take so long. The fastest trial counts: it is the one that nobody disturbed.
fn rounds(time: Duration, mut job: impl FnMut(u32) -> u64) -> u32 {
    let mut took = |rounds: u32| {
        let begin = Instant::now();
        black_box(job(black_box(rounds)));
        begin.elapsed()
    };
    let mut fastest = |rounds: u32| (0..TRIALS).map(|_| took(rounds)).min().unwrap_or_default();
    let mut trial: u32 = 1;
    let mut time_of_trial = fastest(trial);
    while time_of_trial < TRIAL && trial < u32::MAX / 2 {
        trial *= 2;
        time_of_trial = fastest(trial);
    }
    let per_round = time_of_trial.as_secs_f64() / f64::from(trial);
    (time.as_secs_f64() / per_round.max(1e-12)).round().max(1.0) as u32
}

impl Work {
    fn parts(&self) -> [u32; 6] {
        [self.animate, self.solve, self.rebuild, self.draw, self.script, self.decode]
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().map(|part| part.to_string()).join(","))
    }
}

impl FromStr for Work {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Result<Vec<u32>, _> = text.split(',').map(str::parse).collect();
        match parts.map_err(|error| error.to_string())?[..] {
            [animate, solve, rebuild, draw, script, decode] => {
                Ok(Self { animate, solve, rebuild, draw, script, decode })
            }
            _ => Err("six numbers are wanted".into()),
        }
    }
}
