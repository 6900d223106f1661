//! `ramie demo`: a picture becomes sand, and a pipeline of frames films how it falls.

mod bare;
mod draw;
mod encode;
mod film;
mod load;
mod progress;
mod report;
mod times;

use std::fs;
use std::path::Path;
use std::time::Instant;

use ramie::JobSystem;

use crate::args::{Comparison, DemoArgs};
use crate::error::Failure;
use crate::live::Live;
use crate::picture::Picture;
use crate::sand::scene::Scene;
use crate::trace;

use bare::Bare;
use load::Load;
use progress::Progress;
use times::Times;

/// The animated picture in the output folder.
const ANIMATION: &str = "animation.png";

/// The stack of a fiber. Without optimisation, the library that compresses the pictures builds its
/// tables of some hundred KB on the stack before it moves them to the heap. What is not touched of a
/// stack costs no memory.
const STACK_BYTES: usize = 1024 * 1024;

/// Runs the demonstration. Gives back what is to be printed.
pub(crate) fn run(args: &DemoArgs) -> Result<String, Failure> {
    if args.live {
        Live::check()?;
    }
    let picture = match &args.picture {
        Some(path) => Picture::load(path)?,
        None => Picture::embedded()?,
    };
    let scene = Scene::new(&picture, args.grains as usize, args.seed);
    if scene.grains.is_empty() {
        return Err(Failure::new("the picture is transparent everywhere: name one that shows something"));
    }
    let system = start_system(args.workers)?;
    let mut text = format!(
        "{} grains, {} frames, seed {}, workers {}\n",
        scene.grains.len(),
        args.frames,
        args.seed,
        system.workers()
    );

    let recorder = args.trace.as_deref().map(trace::start).transpose()?;
    let (before, start) = (system.stats(), Instant::now());
    let (times, checksum) = if args.no_images {
        let progress = progress("sand", &system, args)?;
        let bare = bare::parallel(&system, &scene, args.frames, &progress);
        (bare.times, bare.checksum)
    } else {
        make_film(&system, &scene, args)?
    };
    let load = Load::between(&before, &system.stats(), start.elapsed());
    let frame_count = times.frame.len() as u32;
    if frame_count < args.frames {
        text += &format!("ended early, after {frame_count} of {} frames\n", args.frames);
    }
    text += &report::load(&load, frame_count);
    if !args.no_images {
        let folder = args.out.display();
        text += &format!("frames and {ANIMATION} are in '{folder}'\n");
    }
    if let Some(recorder) = recorder {
        text += &recorder.finish()?;
    }
    text += "\n";
    text += &report::phases(&times);
    if let Some(Comparison::Serial) = args.compare {
        text += "\n";
        text += &compare(&system, &scene, args.frames, checksum)?;
    }
    text += &format!("\nchecksum: {checksum:016x}\n");
    Ok(text)
}

fn start_system(worker_count: Option<u16>) -> Result<JobSystem, Failure> {
    let mut builder = JobSystem::builder().stack_size(STACK_BYTES);
    if let Some(count) = worker_count {
        builder = builder.workers(usize::from(count));
    }
    builder
        .build()
        .map_err(|error| Failure::new(format!("cannot start the job system ({error}): try fewer --workers")))
}

/// What shows how the frames of the demonstration come along.
fn progress(title: &'static str, system: &JobSystem, args: &DemoArgs) -> Result<Progress, Failure> {
    if args.live {
        Progress::live(args.frames, system)
    } else {
        Ok(Progress::new(title, args.frames, system))
    }
}

/// Films the scene into the output folder.
fn make_film(system: &JobSystem, scene: &Scene, args: &DemoArgs) -> Result<(Times, u64), Failure> {
    prepare_folder(&args.out)?;
    let film = {
        let progress = progress("film", system, args)?;
        film::film(system, scene, args.frames, &args.out, &progress)?
    };
    encode::write_animation(&args.out.join(ANIMATION), &film.pictures)?;
    Ok((film.times, film.checksum))
}

/// Creates the folder and makes sure that files can be created in it, before any work is done.
fn prepare_folder(folder: &Path) -> Result<(), Failure> {
    let prepare = || {
        fs::create_dir_all(folder)?;
        fs::File::create(folder.join(ANIMATION)).map(drop)
    };
    prepare().map_err(|error| {
        let shown = folder.display();
        Failure::new(format!(
            "cannot write into the folder '{shown}' ({error}): choose another one with --out"
        ))
    })
}

/// Simulates in parallel, without pictures, to compare.
fn simulate(system: &JobSystem, scene: &Scene, frame_count: u32) -> Bare {
    let progress = Progress::new("ramie", frame_count, system);
    bare::parallel(system, scene, frame_count, &progress)
}

/// Runs the simulation alone, in parallel and serially, and compares the times. That the results
/// are the same is part of what is promised, so it is an error if they are not.
fn compare(system: &JobSystem, scene: &Scene, frame_count: u32, checksum: u64) -> Result<String, Failure> {
    let parallel = simulate(system, scene, frame_count);
    let serial = {
        let progress = Progress::new("serial", frame_count, system);
        bare::serial(scene, frame_count, &progress)
    };
    if [parallel.checksum, serial.checksum] != [checksum; 2] {
        return Err(Failure::new(format!(
            "the checksums differ ({checksum:016x}, again {:016x}, serial {:016x}): please report this",
            parallel.checksum, serial.checksum
        )));
    }
    let mut text = report::comparison(&parallel, &serial, system.workers());
    text += "the serial result is the same\n";
    Ok(text)
}
