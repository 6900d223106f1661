//! Random trees of jobs of all priorities, pinned and not, that raise, cancel, yield and give way, against a model that
//! computes what must come out; and a bound on how long a job can be held up by others.

mod common;

use common::{Planned, Rng, WORKERS, mix, planned, planned_id, soak, watch};
use ramie::{Counter, CounterGuard, JobBuilder, JobError, JobSystem, Partition, Priority};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const ALL: [Priority; 4] = [Priority::High, Priority::Normal, Priority::Low, Priority::Background];

/// What stands in the sum for a child that has panicked.
const PANICKED: u64 = 1_000_003;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leaf,
    Panic,
    /// Waits for each child in turn, which raises it.
    Handles,
    /// Hands the handles to a job of another priority, which waits.
    HandlesElsewhere,
    Join,
    Scope,
    /// Waits for a counter, which raises nobody.
    Counter,
    /// A batch of a child's priority, which this job or another one waits for.
    Batch,
    Loop,
    Yield,
    YieldIfUrgent,
    Timeout,
    Cancel,
    After,
    /// Starts something urgent and passes splits until it has ended.
    Interrupted,
}

/// A node of the tree: everything about it follows from its seed and depth.
#[derive(Clone, Debug)]
struct Node {
    seed: u64,
    depth: u32,
}

impl Node {
    fn value(&self) -> u64 {
        mix(self.seed ^ 0xABCD) % 1000
    }

    fn kind(&self) -> Kind {
        let dice = mix(self.seed ^ 0x1234) % 100;
        if self.depth == 0 {
            return if dice < 10 { Kind::Panic } else { Kind::Leaf };
        }
        match dice {
            0..=3 => Kind::Leaf,
            4..=6 => Kind::Panic,
            7..=20 => Kind::Handles,
            21..=28 => Kind::HandlesElsewhere,
            29..=37 => Kind::Join,
            38..=51 => Kind::Scope,
            52..=60 => Kind::Counter,
            61..=67 => Kind::Batch,
            68..=73 => Kind::Loop,
            74..=77 => Kind::Yield,
            78..=81 => Kind::YieldIfUrgent,
            82..=83 => Kind::Timeout,
            84..=90 => Kind::Cancel,
            91..=96 => Kind::After,
            _ => Kind::Interrupted,
        }
    }

    fn children(&self) -> Vec<Node> {
        let count = match self.kind() {
            Kind::Leaf | Kind::Panic => 0,
            Kind::Join => 2,
            _ => 1 + mix(self.seed ^ 0x7777) % 4,
        };
        (0..count).map(|i| Node { seed: mix(self.seed.wrapping_add(i + 1)), depth: self.depth - 1 }).collect()
    }

    /// The priority that the node's job is given; by default it inherits.
    fn priority(&self) -> Option<Priority> {
        ALL.get((mix(self.seed ^ 0x9191) % 6) as usize).copied()
    }

    /// The worker that the node's job is pinned to.
    fn pin(&self, workers: usize) -> Option<usize> {
        let dice = mix(self.seed ^ 0x4444);
        (dice & 3 == 0).then_some((dice >> 8) as usize % workers)
    }

    /// Another choice.
    fn coin(&self, which: u64) -> bool {
        mix(self.seed ^ which) & 1 == 0
    }
}

/// What the node's job gives: its value, or `Err` if it panics.
fn model(node: &Node) -> Result<u64, u64> {
    let children: Vec<Result<u64, u64>> = node.children().iter().map(model).collect();
    let sum_with =
        |if_panicked: u64| children.iter().fold(0_u64, |sum, r| sum.wrapping_add(r.unwrap_or(if_panicked)));
    let any_panicked = children.iter().any(Result::is_err);
    let of_children = match node.kind() {
        Kind::Leaf => 0,
        Kind::Panic => return Err(node.value()),
        Kind::Join => match (children[0], children[1]) {
            (Ok(a), Ok(b)) => a.wrapping_add(b),
            (Err(id), _) | (_, Err(id)) => PANICKED + id,
        },
        Kind::Scope => sum_with(0).wrapping_add(if any_panicked { 7 } else { 0 }),
        Kind::Batch => sum_with(0).wrapping_add(if any_panicked { 9 } else { 0 }),
        Kind::Counter => sum_with(0),
        _ => sum_with(PANICKED),
    };
    Ok(node.value().wrapping_add(of_children))
}

