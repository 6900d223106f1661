//! `FramePipeline`: several frames at once, each in another stage.
//!
//! A frame is one job that runs through its stages. What it hands from one stage to the next are locals, and what it has
//! allocated in its frame, so the compiler knows how long everything lives. While a frame waits for its turn its fiber is
//! suspended. The job of a frame is held back until the frame before it has passed the first stage: until then it needs no
//! stack, and then any idle worker may take it, whereas a started fiber stays where it is.

#![expect(unsafe_code, reason = "lends the state of a stage to one frame after the other")]

use super::turns::Turns;
use super::{Frame, FrameArenas, PipelineReport, StageReport};
use crate::error::PanicKind;
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::scope::scope_in;
use crate::system;
use crate::trace::site::SiteRef;
use std::cell::UnsafeCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The name of the frames' jobs, in dumps and messages.
const JOB_NAME: &str = "frame";
/// In [`FrameRun::panicked_in`].
const NO_STAGE: u32 = u32::MAX;

static NEXT_PIPELINE: AtomicU64 = AtomicU64::new(0);

/// Stages that frames go through in order: while one frame is in its last stage, the next may be in the one before, and
/// so on.
///
/// Within a stage frames follow each other in order, one at a time, so a stage may own what lasts from frame to frame: the
/// world that is simulated, the renderer, the encoder. At most as many frames are under way as the arenas have
/// [in flight](FrameArenas::frames_in_flight); what a frame allocates in its [`Frame`] lives until it ends.
///
/// What a frame does between two stages, or after the last, is in no order with other frames, and several may be at it at
/// once: the place for work that depends on nothing but the frame itself, like compressing a picture.
///
/// # Examples
///
/// ```
/// use ramie::{FrameArenas, FramePipeline, JobSystem};
///
/// let system = JobSystem::new()?;
/// let arenas = FrameArenas::new(&system, 3)?;
/// let mut pipeline = FramePipeline::new(&arenas);
/// let simulate = pipeline.stage("simulate", 0_u64); // the world is a number that grows
/// let draw = pipeline.stage("draw", String::new());
///
/// let report = pipeline.run(1..=100_u64, |f, input| {
///     // A slice in the frame's memory, which the later stages see without a copy.
///     let state: &[u64] = f.enter(&simulate, |world| {
///         *world += input;
///         f.frame().alloc_slice_copy(&[*world, input])
///     });
///     // Beside this, the next frame is simulated.
///     let line = f.frame().alloc_str(if state[0] % 2 == 0 { "even " } else { "odd " });
///     f.enter(&draw, |picture| picture.push_str(line));
/// });
/// assert_eq!((report.frames, report.panicked), (100, 0));
/// assert_eq!(simulate.into_inner(), 5050);
/// assert!(draw.into_inner().starts_with("odd odd even even odd "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The state of a stage cannot leave it:
///
/// ```compile_fail
/// # use ramie::{FrameArenas, FramePipeline, JobSystem};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// # let mut pipeline = FramePipeline::new(&arenas);
/// let stage = pipeline.stage("stage", vec![1]);
/// pipeline.run(0..3, |f, _| {
///     let kept: &mut Vec<i32> = f.enter(&stage, |state| state);
/// });
/// ```
///
/// and is out of reach while the pipeline runs:
///
/// ```compile_fail,E0502
/// # use ramie::{FrameArenas, FramePipeline, JobSystem};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// # let mut pipeline = FramePipeline::new(&arenas);
/// let mut stage = pipeline.stage("stage", vec![1]);
/// pipeline.run(std::iter::from_fn(|| stage.get_mut().pop()), |f, _| f.enter(&stage, |_| ()));
/// ```
///
/// What a frame has allocated cannot be kept in it:
///
/// ```compile_fail,E0521
/// # use ramie::{FrameArenas, FramePipeline, JobSystem};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// # let mut pipeline = FramePipeline::new(&arenas);
/// let stage = pipeline.stage("stage", None);
/// pipeline.run(0..3, |f, _| {
///     let text: &str = f.frame().alloc_str("gone with the frame");
///     f.enter(&stage, |kept| *kept = Some(text));
/// });
/// ```
pub struct FramePipeline {
    arenas: FrameArenas,
    /// Unique in the process.
    id: u64,
    stages: Vec<&'static str>,
    priority: Option<Priority>,
    large_stack: bool,
}

impl FramePipeline {
    /// The greatest number of stages: 256.
    pub const STAGES_MAX: usize = 256;

