//! The one system of this program, in the form in which the harness's other systems are.

use std::{
    array,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    time::Instant,
};

use rustfiber::{Context, Counter, JobSystem, job_system::FiberConfig};

use crate::{
    cell::Measured,
    params::Params,
    workloads::{
        Workload, batches, chain, fanout, fib, flat_batch, flat_spawn,
        frame::{self, BARRIERS, JOBS},
        idle, imbalanced, jobs_200ns, mandelbrot, memory_fibers, never_waits, outside, par_for, sand,
        start_stop, tree, wake_storm,
    },
};

/// A system to measure.
pub(crate) struct Rival {
    pub(crate) name: &'static str,
    pub(crate) cells: &'static [(&'static Workload, Measure)],
}

/// Measures one workload.
pub(crate) type Measure = fn(&Params) -> Measured;

impl Rival {
    pub(crate) fn measure(&self, workload: &Workload) -> Option<Measure> {
        self.cells.iter().find(|(known, _)| known.name == workload.name).map(|(_, measure)| *measure)
    }
}

pub(crate) fn find(name: &str) -> Option<&'static Rival> {
    Some(&RIVAL).filter(|rival| rival.name == name)
}

pub(crate) static RIVAL: Rival = Rival {
    name: "rustfiber",
    cells: &[
        (&fib::WORKLOAD, fib),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_batch::WORKLOAD, flat_batch),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&never_waits::WORKLOAD, never_waits),
        (&fanout::WORKLOAD, fanout),
        (&chain::WORKLOAD, chain),
        (&tree::WORKLOAD, tree),
        (&batches::WORKLOAD, batches),
        (&imbalanced::WORKLOAD, imbalanced),
        (&par_for::WORKLOAD, par_for),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&outside::WORKLOAD, outside),
        (&wake_storm::WORKLOAD, wake_storm),
        (&frame::WORKLOAD, frame),
        (&memory_fibers::WORKLOAD, memory_fibers),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

/// The number whose Fibonacci number is computed: a job that waits spins for 5,000 pauses before it is
/// suspended.
const FIB: u32 = 15;

/// A system that lives as long as the process, which ends with the cell.
fn system(params: &Params) -> &'static JobSystem {
    Box::leak(Box::new(JobSystem::new(params.workers)))
}

/// Runs `f` in a job, while the calling thread sleeps.
fn in_job<T: Send + 'static>(system: &JobSystem, f: impl FnOnce(&Context) -> T + Send + 'static) -> T {
    let (sender, result) = mpsc::channel();
    system.run_with_context(move |context| {
        // The receiver is there until it has got this.
        let _ = sender.send(f(context));
    });
    result.recv().expect("the job does not panic")
}

/// Spawns so many jobs that are counted by one counter, and waits for it.
fn spawn_all<F: FnOnce(&Context) + Send + 'static>(
    context: &Context,
    count: usize,
    job: impl Fn(usize) -> F,
) {
    let ended = Counter::new(count);
    for index in 0..count {
        context.spawn_with_counter(job(index), ended.clone());
    }
    context.wait_for(&ended);
}

fn fib(params: &Params) -> Measured {
    fn fib(context: &Context, n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let left = Arc::new(AtomicU64::new(0));
        let ended = context.spawn_job({
            let left = Arc::clone(&left);
            move |context| left.store(fib(context, n - 1), Ordering::Relaxed)
        });
        let right = fib(context, n - 2);
        context.wait_for(&ended);
        left.load(Ordering::Relaxed) + right
    }
    let system = system(params);
    fib::measure_of(params, FIB, |n| in_job(system, move |context| fib(context, n)))
}

/// A million empty jobs from one job, as the system's own benchmark has it.
fn spawn_flat(system: &JobSystem) {
    in_job(system, |context| {
        spawn_all(context, flat_spawn::JOBS, |index| move |_: &Context| flat_spawn::empty(index));
    });
}

fn flat_spawn(params: &Params) -> Measured {
    let system = system(params);
    flat_spawn::measure(params, || spawn_flat(system))
}

fn never_waits(params: &Params) -> Measured {
    let system = system(params);
    never_waits::measure(params, || spawn_flat(system))
}

fn flat_batch(params: &Params) -> Measured {
    let system = system(params);
    flat_batch::measure(params, || {
        in_job(system, |context| {
            let job = |index| {
                Box::new(move |_: &Context| flat_spawn::empty(index)) as Box<dyn FnOnce(&Context) + Send>
            };
            context.wait_for(&context.spawn_jobs((0..flat_spawn::JOBS).map(job)));
        });
    })
}

fn jobs_200ns(params: &Params) -> Measured {
    let system = system(params);
    jobs_200ns::measure(params, |job| {
        in_job(system, move |context| spawn_all(context, jobs_200ns::JOBS, |_| move |_: &Context| job.run()));
    })
}