/// The value of a child that runs in place.
fn in_place(system: &JobSystem, node: &Node) -> u64 {
    catch_unwind(AssertUnwindSafe(|| live(system, node))).unwrap_or_else(|payload| {
        planned_id(&*payload);
        PANICKED
    })
}

/// The value of a child that a handle waits for.
fn joined(result: Result<u64, JobError>) -> u64 {
    match result {
        Ok(value) => value,
        Err(JobError::Panicked(payload)) => {
            planned_id(&*payload);
            PANICKED
        }
        Err(other) => panic!("a job was lost: {other}"),
    }
}

fn mine() -> Priority {
    ramie::current_priority().expect("inside a job")
}

/// A job as the node wants it.
fn job<'a>(system: &'a JobSystem, node: &Node) -> JobBuilder<'a> {
    let job = system.job();
    let job = if let Some(priority) = node.priority() { job.priority(priority) } else { job };
    if let Some(worker) = node.pin(system.workers()) { job.on_worker(worker) } else { job }
}

/// What the node's job does. `given`: the priority that it was submitted with; it has that one or has been raised.
fn child(system: &JobSystem, node: &Node, given: Priority) -> u64 {
    assert!(mine() >= given, "a {given:?} job runs as {:?}", mine());
    live(system, node)
}

/// The same as a closure, for a job that is about to be submitted by the calling one.
fn child_job(system: &JobSystem, node: Node) -> impl FnOnce() -> u64 + Send + 'static {
    let (system, given) = (system.clone(), node.priority().unwrap_or_else(mine));
    move || child(&system, &node, given)
}

fn add(sum: &AtomicU64, value: u64) {
    sum.fetch_add(value, Relaxed);
}

fn live(system: &JobSystem, node: &Node) -> u64 {
    let (worker, priority) = (ramie::current_worker(), mine());
    let value = node.value().wrapping_add(of_children(system, node));
    assert!(common::migrating() || ramie::current_worker() == worker, "a job stays on its worker");
    assert_eq!(mine(), priority, "a job that was started keeps its priority");
    value
}

