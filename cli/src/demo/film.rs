//! The film as a pipeline of frames.
//!
//! ```text
//! frame n      simulate ──> draw ──> encode ──> collect
//! frame n + 1          └──> simulate ──> draw ──> encode ──> collect
//! frame n + 2                       └──> simulate ──> draw ──> encode ──> collect
//! ```
//!
//! Each frame is one job that goes through the stages. Simulating is a stage because a frame's sand comes from that of the
//! frame before; drawing is one so that not all frames do it at the same time; collecting is one because the
//! animation has an order. Each of them has one frame at a time, and their phases are parallel loops.
//! Encoding is most of the work and in no stage, so as many frames are at it at once as there are workers.
//!
//! The grid, the picture and the file of a frame lie in its frame arena. There are as many frames as arenas, which
//! is what limits how far the simulation runs ahead.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ramie::allocator_api2::vec::Vec as FrameVec;
use ramie::{Frame, FrameArenas, FramePipeline, JobSystem};

use super::draw::{draw, halve};
use super::encode::{self, FRAMES_PER_PICTURE, Pixels};
use super::progress::Progress;
use super::times::{Samples, Times};
use crate::error::Failure;
use crate::sand::parallel::{self, AtomicGrid};
use crate::sand::scene::Scene;
use crate::sand::simulation::Simulation;

/// The most frames that are under way at a time; each takes about 5 MB.
const FRAMES_MAX: usize = 16;

/// Room for the file of a frame, which rarely has to grow then.
const FILE_BYTES: usize = 256 * 1024;

/// What a film leaves behind besides its frames.
#[derive(Debug)]
pub(crate) struct Film {
    pub(crate) times: Times,
    pub(crate) checksum: u64,
    /// The pictures of the animation, in order.
    pub(crate) pictures: Vec<Pixels>,
}

/// Simulates the scene and writes each frame as a PNG file into `folder`.
pub(crate) fn film(
    system: &JobSystem,
    scene: &Scene,
    frame_count: u32,
    folder: &Path,
    progress: &Progress,
) -> Result<Film, Failure> {
    // One frame for each worker that encodes, one that is drawn, and one that is simulated.
    let arenas = FrameArenas::new(system, (system.workers() + 2).min(FRAMES_MAX))
        .map_err(|error| Failure::new(format!("cannot set up the frames ({error}): please report this")))?;
    let mut pipeline = FramePipeline::new(&arenas);
    let simulate = pipeline.stage("simulate", Simulated::new(scene));
    let draw_stage = pipeline.stage("draw", Samples::default());
    let collect = pipeline.stage("collect", Collected::default());

    // After a failure no more frames are begun.
    let failed = AtomicBool::new(false);
    let inputs = progress.numbers(frame_count).take_while(|_| !failed.load(Ordering::Relaxed));
    let report = pipeline.run(inputs, |f, number| {
        let frame = f.frame();
        let grid = f.enter(&simulate, |simulated| simulated.next(frame));
        let picture = f.enter(&draw_stage, |times| {
            let start = Instant::now();
            let picture = draw(frame, &grid, scene);
            times.push(start.elapsed());
            picture
        });
        let encoded = write_frame(folder, frame, number, picture);
        failed.fetch_or(encoded.is_err(), Ordering::Relaxed);
        f.enter(&collect, |collected| collected.add(encoded));
        progress.advance();
    });
    if report.panicked > 0 {
        // Each has said why when it happened.
        return Err(Failure::new(format!(
            "{} frames of the film panicked: please report this",
            report.panicked
        )));
    }
    let (mut simulated, collected) = (simulate.into_inner(), collect.into_inner());
    simulated.frame_ends();
    if let Some(failure) = collected.failure {
        return Err(failure);
    }
    let times = Times { draw: draw_stage.into_inner(), encode: collected.times, ..simulated.times };
    Ok(Film { times, checksum: simulated.simulation.checksum(), pictures: collected.pictures })
}

/// Encodes a frame and writes it, and beside that encodes its picture for the animation if it has
/// one there.
fn write_frame(folder: &Path, frame: &Frame, number: u32, picture: &[u8]) -> Result<Encoded, Failure> {
    let start = Instant::now();
    let (written, small) = ramie::join(
        || {
            let mut file = FrameVec::with_capacity_in(FILE_BYTES, frame);
            encode::frame(picture, &mut file)?;
            write_file(&folder.join(format!("frame-{number:04}.png")), &file)
        },
        || {
            let in_animation = number.is_multiple_of(FRAMES_PER_PICTURE);
            in_animation.then(|| encode::picture(halve(frame, picture)))
        },
    );
    written?;
    Ok(Encoded { picture: small.transpose()?, took: start.elapsed() })
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(path, content).map_err(|error| {
        Failure::new(format!(
            "cannot write '{}' ({error}): make room or choose another --out",
            path.display()
        ))
    })
}

/// The state of the simulation's stage.
struct Simulated<'scene> {
    simulation: Simulation<'scene>,
    times: Times,
    /// When the simulation of the last frame began.
    last_begin: Option<Instant>,
}

impl<'scene> Simulated<'scene> {
    fn new(scene: &'scene Scene) -> Self {
        Self { simulation: Simulation::new(scene), times: Times::default(), last_begin: None }
    }

    /// Simulates one frame, and leaves its sand on a grid of its own.
    fn next<'frame>(&mut self, frame: &'frame Frame) -> AtomicGrid<'frame> {
        self.frame_ends();
        self.last_begin = Some(Instant::now());
        let mut grid = AtomicGrid::in_frame(frame);
        let phases =
            self.simulation.advance(|step, terrain, grains| parallel::step(step, terrain, grains, &mut grid));
        self.times.push_simulation(phases);
        grid
    }

    fn frame_ends(&mut self) {
        if let Some(begin) = self.last_begin.take() {
            self.times.frame.push(begin.elapsed());
        }
    }
}

/// What encoding a frame gives.
struct Encoded {
    picture: Option<Pixels>,
    took: Duration,
}

/// The state of the last stage: what came of the frames, in order.
#[derive(Default)]
struct Collected {
    times: Samples,
    pictures: Vec<Pixels>,
    /// The first one.
    failure: Option<Failure>,
}

impl Collected {
    fn add(&mut self, encoded: Result<Encoded, Failure>) {
        match encoded {
            Ok(encoded) => {
                self.times.push(encoded.took);
                self.pictures.extend(encoded.picture);
            }
            Err(failure) => _ = self.failure.get_or_insert(failure),
        }
    }
}