    /// A pipeline without stages, for the system of these arenas and as many frames at a time as they have in flight.
    pub fn new(arenas: &FrameArenas) -> Self {
        let id = NEXT_PIPELINE.fetch_add(1, Ordering::Relaxed);
        Self { arenas: arenas.clone(), id, stages: Vec::new(), priority: None, large_stack: false }
    }

    /// The priority of the frames' jobs; by default that of the job that runs the pipeline.
    pub fn set_priority(&mut self, priority: Priority) {
        self.priority = Some(priority);
    }

    /// Whether frames have a [large stack](crate::JobBuilder::large_stack); by default they have not.
    pub fn set_large_stack(&mut self, large: bool) {
        self.large_stack = large;
    }

    /// Adds a stage behind those that there are. It owns `state`, which frames get one after the other.
    ///
    /// # Panics
    ///
    /// If the pipeline has [`STAGES_MAX`](Self::STAGES_MAX) stages.
    pub fn stage<S: Send>(&mut self, name: &'static str, state: S) -> Stage<S> {
        let index = self.stages.len();
        assert!(index < Self::STAGES_MAX, "a pipeline has at most {} stages", Self::STAGES_MAX);
        self.stages.push(name);
        Stage { pipeline: self.id, index, name, state: UnsafeCell::new(state) }
    }

    /// Runs `body` as a job for each of `inputs`, which is a frame, and returns when all of them have ended.
    ///
    /// `inputs` is asked in place, on the calling fiber or thread, each time that there is room for another frame: it may be the
    /// place where a program polls its window. `body` takes a frame through its stages, by [`FrameRun::enter`]. It is called
    /// once the frame before has passed the first stage.
    ///
    /// An input is taken as soon as there is room for its frame, up to as many frames as there are in flight, less one, before
    /// that frame enters the first stage. What must be fresh, such as the state of a controller, is read in the first stage.
    ///
    /// The pipeline needs the frames of its arenas for itself. A frame of it that begins another one of the same arenas, or runs
    /// another pipeline on them, waits for ever, and so does a run while its caller holds all of them.
    ///
    /// A run allocates for itself, a few allocations whatever the number of its frames; its frames do not.
    ///
    /// # Panics of frames
    ///
    /// A panic in `body` ends its frame, and is told to [`on_panic`](crate::Builder::on_panic), with the stage and
    /// the number of the frame in [`PanicKind::FrameStage`], and counted in the report. The other frames go on. A stage in which a
    /// frame panics is passed by it; its state stays as the panic has left it and is not poisoned.
    ///
    /// # Panics
    ///
    /// With the panic of `inputs`, after the frames that were begun have ended. If the system has been shut down, and
    /// also, as a [`scope`](crate::scope()) does, if a shutdown abandons a frame before it is started; no more are begun
    /// then. With `FiberLimit` if a wait had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, while all frames are under way, and until the last have ended. Elsewhere, and while the thread unwinds, it blocks
    /// the thread: a destructor must not run a pipeline on a system whose only worker it blocks.
    #[track_caller]
    pub fn run<I, F>(&mut self, inputs: I, body: F) -> PipelineReport
    where
        I: IntoIterator,
        I::Item: Send,
        F: Fn(&FrameRun<'_>, I::Item) + Sync,
    {
        let (site, begin) = (Location::caller(), Instant::now());
        let Some(core) = system::find(self.arenas.system()) else {
            panic!("the job system of this pipeline has ended: keep a `JobSystem` while it runs")
        };
        core.assert_accepts("FramePipeline::run", current::worker());
        let run = Run {
            pipeline: self.id,
            stages: &self.stages,
            system: self.arenas.system(),
            site,
            turns: Turns::new(self.arenas.frames_in_flight(), &self.stages),
            panicked: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
        };
        scope_in(&core, site, |scope| {
            let mut inputs = inputs.into_iter();
            loop {
                run.turns.wait_for_slot(site);
                // ORDERING: Relaxed: the slot of an abandoned frame was given back after it was noted.
                if run.abandoned.load(Ordering::Relaxed) {
                    break;
                }
                let Some(input) = inputs.next() else { break };
                let frame = self.arenas.begin_from(site, "FramePipeline::run");
                let (number, gate) = run.turns.begin();
                crate::trace::mark_frame(number);
                let frame = FrameRun::new(&run, number, frame);
                let job = scope.job_from(site).name(JOB_NAME);
                let job = match &gate {
                    Some(gate) => job.after(gate),
                    None => job,
                };
                let job = match self.priority {
                    Some(priority) => job.priority(priority),
                    None => job,
                };
                let job = if self.large_stack { job.large_stack() } else { job };
                let body = &body;
                job.detach(move || frame.play(body, input));
            }
        });
        let panicked = run.panicked.load(Ordering::Relaxed);
        let (frames, stages) = run.turns.into_reports();
        PipelineReport { frames, panicked, elapsed: begin.elapsed(), stages }
    }
}

impl fmt::Debug for FramePipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FramePipeline")
            .field("stages", &self.stages)
            .field("depth", &self.arenas.frames_in_flight())
            .finish_non_exhaustive()
    }
}

