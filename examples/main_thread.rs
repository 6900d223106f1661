//! The main thread as worker 0, in the manner of a window system's loop: events come on the main thread and nowhere else,
//! the game runs on the other workers, and what must happen on the main thread (here: presenting a frame) is pinned to
//! worker 0.
//!
//! ```sh
//! cargo run --release --example main_thread
//! ```

use ramie::{Counter, JobSystem, Priority};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FRAMES: u32 = 120;

/// What a window system would call on the main thread, over and over, until the window is closed.
struct EventLoop {
    frames: u32,
}

impl EventLoop {
    fn run(mut self, mut on_idle: impl FnMut(u32) -> bool) {
        while on_idle(self.frames) {
            self.frames += 1;
        }
    }
}

fn main() -> Result<(), ramie::BuildError> {
    let system = JobSystem::builder().workers(2).main_thread_worker(true).build()?;
    let main_thread = std::thread::current().id();
    let quit = Arc::new(AtomicBool::new(false));

    // The game: simulates on whatever worker is free, presents on worker 0.
    let (theirs, running) = (system.clone(), Arc::clone(&quit));
    let game = system.job().name("game").spawn(move || {
        let mut presented = 0;
        while !running.load(Ordering::Acquire) {
            let mut world = vec![0.0_f32; 20_000];
            ramie::par_chunks_mut(&mut world, 1000).for_each(|(chunk, cells)| {
                cells.iter_mut().enumerate().for_each(|(i, cell)| *cell = ((chunk * 1000 + i) as f32).sin());
            });
            let sum: f32 = world.iter().sum();
            let present =
                theirs.job().name("present").on_worker(0).priority(Priority::High).spawn(move || {
                    assert_eq!(std::thread::current().id(), main_thread);
                    sum
                });
            present.join().expect("the main thread comes back until the game has ended");
            presented += 1;
        }
        presented
    });

    // The main thread: events, then whatever the game wants from it, for at most 4 ms at a time.
    let begin = Instant::now();
    EventLoop { frames: 0 }.run(|frame| {
        system.pump(Duration::from_millis(4));
        frame + 1 < FRAMES
    });
    quit.store(true, Ordering::Release);

    // Any wait on this thread works for the system as well.
    let presented = game.join().expect("the game does not panic");
    println!("{FRAMES} rounds of the event loop, {presented} frames presented, in {:.1?}", begin.elapsed());

    // And a closure that is not Send can run as a job, with everything that a job may do.
    let window = std::rc::Rc::new("window");
    let counter = Counter::new(0);
    system.run_main(|| {
        let _closing = counter.guard();
        println!("closing the {window} on worker {:?}", ramie::current_worker());
    });
    counter.wait();
    Ok(())
}
