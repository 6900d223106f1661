//! The film as a graph of jobs.
//!
//! ```text
//! frame n      clear -> mark -> update --> draw --> encode, write
//!                                  |
//! frame n + 1                      `-> clear -> mark -> update --> draw --> encode, write
//!                                                           |
//! frame n + 2                                               `-> clear -> ...
//! ```
//!
//! The simulation is the loop in [`film_inside`]. Its phases are parallel loops, which wait for their own
//! parts. Each frame's grid then goes to a job that draws it, and the picture to a job that encodes
//! it, so both run beside the simulation of the frames that follow.
//!
//! What the jobs work on is handed on by value, and comes back through the handles of the jobs. This
//! is also the only limit to how far the simulation runs ahead: there are two grids, so frame n + 2
//! waits until frame n is drawn; and there are a few sheets, so drawing waits until one of them has
//! been encoded. Such a wait suspends the simulation's fiber, and its worker encodes meanwhile.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ramie::{JobError, JobSystem, ScopedHandle};

use super::draw::{Canvas, draw, halve};
use super::encode::{self, FRAMES_PER_PICTURE, Pixels};
use super::progress::Progress;
use super::times::Times;
use crate::error::Failure;
use crate::sand::parallel::{self, AtomicGrid};
use crate::sand::scene::Scene;
use crate::sand::simulation::Simulation;

/// One grid is simulated while the other is drawn.
const GRID_COUNT: usize = 2;

/// The most pictures that are drawn or encoded at a time; each takes up to 1.5 MB.
const SHEETS_MAX: usize = 32;

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
    // One sheet for each worker that encodes, one that is drawn, and one ready for the simulation.
    let sheet_count = (system.workers() + 2).min(SHEETS_MAX);
    system.run(|| film_inside(scene, frame_count, folder, sheet_count, progress))
}

/// The same, as the first of the system's jobs.
fn film_inside(
    scene: &Scene,
    frame_count: u32,
    folder: &Path,
    sheet_count: usize,
    progress: &Progress,
) -> Result<Film, Failure> {
    ramie::scope(|scope| {
        let mut simulation = Simulation::new(scene);
        let mut lab = Lab::new(sheet_count);
        for frame in 0..frame_count {
            let start = Instant::now();
            let mut grid = lab.take_grid()?;
            let phases =
                simulation.advance(|step, terrain, grains| parallel::step(step, terrain, grains, &mut grid));
            lab.times.push_simulation(phases);

            let mut sheet = lab.take_sheet()?;
            let drawing = scope.job().name("draw").spawn(move || {
                let start = Instant::now();
                draw(&grid, scene, &mut sheet.canvas);
                let took = start.elapsed();
                // The grid goes back now. The sheet is only free when its picture is written.
                let encoding = scope.job().name("encode").spawn(move || write_frame(folder, frame, sheet));
                Drawn { grid, encoding, took }
            });
            lab.drawings.push_back(drawing);
            lab.times.frame.push(start.elapsed());
            progress.advance();
        }
        while lab.collect_oldest()? {}
        Ok(Film { times: lab.times, checksum: simulation.checksum(), pictures: lab.pictures })
    })
}

/// Encodes a frame and writes it, and beside that encodes its picture for the animation if it has
/// one there.
fn write_frame(folder: &Path, frame: u32, mut sheet: Sheet) -> Result<Encoded, Failure> {
    let start = Instant::now();
    let Sheet { canvas, half, file } = &mut sheet;
    let (written, picture) = ramie::join(
        || {
            encode::frame(&canvas.bytes, file)?;
            write_file(&folder.join(format!("frame-{frame:04}.png")), file)
        },
        || {
            let in_animation = frame % FRAMES_PER_PICTURE == 0;
            in_animation.then(|| {
                halve(canvas, half);
                encode::picture(half)
            })
        },
    );
    written?;
    Ok(Encoded { sheet, picture: picture.transpose()?, took: start.elapsed() })
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(path, content).map_err(|error| {
        Failure::new(format!(
            "cannot write '{}' ({error}): make room or choose another --out",
            path.display()
        ))
    })
}

/// The memory for a picture on its way.
#[derive(Debug)]
struct Sheet {
    canvas: Canvas,
    /// The picture at the size of the animation.
    half: Vec<u8>,
    /// The file that the picture becomes.
    file: Vec<u8>,
}

/// What a drawing job gives back.
struct Drawn<'scope> {
    grid: AtomicGrid,
    encoding: Encoding<'scope>,
    took: Duration,
}

/// What an encoding job gives back.
struct Encoded {
    sheet: Sheet,
    picture: Option<Pixels>,
    took: Duration,
}

type Drawing<'scope> = ScopedHandle<'scope, Drawn<'scope>>;
type Encoding<'scope> = ScopedHandle<'scope, Result<Encoded, Failure>>;

/// The grids and sheets, those at rest and those in use by a job; and what came of the jobs.
struct Lab<'scope> {
    grids: Vec<AtomicGrid>,
    sheets: Vec<Sheet>,
    /// The jobs that have a grid and a sheet, oldest first.
    drawings: VecDeque<Drawing<'scope>>,
    /// The jobs that have a sheet, oldest first; all of them older than any in `drawings`.
    encodings: VecDeque<Encoding<'scope>>,
    times: Times,
    pictures: Vec<Pixels>,
}

impl<'scope> Lab<'scope> {
    fn new(sheet_count: usize) -> Self {
        let sheet = || Sheet { canvas: Canvas::new(), half: Vec::new(), file: Vec::new() };
        Self {
            grids: (0..GRID_COUNT).map(|_| AtomicGrid::new()).collect(),
            sheets: (0..sheet_count).map(|_| sheet()).collect(),
            drawings: VecDeque::new(),
            encodings: VecDeque::new(),
            times: Times::default(),
            pictures: Vec::new(),
        }
    }

    /// A grid that nobody draws; suspends until there is one.
    fn take_grid(&mut self) -> Result<AtomicGrid, Failure> {
        loop {
            if let Some(grid) = self.grids.pop() {
                return Ok(grid);
            }
            self.collect_drawing()?;
        }
    }

    /// A sheet that nobody draws or encodes; suspends until there is one.
    fn take_sheet(&mut self) -> Result<Sheet, Failure> {
        loop {
            if let Some(sheet) = self.sheets.pop() {
                return Ok(sheet);
            }
            self.collect_oldest()?;
        }
    }

    /// Waits for the oldest job of all. False when there is none.
    fn collect_oldest(&mut self) -> Result<bool, Failure> {
        Ok(self.collect_encoding()? || self.collect_drawing()?)
    }

    fn collect_drawing(&mut self) -> Result<bool, Failure> {
        let Some(drawing) = self.drawings.pop_front() else { return Ok(false) };
        let drawn = drawing.join().map_err(job_failed)?;
        self.times.draw.push(drawn.took);
        self.grids.push(drawn.grid);
        self.encodings.push_back(drawn.encoding);
        Ok(true)
    }

    fn collect_encoding(&mut self) -> Result<bool, Failure> {
        let Some(encoding) = self.encodings.pop_front() else { return Ok(false) };
        let encoded = encoding.join().map_err(job_failed)??;
        self.times.encode.push(encoded.took);
        self.sheets.push(encoded.sheet);
        self.pictures.extend(encoded.picture);
        Ok(true)
    }
}

/// A job of the film panicked, which is a mistake in this program.
fn job_failed(error: JobError) -> Failure {
    Failure::new(format!("a job of the film did not end well ({error}): please report this"))
}
