//! Random trees of spawn, join, scope, counters, yield, panic, timeout, cancel, continuations, batches and loops,
//! against a model that computes what must come out.

mod common;

use common::{Planned, WORKERS, mix, planned, planned_id, soak, system, watch};
use ramie::{Counter, JobError};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What stands in the sum for a child that has panicked.
const PANICKED: u64 = 1_000_003;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leaf,
    Panic,
    Handles,
    Join,
    Scope,
    Counter,
    Yield,
    Timeout,
    Cancel,
    After,
    Batch,
    Loop,
    LoopThatPanics,
    Guard,
    Named,
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
            return if dice < 12 { Kind::Panic } else { Kind::Leaf };
        }
        match dice {
            0..=4 => Kind::Leaf,
            5..=7 => Kind::Panic,
            8..=19 => Kind::Handles,
            20..=34 => Kind::Join,
            35..=46 => Kind::Scope,
            47..=56 => Kind::Counter,
            57..=62 => Kind::Yield,
            63..=66 => Kind::Timeout,
            67..=73 => Kind::Cancel,
            74..=80 => Kind::After,
            81..=86 => Kind::Batch,
            87..=91 => Kind::Loop,
            92..=93 => Kind::LoopThatPanics,
            94..=96 => Kind::Guard,
            _ => Kind::Named,
        }
    }

    fn children(&self) -> Vec<Node> {
        let count = match self.kind() {
            Kind::Leaf | Kind::Panic => 0,
            Kind::Join => 2,
            Kind::Guard | Kind::Named => 1,
            _ => 1 + mix(self.seed ^ 0x7777) % 4,
        };
        (0..count).map(|i| Node { seed: mix(self.seed.wrapping_add(i + 1)), depth: self.depth - 1 }).collect()
    }

    /// Whether a child's handle is joined, for nodes where it may be dropped.
    fn takes_handle(&self) -> bool {
        self.seed & 1 == 0
    }
}

/// What the node's job gives: its value, or `Err` if it panics.
fn model(node: &Node) -> Result<u64, u64> {
    let children: Vec<(Node, Result<u64, u64>)> =
        node.children().into_iter().map(|child| (child.clone(), model(&child))).collect();
    let sum_with = |if_panicked: u64| -> u64 {
        children.iter().fold(0_u64, |sum, (_, result)| sum.wrapping_add(result.unwrap_or(if_panicked)))
    };
    let any_panicked = children.iter().any(|(_, result)| result.is_err());
    let of_children = match node.kind() {
        Kind::Leaf => 0,
        Kind::Panic => return Err(node.value()),
        Kind::Join => match (children[0].1, children[1].1) {
            (Ok(a), Ok(b)) => a.wrapping_add(b),
            (Err(id), _) | (_, Err(id)) => PANICKED + id,
        },
        Kind::Scope => {
            let dropped_one_panicked =
                children.iter().any(|(child, result)| !child.takes_handle() && result.is_err());
            let sum = children.iter().fold(0_u64, |sum, (child, result)| {
                let if_panicked = if child.takes_handle() { PANICKED } else { 0 };
                sum.wrapping_add(result.unwrap_or(if_panicked))
            });
            if dropped_one_panicked { sum.wrapping_add(7) } else { sum }
        }
        Kind::Counter => sum_with(0),
        Kind::Batch => {
            if any_panicked {
                sum_with(0).wrapping_add(9)
            } else {
                sum_with(0)
            }
        }
        Kind::LoopThatPanics => {
            if any_panicked {
                PANICKED
            } else {
                sum_with(0)
            }
        }
        Kind::Handles
        | Kind::Yield
        | Kind::Timeout
        | Kind::Cancel
        | Kind::After
        | Kind::Loop
        | Kind::Guard
        | Kind::Named => sum_with(PANICKED),
    };
    Ok(node.value().wrapping_add(of_children))
}