fn of_children(system: &JobSystem, node: &Node) -> u64 {
    let children = node.children();
    match node.kind() {
        Kind::Leaf => 0,
        Kind::Panic => planned(node.value()),
        Kind::Handles => {
            let handles: Vec<_> =
                children.into_iter().map(|c| job(system, &c).spawn(child_job(system, c))).collect();
            handles.into_iter().map(|handle| joined(handle.join())).fold(0, u64::wrapping_add)
        }
        Kind::HandlesElsewhere => {
            let handles: Vec<_> =
                children.into_iter().map(|c| job(system, &c).spawn(child_job(system, c))).collect();
            let waiter = system.job().priority(if node.coin(1) { Priority::High } else { Priority::Low });
            let waiter =
                waiter.spawn(|| handles.into_iter().map(|h| joined(h.join())).fold(0, u64::wrapping_add));
            joined(waiter.join())
        }
        Kind::Join => {
            let priority = mine();
            let half = |node: &Node| {
                assert_eq!(mine(), priority);
                live(system, node)
            };
            let both =
                catch_unwind(AssertUnwindSafe(|| ramie::join(|| half(&children[0]), || half(&children[1]))));
            match both {
                Ok((a, b)) => a.wrapping_add(b),
                Err(payload) => PANICKED + planned_id(&*payload),
            }
        }
        Kind::Scope => in_scope(system, &children),
        Kind::Counter => {
            let (done, sum) = (Counter::new(0), Arc::new(AtomicU64::new(0)));
            for c in children {
                let (spec, run, sum) =
                    (job(system, &c).counter(&done), child_job(system, c.clone()), Arc::clone(&sum));
                spec.detach(move || add(&sum, run()));
            }
            done.wait();
            sum.load(Relaxed)
        }
        Kind::Batch => in_batch(system, node, children),
        Kind::Loop => {
            let inner = node.priority().unwrap_or_else(mine);
            let partition = if node.coin(2) { Partition::Auto } else { Partition::Static(3) };
            // A loop is in part the calling job's, so it is a Background one where that is.
            let expected = match (mine(), inner) {
                (Priority::Background, _) => Priority::Background,
                (_, Priority::Background) => Priority::Low,
                (_, inner) => inner,
            };
            let map = |c: &Node| {
                assert_eq!(mine(), expected);
                in_place(system, c)
            };
            ramie::par(&children).partition(partition).priority(inner).map_reduce(0, map, u64::wrapping_add)
        }
        Kind::Yield | Kind::YieldIfUrgent => children.iter().fold(0, |sum, c| {
            if node.kind() == Kind::Yield {
                ramie::yield_now();
            } else {
                ramie::yield_if_urgent();
            }
            sum.wrapping_add(in_place(system, c))
        }),
        Kind::Timeout => {
            let never = Counter::new(1);
            children.iter().fold(0, |sum, c| {
                never.wait_timeout(Duration::from_micros(c.seed % 100)).expect_err("nobody signals it");
                sum.wrapping_add(in_place(system, c))
            })
        }
        Kind::Cancel => children.into_iter().fold(0, |sum, c| {
            let handle = job(system, &c).spawn(child_job(system, c.clone()));
            if c.coin(3) {
                ramie::yield_now();
            }
            let cancelled = handle.cancel();
            let result = handle.join();
            let value = if cancelled {
                assert!(matches!(result, Err(JobError::Cancelled)), "{result:?}");
                in_place(system, &c)
            } else {
                joined(result)
            };
            sum.wrapping_add(value)
        }),
        Kind::After => {
            let gate = Counter::new(1);
            let handles: Vec<_> = children
                .into_iter()
                .map(|c| job(system, &c).after(&gate).spawn(child_job(system, c)))
                .collect();
            if node.coin(4) {
                gate.signal();
            } else {
                system.job().priority(Priority::Low).detach(move || gate.signal());
            }
            handles.into_iter().map(|handle| joined(handle.join())).fold(0, u64::wrapping_add)
        }
        Kind::Interrupted => {
            let urgent = Counter::new(0);
            let priority = Priority::High;
            for _ in 0..3 {
                system.job().priority(priority).counter(&urgent).detach(move || assert_eq!(mine(), priority));
            }
            while !urgent.is_zero() {
                ramie::join(|| (), || ());
                ramie::yield_if_urgent();
                if mine() == Priority::High {
                    // Nothing is more urgent than this one.
                    urgent.wait();
                }
            }
            children.iter().fold(0, |sum, c| sum.wrapping_add(in_place(system, c)))
        }
    }
}

/// Members of all priorities, some pinned, some with handles, of which some are cancelled.
fn in_scope(system: &JobSystem, children: &[Node]) -> u64 {
    let sum = AtomicU64::new(0);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        ramie::scope(|s| {
            for c in children {
                let given = c.priority().unwrap_or_else(mine);
                let sum = &sum;
                let spec = s.job();
                let spec = if let Some(priority) = c.priority() { spec.priority(priority) } else { spec };
                let spec = if let Some(pin) = c.pin(system.workers()) { spec.on_worker(pin) } else { spec };
                if c.coin(5) {
                    spec.detach(move || add(sum, child(system, c, given)));
                } else {
                    let handle = spec.spawn(move || add(sum, child(system, c, given)));
                    if c.coin(6) && handle.cancel() {
                        // A member that spawns it again.
                        s.spawn(move || add(sum, live(system, c)));
                    }
                }
            }
        });
    }));
    if let Err(payload) = ended {
        planned_id(&*payload);
        add(&sum, 7);
    }
    sum.into_inner()
}

