//! Plain code on one thread: the time that is there to be divided.

use std::{
    future::Future,
    mem::MaybeUninit,
    pin::pin,
    task::{Context, Poll, Waker},
};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    fork::Serial,
    params::Params,
    workloads::{
        batches, block_on_ready, fib, flat_batch, flat_spawn, flat_spawn_sizes, frame, imbalanced, integrate, jobs_200ns,
        mandelbrot, matmul,
        memory_jobs::{self, Store},
        never_waits, npb, nqueens, par_for, par_for_sizes, quicksort, sand, skynet, transforms, uts,
        wavefront,
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "serial",
    about: "plain loops and recursion on one thread; jobs are boxed closures in a Vec",
    kind: Kind::Reference,
    package: None,
    workers_max: Some(1),
    cells: &[
        (&fib::WORKLOAD, fib),
        (&integrate::WORKLOAD, |params| integrate::measure::<Serial>(params, &mut ())),
        (&nqueens::WORKLOAD, |params| nqueens::measure::<Serial>(params, &mut ())),
        (&uts::WORKLOAD, |params| uts::measure::<Serial>(params, &mut ())),
        (&quicksort::WORKLOAD, |params| quicksort::measure::<Serial>(params, &mut ())),
        (&matmul::WORKLOAD, |params| matmul::measure::<Serial>(params, &mut ())),
        (&skynet::WORKLOAD, skynet),
        (&flat_spawn::WORKLOAD, flat_spawn),
        (&flat_spawn_sizes::WORKLOAD, flat_spawn_sizes),
        (&flat_batch::WORKLOAD, flat_batch),
        (&jobs_200ns::WORKLOAD, jobs_200ns),
        (&memory_jobs::WORKLOAD, memory_jobs),
        (&never_waits::WORKLOAD, never_waits),
        (&block_on_ready::WORKLOAD, block_on_ready),
        (&batches::WORKLOAD, batches),
        (&imbalanced::WORKLOAD, imbalanced),
        (&transforms::WORKLOAD, transforms),
        (&par_for::WORKLOAD, par_for),
        (&par_for_sizes::WORKLOAD, par_for_sizes),
        (&npb::WORKLOAD, npb),
        (&wavefront::WORKLOAD, wavefront),
        (&mandelbrot::WORKLOAD, mandelbrot),
        (&sand::WORKLOAD, sand),
        (&frame::WORKLOAD, frame),
    ],
};

fn fib(params: &Params) -> Measured {
    fn fib(n: u32) -> u64 {
        if n < 2 { n.into() } else { fib(n - 1) + fib(n - 2) }
    }
    fib::measure(params, fib)
}

/// A poll, by whoever knows that the future is ready.
fn block_on_ready(params: &Params) -> Measured {
    block_on_ready::measure(params, |future| {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => value,
            Poll::Pending => unreachable!("the future is ready"),
        }
    })
}

fn skynet(params: &Params) -> Measured {
    skynet::measure(params, &[("recursion", &|all| skynet::by_join::<Serial>(&mut (), all))])
}

fn boxed_jobs(count: usize) {
    let mut jobs: Vec<Box<dyn FnOnce() + Send>> = Vec::new();
    for index in 0..count {
        jobs.push(Box::new(move || flat_spawn::empty(index)));
    }
    for job in jobs {
        job();
    }
}

fn flat_spawn(params: &Params) -> Measured {
    flat_spawn::measure(params, || boxed_jobs(flat_spawn::JOBS))
}

fn flat_spawn_sizes(params: &Params) -> Measured {
    flat_spawn_sizes::measure(params, boxed_jobs)
}

fn flat_batch(params: &Params) -> Measured {
    flat_batch::measure(params, || boxed_jobs(flat_spawn::JOBS))
}

fn never_waits(params: &Params) -> Measured {
    never_waits::measure(params, || boxed_jobs(flat_spawn::JOBS))
}

fn jobs_200ns(params: &Params) -> Measured {
    jobs_200ns::measure(params, |job| (0..jobs_200ns::JOBS).for_each(|_| job.run()))
}

fn wavefront(params: &Params) -> Measured {
    wavefront::measure(params, &[("loop", &|grid| (0..grid.len()).for_each(|block| grid.compute(block)))])
}

fn mandelbrot(params: &Params) -> Measured {
    struct Plain;
    impl sand::Loops for Plain {
        fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync) {
            items.chunks(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
        }

        fn chunks_mut<T: Send>(
            &self,
            items: &mut [T],
            size: usize,
            body: impl Fn(usize, &mut [T]) + Send + Sync,
        ) {
            items.chunks_mut(size).enumerate().for_each(|(index, chunk)| body(index, chunk));
        }
    }
    mandelbrot::measure(params, &Plain)
}

fn memory_jobs(params: &Params) -> Measured {
    struct Boxes;
    impl Store for Boxes {
        type Block = Box<[MaybeUninit<u64>; 16]>;

        fn new() -> Self {
            Self
        }

        #[inline]
        fn take(&self, value: u64) -> Self::Block {
            let mut block = Box::new([MaybeUninit::uninit(); 16]);
            block[2].write(value);
            block
        }

        #[inline]
        fn free(&self, block: Self::Block) {
            drop(block);
        }
    }
    memory_jobs::measure::<Boxes>(params)
}

fn par_for(params: &Params) -> Measured {
    par_for::measure(
        params,
        &[("loop", &|a, x, y| par_for::saxpy(a, x, y))],
        &[("loop", &|n| (0..n).for_each(par_for::item))],
    )
}

fn sand(params: &Params) -> Measured {
    sand::measure_serial(params)
}

/// What the machine adds to the ideal by itself.
fn frame(params: &Params) -> Measured {
    frame::measure(params, |job| (0..frame::BARRIERS * frame::JOBS).for_each(|_| job.run()))
}

fn batches(params: &Params) -> Measured {
    batches::measure(params, &[("boxed jobs", &|jobs, batches| (0..batches).for_each(|_| boxed_jobs(jobs)))])
}

fn imbalanced(params: &Params) -> Measured {
    imbalanced::measure(params, &[("loop", &|jobs| (0..imbalanced::JOBS).for_each(|index| jobs.run(index)))])
}

fn transforms(params: &Params) -> Measured {
    fn visit(node: transforms::Node<'_>) {
        node.visit(visit);
    }
    transforms::measure(params, visit)
}

fn par_for_sizes(params: &Params) -> Measured {
    par_for_sizes::measure(
        params,
        &[("loop", &|a, x, y| par_for::saxpy(a, x, y))],
        &[("loop", &|values| values.iter_mut().for_each(par_for_sizes::heavy))],
    )
}

fn npb(params: &Params) -> Measured {
    npb::measure(params, &npb::Plain)
}