/// The value of a child that runs in place.
fn in_place(node: &Node) -> u64 {
    catch_unwind(|| live(node)).unwrap_or_else(|payload| {
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

fn add(sum: &AtomicU64, value: u64) {
    sum.fetch_add(value, Ordering::Relaxed);
}

/// The job of a node.
fn live(node: &Node) -> u64 {
    let worker = ramie::current_worker();
    let value = node.value().wrapping_add(of_children(node));
    assert!(common::migrating() || ramie::current_worker() == worker, "a job stays on its worker");
    value
}

fn of_children(node: &Node) -> u64 {
    let mut children = node.children();
    let sum = AtomicU64::new(0);
    match node.kind() {
        Kind::Leaf => 0,
        Kind::Panic => planned(node.value()),
        Kind::Handles => {
            let handles: Vec<_> =
                children.into_iter().map(|child| ramie::spawn(move || live(&child))).collect();
            let values = handles.into_iter().map(|handle| joined(handle.join()));
            values.fold(0, u64::wrapping_add)
        }
        Kind::Join => {
            let both = catch_unwind(|| ramie::join(|| live(&children[0]), || live(&children[1])));
            match both {
                Ok((a, b)) => a.wrapping_add(b),
                Err(payload) => PANICKED + planned_id(&*payload),
            }
        }
        Kind::Scope => {
            let ended = catch_unwind(AssertUnwindSafe(|| {
                ramie::scope(|s| {
                    let mut handles = Vec::new();
                    for child in &children {
                        if child.takes_handle() {
                            handles.push(s.spawn(|| live(child)));
                        } else {
                            s.spawn(|| add(&sum, live(child)));
                        }
                    }
                    handles.into_iter().for_each(|handle| add(&sum, joined(handle.join())));
                });
            }));
            if let Err(payload) = ended {
                planned_id(&*payload);
                add(&sum, 7);
            }
            sum.into_inner()
        }
        Kind::Counter => {
            let (done, sum) = (Counter::new(0), Arc::new(sum));
            for child in children {
                let sum = Arc::clone(&sum);
                let job = move || add(&sum, live(&child));
                // The job belongs to the system of the caller, which a detached job of a handle does too.
                let guard = done.guard();
                drop(ramie::spawn(move || {
                    let _guard = guard;
                    job();
                }));
            }
            done.wait();
            sum.load(Ordering::Relaxed)
        }
        Kind::Yield => children.iter().fold(0, |sum, child| {
            ramie::yield_now();
            sum.wrapping_add(in_place(child))
        }),
        Kind::Timeout => {
            let never = Counter::new(1);
            children.iter().fold(0, |sum, child| {
                let limit = Duration::from_micros(child.seed % 200);
                never.wait_timeout(limit).expect_err("nobody signals it");
                sum.wrapping_add(in_place(child))
            })
        }
        Kind::Cancel => children.into_iter().fold(0, |sum, child| {
            let again = child.clone();
            let handle = ramie::spawn(move || live(&child));
            if again.seed & 2 == 0 {
                ramie::yield_now();
            }
            let cancelled = handle.cancel();
            let result = handle.join();
            let value = if cancelled {
                assert!(matches!(result, Err(JobError::Cancelled)), "{result:?}");
                in_place(&again)
            } else {
                joined(result)
            };
            sum.wrapping_add(value)
        }),
        Kind::After => {
            let counters: Vec<Counter> = children.iter().map(|_| Counter::new(0)).collect();
            let sum = Arc::new(sum);
            let gate = Counter::new(1);
            for (child, counter) in children.into_iter().zip(&counters) {
                let (guard, sum) = (counter.guard(), Arc::clone(&sum));
                drop(ramie::spawn_after(&gate, move || {
                    let _guard = guard;
                    add(&sum, in_place(&child));
                }));
            }
            let last = ramie::spawn_after(&counters, move || sum.load(Ordering::Relaxed));
            gate.signal();
            joined(last.join())
        }
        Kind::Batch => {
            let sum = Arc::new(sum);
            let batch = ramie::spawn_batch(children.into_iter().map(|child| {
                let sum = Arc::clone(&sum);
                move || add(&sum, live(&child))
            }));
            if let Err(payload) = catch_unwind(|| batch.wait()) {
                planned_id(&*payload);
                add(&sum, 9);
            }
            sum.load(Ordering::Relaxed)
        }
        Kind::Loop => ramie::par(&children).map_reduce(0, in_place, u64::wrapping_add),
        Kind::LoopThatPanics => {
            let result = catch_unwind(|| ramie::par(&children).map_reduce(0, live, u64::wrapping_add));
            result.unwrap_or_else(|payload| {
                planned_id(&*payload);
                PANICKED
            })
        }
        Kind::Guard => {
            let counter = Counter::new(0);
            let child = children.remove(0);
            let guarded = counter.clone();
            let handle = ramie::spawn(move || {
                let _guard = guarded.guard();
                live(&child)
            });
            let value = joined(handle.join());
            assert!(counter.is_zero(), "the guard was dropped, also by a panic");
            value
        }
        Kind::Named => ramie::scope(|s| joined(s.job().name("named").spawn(|| live(&children[0])).join())),
    }
}

fn trees(workers: usize, count: usize, depth: u32) {
    let seed = common::seed();
    // A dropped handle's panic is planned and reported here.
    let system = common::builder()
        .workers(workers)
        .on_panic(|report| assert!(report.payload.is::<Planned>(), "an unplanned panic: {report:?}"))
        .build()
        .expect("a test's system can be built");
    for chunk in (0..count).collect::<Vec<_>>().chunks(4) {
        let roots: Vec<Node> =
            chunk.iter().map(|i| Node { seed: mix(seed.wrapping_add(*i as u64)), depth }).collect();
        // One runs in the foreground, the others beside it.
        let beside: Vec<_> = roots[1..]
            .iter()
            .cloned()
            .map(|root| (model(&root), system.spawn(move || live(&root))))
            .collect();
        let first = catch_unwind(AssertUnwindSafe(|| system.run(|| live(&roots[0]))));
        assert_eq!(
            first.map_err(|p| planned_id(&*p)),
            model(&roots[0]),
            "tree {:?} of seed {seed}",
            roots[0]
        );
        for (expected, handle) in beside {
            let got = handle.join().map_err(|error| match error {
                JobError::Panicked(payload) => planned_id(&*payload),
                other => panic!("a root was lost: {other}"),
            });
            assert_eq!(got, expected, "a tree of seed {seed}");
        }
    }
    system.wait_idle();
    let stats = system.stats();
    assert_eq!(stats.submitted, stats.jobs, "every job has ended");
    assert!(system.dump().is_empty(), "no job is left:\n{}", system.dump());
}

#[test]
fn shallow_trees_give_what_the_model_says() {
    let _watch = watch("shallow trees", 120);
    for workers in WORKERS {
        trees(workers, 4000 * soak(), 3);
    }
}

#[test]
fn deep_trees_give_what_the_model_says() {
    let _watch = watch("deep trees", 180);
    for workers in WORKERS {
        trees(workers, 400 * soak(), 7);
    }
}

#[test]
fn several_systems_grow_trees_at_once() {
    let _watch = watch("several systems", 120);
    let seed = common::seed();
    let systems = [system(1), system(2), system(3)];
    std::thread::scope(|threads| {
        for (index, system) in systems.iter().enumerate() {
            threads.spawn(move || {
                for i in 0..600 * soak() as u64 {
                    let root = Node { seed: mix(seed ^ (index as u64) << 40).wrapping_add(i), depth: 5 };
                    let got = catch_unwind(AssertUnwindSafe(|| system.run(|| live(&root))));
                    assert_eq!(
                        got.map_err(|p| planned_id(&*p)),
                        model(&root),
                        "tree {root:?} of seed {seed}"
                    );
                }
            });
        }
    });
}