/// A batch that a job of the node's priority spawns, and that this job waits for.
fn in_batch(system: &JobSystem, node: &Node, children: Vec<Node>) -> u64 {
    let sum = Arc::new(AtomicU64::new(0));
    let (theirs, total) = (system.clone(), Arc::clone(&sum));
    let spawn = move || {
        ramie::spawn_batch(children.into_iter().map(|c| {
            let (system, sum, given) = (theirs.clone(), Arc::clone(&total), mine());
            move || add(&sum, child(&system, &c, given))
        }))
    };
    let batch = match job(system, node).spawn(spawn).join() {
        Ok(batch) => batch,
        Err(error) => panic!("a job was lost: {error}"),
    };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| batch.wait())) {
        planned_id(&*payload);
        add(&sum, 9);
    }
    sum.load(Relaxed)
}

fn trees(workers: usize, background: usize, count: usize, depth: u32, priority_guard: bool) {
    let seed = common::seed();
    let system = common::builder()
        .workers(workers)
        .background_threads(background)
        .priority_guard(priority_guard)
        // A detached job's panic is planned and reported here.
        .on_panic(|report| assert!(report.payload.is::<Planned>(), "an unplanned panic: {report:?}"))
        .build()
        .expect("a test's system can be built");
    for chunk in (0..count).collect::<Vec<_>>().chunks(6) {
        let roots: Vec<Node> =
            chunk.iter().map(|i| Node { seed: mix(seed.wrapping_add(*i as u64)), depth }).collect();
        let handles: Vec<_> = roots
            .iter()
            .map(|root| {
                let (theirs, root, given) =
                    (system.clone(), root.clone(), root.priority().unwrap_or_default());
                (model(&root), job(&system, &root).spawn(move || child(&theirs, &root, given)))
            })
            .collect();
        for (root, (expected, handle)) in roots.iter().zip(handles) {
            let got = handle.join().map_err(|error| match error {
                JobError::Panicked(payload) => planned_id(&*payload),
                other => panic!("a root was lost: {other}"),
            });
            assert_eq!(got, expected, "tree {root:?} of seed {seed}");
        }
    }
    system.wait_idle();
    let stats = system.stats();
    assert_eq!(stats.submitted, stats.jobs, "every job has ended");
    assert!(system.dump().is_empty(), "no job is left:\n{}", system.dump());
}

#[test]
fn shallow_trees_of_all_priorities_give_what_the_model_says() {
    let _watch = watch("shallow trees", 120);
    for workers in WORKERS {
        trees(workers, 0, 1500 * soak(), 3, true);
        trees(workers, 0, 500 * soak(), 3, false);
    }
}

#[test]
fn deep_trees_of_all_priorities_give_what_the_model_says() {
    let _watch = watch("deep trees", 180);
    for workers in WORKERS {
        trees(workers, 0, 30 * soak(), 7, true);
    }
}

#[test]
fn trees_with_background_threads_give_what_the_model_says() {
    let _watch = watch("trees with Background threads", 1800);
    for (workers, background) in [(1, 1), (1, 3), (2, 2), (3, 1), (8, 8), (64, 4)] {
        trees(workers, background, 300 * soak(), 3, true);
        trees(workers, background, 6 * soak(), 6, true);
    }
}

// --- no starvation ---------------------------------------------------------------------------