fn batches(params: &Params) -> Measured {
    let system = system(params);
    let spawned = |jobs, batches| {
        in_job(system, move |context| {
            for _ in 0..batches {
                spawn_all(context, jobs, |index| move |_: &Context| flat_spawn::empty(index));
            }
        });
    };
    batches::measure(params, &[("spawn_with_counter", &spawned)])
}

fn imbalanced(params: &Params) -> Measured {
    let system = system(params);
    let spawned = |jobs: &'static imbalanced::Jobs| {
        in_job(system, move |context| {
            spawn_all(context, imbalanced::JOBS, |index| move |_: &Context| jobs.run(index));
        });
    };
    let loops = |jobs: &'static imbalanced::Jobs| {
        let part = move |range: Range<usize>| range.for_each(|index| jobs.run(index));
        system.execute_parallel_for(0..imbalanced::JOBS, 1, part);
    };
    imbalanced::measure(params, &[("spawn_with_counter", &spawned), ("execute_parallel_for", &loops)])
}

fn frame(params: &Params) -> Measured {
    let system = system(params);
    frame::measure(params, |job| {
        in_job(system, move |context| {
            for _ in 0..BARRIERS {
                spawn_all(context, JOBS, |_| move |_: &Context| job.run());
            }
        });
    })
}

fn chain(params: &Params) -> Measured {
    fn link(context: &Context, ended: Counter, left: usize) {
        if left > 0 {
            let next = ended.clone();
            context.spawn_with_counter(move |context| link(context, next, left - 1), ended);
        }
    }
    let system = system(params);
    chain::measure(params, || {
        in_job(system, |context| {
            let ended = Counter::new(chain::EDGES);
            link(context, ended.clone(), chain::EDGES);
            context.wait_for(&ended);
        });
    })
}

fn tree(params: &Params) -> Measured {
    fn node(context: &Context, ended: &Counter, depth: u32) {
        if depth > 0 {
            for _ in 0..2 {
                let mine = ended.clone();
                context.spawn_with_counter(move |context| node(context, &mine, depth - 1), ended.clone());
            }
        }
    }
    let system = system(params);
    tree::measure(params, || {
        in_job(system, |context| {
            let ended = Counter::new((1 << (tree::DEPTH + 1)) - 1);
            let mine = ended.clone();
            context.spawn_with_counter(move |context| node(context, &mine, tree::DEPTH), ended.clone());
            context.wait_for(&ended);
        });
    })
}

/// Lets `count` jobs wait for a counter, calls `at_peak`, and lets the counter fall. Returns, in nanoseconds,
/// how long it took until the last one was about to wait, and from then until all had ended.
///
/// A counter falls when a job that it counts has ended, and by no other means.
fn suspend_and_resume(context: &Context, count: usize, at_peak: impl FnOnce()) -> [f64; 2] {
    let [gate, all_started] = array::from_fn(|_| Counter::new(1));
    let ended = Counter::new(count);
    let started = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    for _ in 0..count {
        let (gate, all_started, started) = (gate.clone(), all_started.clone(), Arc::clone(&started));
        context.spawn_with_counter(
            move |context| {
                if started.fetch_add(1, Ordering::Relaxed) + 1 == count {
                    context.spawn_with_counter(|_| (), all_started);
                }
                context.wait_for(&gate);
            },
            ended.clone(),
        );
    }
    context.wait_for(&all_started);
    let suspended = Instant::now();
    at_peak();
    let signalled = Instant::now();
    context.spawn_with_counter(|_| (), gate);
    context.wait_for(&ended);
    [(suspended - begin).as_nanos() as f64, signalled.elapsed().as_nanos() as f64]
}

fn fanout(params: &Params) -> Measured {
    let system = system(params);
    fanout::measure(params, || in_job(system, |context| suspend_and_resume(context, fanout::WAITERS, || ())))
}

fn memory_fibers(params: &Params) -> Measured {
    let config = FiberConfig { stack_size: memory_fibers::STACK_BYTES, ..FiberConfig::default() };
    let system: &JobSystem = Box::leak(Box::new(JobSystem::new_with_config(params.workers, config)));
    memory_fibers::measure(params, |count, at_peak| {
        // The fibers' own memory: what the peak is called on does not matter.
        let (sender, peak) = mpsc::channel();
        let (resume, resumed) = mpsc::channel();
        std::thread::scope(|scope| {
            let measured = scope.spawn(|| {
                in_job(system, move |context| {
                    suspend_and_resume(context, count, || {
                        sender.send(()).expect("somebody listens");
                        resumed.recv().expect("somebody answers");
                    })
                })
            });
            peak.recv().expect("the jobs suspend");
            at_peak();
            resume.send(()).expect("the job listens");
            measured.join().expect("the jobs end")
        })
    })
}