/// A stage of a [`FramePipeline`], and the state that frames get there, one after the other. Made by
/// [`FramePipeline::stage`].
pub struct Stage<S> {
    pipeline: u64,
    index: usize,
    name: &'static str,
    state: UnsafeCell<S>,
}

// SAFETY: threads that share a stage get at its state only by `FrameRun::enter`, one at a time (see there), each after the
// one before; S: Send allows that. Everything else needs the stage itself or a `&mut` to it.
unsafe impl<S: Send> Sync for Stage<S> {}

impl<S> Stage<S> {
    /// The name that it was made with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The state, between runs.
    pub fn get_mut(&mut self) -> &mut S {
        self.state.get_mut()
    }

    /// The state itself. The pipeline keeps the stage's place; in later runs every frame skips it.
    pub fn into_inner(self) -> S {
        self.state.into_inner()
    }
}

impl<S> fmt::Debug for Stage<S> {
    /// Tells nothing of the state: a frame may be changing it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("name", &self.name).field("index", &self.index).finish_non_exhaustive()
    }
}

/// What the frames of one run share. Stands in the stack frame of [`FramePipeline::run`].
struct Run<'pipeline> {
    pipeline: u64,
    stages: &'pipeline [&'static str],
    system: u32,
    site: &'static Location<'static>,
    turns: Turns,
    /// Frames that have panicked.
    panicked: AtomicU64,
    /// A frame was dropped before it was started. Written by whoever drops it, read by the one who begins frames.
    abandoned: AtomicBool,
}

/// A frame on its way through a [`FramePipeline`]; handed to the body of [`FramePipeline::run`].
pub struct FrameRun<'run> {
    /// Freed before the turn is over, so that the next frame finds room in the arenas.
    frame: Frame,
    /// The lowest bit: whether the frame is in a stage, or waits for its turn there. Above: that stage, or else the first that
    /// may still be entered. Written by the fibers of this frame.
    position: AtomicU32,
    /// The stage that the last panic came out of, or `NO_STAGE`. Written and read by the fibers of this frame.
    panicked_in: AtomicU32,
    turn: Turn<'run>,
}

/// A frame's place in the order. When it is dropped, on whatever way, the frame has passed all stages.
struct Turn<'run> {
    run: &'run Run<'run>,
    number: u64,
    started: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.started {
            self.run.abandoned.store(true, Ordering::Relaxed);
        }
        self.run.turns.end(self.number);
    }
}

impl<'run> FrameRun<'run> {
    fn new(run: &'run Run<'run>, number: u64, frame: Frame) -> Self {
        Self {
            frame,
            position: AtomicU32::new(0),
            panicked_in: AtomicU32::new(NO_STAGE),
            turn: Turn { run, number, started: false },
        }
    }