/// Every so many turns a worker begins with what would otherwise wait (`FAIR_EVERY` in `src/sched/find_work.rs`), and
/// with which of three priorities and five sources it begins rotates.
const TURNS_OF_ONE_ROTATION: usize = 61 * 3 * 5;
/// Jobs that wait to be started at once, at most.
const OUTSTANDING: usize = 100;

/// How many jobs each worker has started.
type Starts = Arc<Vec<AtomicUsize>>;

/// A constant load: a chain of jobs, each of which starts the next one, until told to stop.
struct Link {
    starts: Starts,
    stop: Arc<AtomicBool>,
    /// Handed on from job to job, so that the end of the chain can be waited for.
    guard: CounterGuard,
}

impl Link {
    fn run(self) {
        note(&self.starts);
        if self.stop.load(Relaxed) {
            drop(self.guard);
        } else {
            drop(ramie::spawn(|| self.run()));
        }
    }
}

/// Counts the start of a job.
fn note(starts: &Starts) {
    starts[ramie::current_worker().expect("inside a job")].fetch_add(1, SeqCst);
}

/// A job that measures how long it waits: in jobs that its worker starts meanwhile. Not more than there are turns.
///
/// # The bound
///
/// A worker's turns of fairness are 61 turns apart, and each begins at one of fifteen queues: three priorities times
/// ready fibers, injector, own deque (oldest first), pinned jobs, and other workers' deques. So the front of each is
/// taken after at most 61 * 15 turns of that worker, whatever else there is, for what is added later lies behind the
/// front. A job with `n` others before it in its queue is the front after `n` such rotations, and taken after one more.
///
/// Before a job in a deque are those that were there before: of these jobs, and one of each chain of the load. An
/// injected job may wait twice: what is taken out of the injector is moved, up to 32 at a time, to the taker's own
/// deque first.
///
/// Whose turns count: those of the worker that it is pinned to, or on whose deque it was pushed and not stolen. For an
/// injected job this is not known from outside; then the bound must hold for one of the workers.
struct Probe {
    counts: Arc<Counts>,
    before: Arc<OnceLock<Vec<usize>>>,
    /// The worker whose turns count, if it is known.
    owner: Option<usize>,
    turns_max: usize,
}

/// Tells a probe that it was submitted. Until then its submitter may be held up, which is no fault of the workers.
struct Submitted {
    counts: Arc<Counts>,
    before: Arc<OnceLock<Vec<usize>>>,
}

impl Submitted {
    fn tell(self) {
        let now = self.counts.starts.iter().map(|count| count.load(SeqCst)).collect();
        self.before.set(now).expect("told once");
    }
}

/// What probes count.
struct Counts {
    starts: Starts,
    /// The longest wait.
    worst: AtomicUsize,
    /// The longest wait in parts per thousand of what it may be.
    worst_share: AtomicUsize,
}

impl Probe {
    /// `rank` others at most are taken before it.
    fn new(counts: &Arc<Counts>, owner: Option<usize>, rank: usize) -> (Self, Submitted) {
        let before = Arc::new(OnceLock::new());
        let submitted = Submitted { counts: Arc::clone(counts), before: Arc::clone(&before) };
        let turns_max = TURNS_OF_ONE_ROTATION * (rank + 1);
        (Self { counts: Arc::clone(counts), before, owner, turns_max }, submitted)
    }

    fn run(self) {
        let Counts { starts, worst, worst_share } = &*self.counts;
        let waited = |worker: usize| match self.before.get() {
            Some(before) => starts[worker].load(SeqCst) - before[worker],
            None => 0,
        };
        let turns = match self.owner {
            Some(owner) if ramie::current_worker() == self.owner => waited(owner),
            // A thief was faster. When it took this is not known: the system may have held it up since.
            Some(_) => 0,
            None => (0..starts.len()).map(waited).min().expect("there is a worker"),
        };
        worst.fetch_max(turns, SeqCst);
        worst_share.fetch_max(turns * 1000 / self.turns_max, SeqCst);
        note(starts);
    }
}

