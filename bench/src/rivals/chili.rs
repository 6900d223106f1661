//! chili: `join` and nothing else. A worker shares the oldest of its joins when a heartbeat asks it to, every
//! 100 us, and runs most others as plain calls.
//!
//! The thread that opens a scope works as well, and the crate counts it: with so many workers there is one
//! thread less besides. A further thread sends the heartbeats, and runs no jobs.

use std::{cell::RefCell, num::NonZero};

use chili::{Config, Scope, ThreadPool};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    params::Params,
    workloads::{
        fib, idle, integrate, mandelbrot, matmul, nqueens, par_for, quicksort, sand, skynet, start_stop, uts,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "chili",
    about: "joins that are shared when a heartbeat asks for it",
    kind: Kind::System,
    package: Some("chili"),
    workers_max: None,
    cells: &[
        (&fib::WORKLOAD, fib),
        (&integrate::WORKLOAD, |params| by_join(params, integrate::measure::<Join>)),
        (&nqueens::WORKLOAD, |params| by_join(params, nqueens::measure::<Join>)),
        (&uts::WORKLOAD, |params| by_join(params, uts::measure::<Join>)),
        (&quicksort::WORKLOAD, |params| by_join(params, quicksort::measure::<Join>)),
        (&matmul::WORKLOAD, |params| by_join(params, matmul::measure::<Join>)),
        (&skynet::WORKLOAD, skynet),
        (&par_for::WORKLOAD, par_for),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&start_stop::WORKLOAD, start_stop),
        (&idle::WORKLOAD, idle),
    ],
};

fn pool(workers: usize) -> ThreadPool {
    let thread_count = Some(NonZero::new(workers).expect("there is at least one worker"));
    ThreadPool::with_config(Config { thread_count, ..Config::default() })
}

struct Join;

impl ForkJoin for Join {
    type Context<'a> = Scope<'a>;

    fn join<A, B, RA, RB>(scope: &mut Scope<'_>, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce(&mut Scope<'_>) -> RA + Send,
        B: FnOnce(&mut Scope<'_>) -> RB + Send,
        RA: Send,
        RB: Send,
    {
        scope.join(a, b)
    }
}

fn fib(params: &Params) -> Measured {
    fn fib(scope: &mut Scope<'_>, n: u32) -> u64 {
        if n < 2 {
            return n.into();
        }
        let (left, right) = scope.join(|scope| fib(scope, n - 1), |scope| fib(scope, n - 2));
        left + right
    }
    let pool = pool(params.workers);
    let scope = RefCell::new(pool.scope());
    fib::measure(params, |n| fib(&mut scope.borrow_mut(), n))
}

/// Runs a measurement whose recursion all systems share.
fn by_join(params: &Params, measure: fn(&Params, &mut Scope<'_>) -> Measured) -> Measured {
    measure(params, &mut pool(params.workers).scope())
}

fn skynet(params: &Params) -> Measured {
    let pool = pool(params.workers);
    let scope = RefCell::new(pool.scope());
    skynet::measure(params, &[("join", &|all| skynet::by_join::<Join>(&mut scope.borrow_mut(), all))])
}

/// Calls `body` for all chunks of `items`, halving what is left by joins, each of which looks for a heartbeat.
fn chunks<T: Sync>(
    scope: &mut Scope<'_>,
    first: usize,
    items: &[T],
    size: usize,
    body: &(impl Fn(usize, &[T]) + Sync),
) {
    if items.len() <= size {
        return body(first, items);
    }
    let half = items.len().div_ceil(size) / 2;
    let (left, right) = items.split_at(half * size);
    scope.join_with_heartbeat_every::<1, _, _, _, _>(
        |scope| chunks(scope, first, left, size, body),
        |scope| chunks(scope, first + half, right, size, body),
    );
}

/// As [`chunks`], of items that may be changed.
fn chunks_mut<T: Send>(
    scope: &mut Scope<'_>,
    first: usize,
    items: &mut [T],
    size: usize,
    body: &(impl Fn(usize, &mut [T]) + Sync),
) {
    if items.len() <= size {
        return body(first, items);
    }
    let half = items.len().div_ceil(size) / 2;
    let (left, right) = items.split_at_mut(half * size);
    scope.join_with_heartbeat_every::<1, _, _, _, _>(
        |scope| chunks_mut(scope, first, left, size, body),
        |scope| chunks_mut(scope, first + half, right, size, body),
    );
}

/// Loops over chunks, by hand.
struct Loops<'a>(RefCell<Scope<'a>>);

impl sand::Loops for Loops<'_> {
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
        chunks(&mut self.0.borrow_mut(), 0, items, size, &body);
    }

    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
        chunks_mut(&mut self.0.borrow_mut(), 0, items, size, &body);
    }
}

/// There are no loops: they are halved by joins. Most calls of `join` itself do not look for a heartbeat, which
/// suits short pieces.
fn par_for(params: &Params) -> Measured {
    fn saxpy(scope: &mut Scope<'_>, a: f32, x: &[f32], y: &mut [f32], size: usize) {
        if y.len() <= size {
            return par_for::saxpy(a, x, y);
        }
        let half = y.len() / 2;
        let ((x_left, x_right), (y_left, y_right)) = (x.split_at(half), y.split_at_mut(half));
        scope.join(
            |scope| saxpy(scope, a, x_left, y_left, size),
            |scope| saxpy(scope, a, x_right, y_right, size),
        );
    }
    fn items(scope: &mut Scope<'_>, from: usize, to: usize, size: usize) {
        if to - from <= size {
            return (from..to).for_each(par_for::item);
        }
        let middle = from.midpoint(to);
        scope.join(|scope| items(scope, from, middle, size), |scope| items(scope, middle, to, size));
    }
    let pool = pool(params.workers);
    let loops = Loops(RefCell::new(pool.scope()));
    let with_heartbeats = |a, x: &[f32], y: &mut [f32], size: usize| {
        let body = |index: usize, y: &mut [f32]| par_for::saxpy(a, &x[index * size..][..y.len()], y);
        sand::Loops::chunks_mut(&loops, y, size, body);
    };
    let scope = || loops.0.borrow_mut();
    par_for::measure(
        params,
        &[
            ("join, 1024", &|a, x, y| saxpy(&mut scope(), a, x, y, 1024)),
            ("join, 4096", &|a, x, y| saxpy(&mut scope(), a, x, y, 4096)),
            ("join_with_heartbeat_every 1, 1024", &|a, x, y| with_heartbeats(a, x, y, 1024)),
            ("join_with_heartbeat_every 1, 4096", &|a, x, y| with_heartbeats(a, x, y, 4096)),
        ],
        &[
            ("join, 1", &|n| items(&mut scope(), 0, n, 1)),
            ("join, 16", &|n| items(&mut scope(), 0, n, 16)),
        ],
    )
}

fn mandelbrot(params: &Params) -> Measured {
    let pool = pool(params.workers);
    mandelbrot::measure(params, &Loops(RefCell::new(pool.scope())))
}

fn sand(params: &Params) -> Measured {
    let pool = pool(params.workers);
    sand::measure(params, &Loops(RefCell::new(pool.scope())))
}

/// Dropping a pool waits for its threads.
fn start_stop(params: &Params) -> Measured {
    start_stop::measure(
        params,
        || {
            let pool = pool(params.workers);
            pool.scope().join(|_| (), |_| ());
            pool
        },
        drop,
    )
}

fn idle(params: &Params) -> Measured {
    let pool = pool(params.workers);
    pool.scope().join(|_| (), |_| ());
    idle::measure()
}