    /// The job of the frame.
    fn play<T>(mut self, body: &impl Fn(&FrameRun<'_>, T), input: T) {
        self.turn.started = true;
        // What a panic leaves behind in the stages is documented.
        let caught = catch_unwind(AssertUnwindSafe(|| body(&self, input)));
        let Turn { run, number, .. } = self.turn;
        let stage = self.panicked_in.load(Ordering::Relaxed);
        // The others need not wait for whatever `on_panic` does.
        drop(self);
        if let Err(payload) = caught {
            run.panicked.fetch_add(1, Ordering::Relaxed);
            let stage = run.stages.get(stage as usize).copied();
            let kind = PanicKind::FrameStage { stage, frame: number };
            system::report_panic(run.system, kind, SiteRef::named(run.site, JOB_NAME), payload);
        }
    }

    /// The memory that lives as long as this frame.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The number of the frame in this run, from 0.
    pub fn number(&self) -> u64 {
        self.turn.number
    }

    /// Waits until all frames before this one have passed `stage`, and calls `f` with the state of the stage. When `f` has
    /// returned, or panicked, this frame has passed it.
    ///
    /// A frame enters stages in the order in which they were made, each at most once. It may leave some out: it passes those when
    /// it has its turn in a later one, or when it ends.
    ///
    /// # Panics
    ///
    /// With the panic of `f`. If the frame enters a stage that it has entered or passed, if it is inside of a
    /// stage, or if the stage belongs to another pipeline; nothing is changed then. With `FiberLimit` if it had to
    /// suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// While a frame before this one has not passed the stage. While the thread unwinds it blocks the thread, for ever if that frame
    /// can only go on there: destructors should not enter stages.
    #[track_caller]
    pub fn enter<S, R>(&self, stage: &Stage<S>, f: impl FnOnce(&mut S) -> R) -> R {
        let site = Location::caller();
        let claim = self.claim(stage.pipeline, stage.index, stage.name);
        let asked = Instant::now();
        self.turn.run.turns.wait_for_turn(self.turn.number, stage.index, site);
        let _inside = claim.begin(asked);
        // SAFETY: nobody else has a reference to the state.
        // 1. A pipeline has one run at a time, which holds a `&mut` to it, and only frames of that pipeline come here.
        // 2. Of the frames of a run only the one that has its turn comes here, and the turn goes on only when `_inside` is
        //    dropped, after `f` has ended; what happened before in the stage happened before this (`Turns`).
        // 3. Of the fibers of a frame only one can claim a stage, once.
        // 4. The reference does not leave `f`, which takes it with any lifetime.
        // 5. `get_mut` and `into_inner` need the stage for themselves, and `stage` is borrowed.
        f(unsafe { &mut *stage.state.get() })
    }

    /// Makes sure that nobody enters this stage, or is in another, for this frame.
    #[track_caller]
    fn claim(&self, pipeline: u64, stage: usize, name: &'static str) -> Claim<'_> {
        let Turn { run, number, .. } = &self.turn;
        assert!(
            pipeline == run.pipeline,
            "frame {number} entered stage '{name}' of another pipeline: enter the stages that `FramePipeline::stage` \
             of the running one has made"
        );
        let claimed = (stage as u32) << 1 | 1;
        // ORDERING: Relaxed: it decides who may go on; what was done in stages is ordered by `Turns`.
        let before = self.position.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            (before & 1 == 0 && stage as u32 >= before >> 1).then_some(claimed)
        });
        match before {
            Ok(before) => Claim { frame: self, stage, skipped_from: (before >> 1) as usize },
            Err(now) => {
                let other = run.stages[if now & 1 == 1 { now >> 1 } else { (now >> 1) - 1 } as usize];
                if now & 1 == 1 {
                    panic!(
                        "frame {number} entered stage '{name}' while it was in stage '{other}': a frame is in one stage \
                         at a time; leave it first"
                    )
                }
                panic!(
                    "frame {number} entered stage '{name}' after it had passed stage '{other}': stages are entered at \
                     most once, in the order in which they were made"
                )
            }
        }
    }
}

impl fmt::Debug for FrameRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameRun")
            .field("number", &self.number())
            .field("frame", &self.frame)
            .finish_non_exhaustive()
    }
}

/// A frame waits for its turn in a stage. Dropped by a panic of that wait, it takes everything back.
struct Claim<'frame> {
    frame: &'frame FrameRun<'frame>,
    stage: usize,
    /// The first stage that the frame has not passed.
    skipped_from: usize,
}

impl<'frame> Claim<'frame> {
    /// The turn has come.
    fn begin(self, asked: Instant) -> Inside<'frame> {
        let Claim { frame, stage, skipped_from } = self;
        std::mem::forget(self);
        // From here on the drop of `inside` lets the others go on.
        let now = Instant::now();
        let inside = Inside {
            frame,
            stage,
            begin: now,
            waited: now - asked,
            unwinding_before: std::thread::panicking(),
        };
        frame.turn.run.turns.skip(frame.turn.number, skipped_from..stage);
        inside
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.frame.position.store((self.skipped_from as u32) << 1, Ordering::Relaxed);
    }
}

/// A frame is in a stage until this is dropped.
struct Inside<'frame> {
    frame: &'frame FrameRun<'frame>,
    stage: usize,
    begin: Instant,
    waited: Duration,
    unwinding_before: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let FrameRun { turn, position, panicked_in, .. } = self.frame;
        if std::thread::panicking() && !self.unwinding_before {
            panicked_in.store(self.stage as u32, Ordering::Relaxed);
        }
        let (took, waited) = (self.begin.elapsed(), self.waited);
        turn.run.turns.pass(turn.number, self.stage, |report: &mut StageReport| {
            report.runs += 1;
            report.total += took;
            report.longest = report.longest.max(took);
            report.waited += waited;
        });
        // After it has passed: who enters a later stage has passed all before.
        position.store((self.stage as u32 + 1) << 1, Ordering::Relaxed);
    }
}