/// `jobs` jobs of random priorities, under a constant load of High and Normal jobs on all workers.
fn starve(workers: usize, jobs: usize) {
    let mut rng = Rng(common::seed());
    let system = common::system(workers);
    let starts: Starts = Arc::new((0..workers).map(|_| AtomicUsize::new(0)).collect());
    let counts = Arc::new(Counts {
        starts: Arc::clone(&starts),
        worst: AtomicUsize::new(0),
        worst_share: AtomicUsize::new(0),
    });
    let (stop, load_ended) = (Arc::new(AtomicBool::new(false)), Counter::new(0));
    let chains = workers + 1;
    for priority in [Priority::High, Priority::Normal] {
        for _ in 0..chains {
            let (starts, stop) = (Arc::clone(&starts), Arc::clone(&stop));
            let link = Link { starts, stop, guard: load_ended.guard() };
            system.job().priority(priority).detach(|| link.run());
        }
    }
    for _ in 0..jobs.div_ceil(OUTSTANDING) {
        // How many of each priority are injected, pinned to each worker, and spawned by one job.
        let done = Counter::new(0);
        let entries: Vec<(Priority, u64)> =
            (0..OUTSTANDING).map(|_| (ALL[rng.below(3) as usize], rng.below(3))).collect();
        let of = |priority: Priority, how: u64| entries.iter().filter(|e| **e == (priority, how)).count();
        let injected_max = ALL.map(|priority| of(priority, 0));
        let spawned_max = ALL.map(|priority| of(priority, 2));
        let mut injected = [0; 3];
        let mut pinned = vec![[0; 3]; workers];
        for (priority, how) in &entries {
            let p = ALL.iter().position(|other| other == priority).expect("one of three");
            let job = system.job().priority(*priority).counter(&done);
            match how {
                0 => {
                    let rank = injected[p] + injected_max[p] + spawned_max[p] + chains;
                    let (probe, submitted) = Probe::new(&counts, None, rank);
                    job.detach(|| probe.run());
                    submitted.tell();
                    injected[p] += 1;
                }
                1 => {
                    let worker = rng.below(workers as u64) as usize;
                    let (probe, submitted) = Probe::new(&counts, Some(worker), pinned[worker][p]);
                    job.on_worker(worker).detach(|| probe.run());
                    submitted.tell();
                    pinned[worker][p] += 1;
                }
                _ => {}
            }
        }
        // One job fills its worker's deques.
        let (theirs, counts, counter) = (system.clone(), Arc::clone(&counts), done.clone());
        system.job().priority(Priority::High).counter(&done).detach(move || {
            let own = ramie::current_worker();
            for (p, priority) in ALL.into_iter().enumerate() {
                for spawned in 0..spawned_max[p] {
                    let (probe, submitted) = Probe::new(&counts, own, spawned + injected_max[p] + chains);
                    theirs.job().priority(priority).counter(&counter).detach(|| probe.run());
                    submitted.tell();
                }
            }
        });
        done.wait();
    }
    stop.store(true, SeqCst);
    load_ended.wait();
    system.wait_idle();
    let turns: usize = starts.iter().map(|count| count.load(SeqCst)).sum();
    let (worst, share) = (counts.worst.load(SeqCst), counts.worst_share.load(SeqCst));
    let summary = format!("{workers} workers: {turns} turns, the longest wait took {worst}");
    eprintln!("{summary}, and none more than {} % of its bound", share.div_ceil(10));
    assert!(share <= 1000, "{summary}, and one {} % of what it may", share.div_ceil(10));
}

#[test]
fn every_job_starts_within_a_bounded_number_of_turns() {
    let _watch = watch("no starvation", 180);
    // Fewer where many threads share few processors: 100,000 in all.
    for (workers, jobs) in [(1, 60_000), (2, 25_000), (3, 12_000), (8, 2_500), (64, 500)] {
        starve(workers, jobs * soak());
    }
}