/// What a loop calls for each of its parts: a function of the types that only its caller knows, and where its
/// data is.
#[derive(Clone, Copy)]
struct Body {
    call: unsafe fn(data: usize, range: Range<usize>),
    data: usize,
}

impl Body {
    /// A body that calls `f`, which must outlive it.
    fn of<F: Fn(Range<usize>) + Sync>(f: &F) -> Body {
        unsafe fn call<F: Fn(Range<usize>) + Sync>(data: usize, range: Range<usize>) {
            // SAFETY: `data` came from a reference that outlives the loop, and `F` may be called by several
            // threads.
            unsafe { (*(data as *const F))(range) }
        }
        Body { call: call::<F>, data: std::ptr::from_ref(f) as usize }
    }
}

/// Calls `f` for parts of `range`, of `size` indices each, or of as many as the system likes.
fn each_part(
    system: &JobSystem,
    range: Range<usize>,
    size: Option<usize>,
    f: &(impl Fn(Range<usize>) + Sync),
) {
    let body = Body::of(f);
    // SAFETY: the calls below return when all parts have been run.
    let part = move |range| unsafe { (body.call)(body.data, range) };
    match size {
        Some(size) => system.execute_parallel_for(range, size, part),
        None => system.execute_parallel_for_auto(range, part),
    }
}

/// Its loops over chunks.
struct Loops(&'static JobSystem);

impl sand::Loops for Loops {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        let chunk = |index: usize| body(index, &items[index * size..items.len().min((index + 1) * size)]);
        each_part(self.0, 0..items.len().div_ceil(size), Some(1), &|range: Range<usize>| {
            range.for_each(chunk)
        });
    }

    fn chunks_mut<T: Send>(
        &self,
        items: &mut [T],
        size: usize,
        body: impl Fn(usize, &mut [T]) + Send + Sync,
    ) {
        let count = items.len();
        let data = items.as_mut_ptr() as usize;
        let chunk = |index: usize| {
            let (begin, end) = (index * size, count.min((index + 1) * size));
            // SAFETY: each chunk is handed out once, and lies within the items, which are borrowed until the
            // loop has ended.
            body(index, unsafe { std::slice::from_raw_parts_mut((data as *mut T).add(begin), end - begin) });
        };
        each_part(self.0, 0..count.div_ceil(size), Some(1), &|range: Range<usize>| range.for_each(chunk));
    }
}

/// A loop's `y += a * x`, in parts of the given size.
fn saxpy(system: &JobSystem, size: Option<usize>, a: f32, x: &[f32], y: &mut [f32]) {
    let data = y.as_mut_ptr() as usize;
    each_part(system, 0..x.len(), size, &|range: Range<usize>| {
        // SAFETY: the parts do not overlap, and lie within `y`, which is borrowed until the loop has ended.
        let y = unsafe { std::slice::from_raw_parts_mut((data as *mut f32).add(range.start), range.len()) };
        par_for::saxpy(a, &x[range], y);
    });
}

/// Loops are run by the thread outside, as in the system's own benchmarks: a job that waits for one would
/// spin first.
fn par_for(params: &Params) -> Measured {
    let (system, workers) = (system(params), params.workers);
    let items = |range: Range<usize>| range.for_each(par_for::item);
    par_for::measure(
        params,
        &[
            ("execute_parallel_for_auto", &|a, x, y| saxpy(system, None, a, x, y)),
            ("execute_parallel_for 4096", &|a, x, y| saxpy(system, Some(4096), a, x, y)),
            ("execute_parallel_for n/workers", &|a, x, y| {
                saxpy(system, Some(x.len().div_ceil(workers)), a, x, y)
            }),
        ],
        &[
            ("execute_parallel_for_auto", &|n| each_part(system, 0..n, None, &items)),
            ("execute_parallel_for 16", &|n| each_part(system, 0..n, Some(16), &items)),
        ],
    )
}

fn sand(params: &Params) -> Measured {
    sand::measure(params, &Loops(system(params)))
}

fn mandelbrot(params: &Params) -> Measured {
    mandelbrot::measure(params, &Loops(system(params)))
}

fn outside(params: &Params) -> Measured {
    let system = system(params);
    let submit = |probe: outside::Probe| drop(system.run(move || probe.start()));
    outside::measure(params, submit, submit)
}

fn wake_storm(params: &Params) -> Measured {
    let system = system(params);
    wake_storm::measure(params, |jobs| jobs.for_each(|job| drop(system.run(move || job.run()))))
}

/// Shutting down waits for the threads.
fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let system = Box::new(JobSystem::new(params.workers));
            in_job(&system, |_| ());
            system
        },
        |system| system.shutdown().expect("no worker panics"),
    )
}

fn idle(params: &Params) -> Measured {
    let system = system(params);
    in_job(system, |_| ());
    idle::measure()
}
