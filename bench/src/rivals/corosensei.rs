//! Bare coroutines, resumed by a loop: the floor under every switch, without any scheduling.

use std::hint::black_box;

use corosensei::{Coroutine, Yielder, stack::DefaultStack};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    coloured::ColouredStack,
    measure::{ns_per_op, time_ns},
    params::Params,
    workloads::{fanout, fanout_sizes, memory_fibers, switch, switch_many, yields},
};

pub(crate) static RIVAL: Rival = Rival {
    name: "corosensei",
    about: "bare coroutines that a loop resumes, without a scheduler",
    kind: Kind::Reference,
    package: Some("corosensei"),
    workers_max: Some(1),
    cells: &[
        (&switch::WORKLOAD, switch),
        (&switch_many::WORKLOAD, switch_many),
        (&yields::WORKLOAD, yields),
        (&fanout::WORKLOAD, fanout),
        (&fanout_sizes::WORKLOAD, fanout_sizes),
        (&memory_fibers::WORKLOAD, memory_fibers),
    ],
};

/// Small stacks: nothing deep runs on them.
const STACK_BYTES: usize = 16 * 1024;

fn switch(params: &Params) -> Measured {
    let mut coroutine: Coroutine<(), (), ()> = Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
        loop {
            yielder.suspend(());
        }
    });
    switch::measure(params, || {
        for _ in 0..switch::PASSES {
            black_box(coroutine.resume(()));
        }
    })
}

fn yields(params: &Params) -> Measured {
    let new = |_| {
        Coroutine::new(|yielder: &Yielder<(), ()>, ()| {
            loop {
                yielder.suspend(());
            }
        })
    };
    let mut coroutines: [Coroutine<(), (), ()>; 2] = [0, 1].map(new);
    yields::measure(params, || {
        for _ in 0..yields::TURNS {
            coroutines.iter_mut().for_each(|coroutine| _ = black_box(coroutine.resume(())));
        }
    })
}

fn switch_many(params: &Params) -> Measured {
    let [turn, aligned_turn] = switch_many::WORKLOAD.metrics else { unreachable!("there are two metrics") };
    let coloured = (0..switch_many::FIBERS).map(|index| ColouredStack::new(STACK_BYTES, index));
    let coloured_ns = round_robin(params, coloured);
    let aligned = (0..switch_many::FIBERS).map(|_| DefaultStack::new(STACK_BYTES).expect("there is memory"));
    let aligned_ns = round_robin(params, aligned);
    Measured::one(turn.name, coloured_ns).with(aligned_turn.name, aligned_ns)
}

/// The time of a turn when a coroutine on each of `stacks` is resumed in turn.
fn round_robin<S: corosensei::stack::Stack + 'static>(
    params: &Params,
    stacks: impl Iterator<Item = S>,
) -> f64 {
    let mut coroutines: Vec<Coroutine<(), (), (), S>> = stacks
        .map(|stack| {
            Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| {
                loop {
                    yielder.suspend(());
                }
            })
        })
        .collect();
    ns_per_op(&params.share(2), switch_many::REPEATS, switch_many::TURNS_IN_ALL, || {
        for _ in 0..switch_many::TURNS {
            for coroutine in &mut coroutines {
                black_box(coroutine.resume(()));
            }
        }
    })
}

/// More mappings than this many stacks with guards are not to be had by default.
const STACKS_MAX: usize = 10_000;

/// Coroutines on recycled stacks.
#[derive(Default)]
struct Fanout {
    stacks: Vec<ColouredStack>,
    coroutines: Vec<Coroutine<(), (), (), ColouredStack>>,
}

impl Fanout {
    /// Lets so many coroutines suspend, and resumes them; the times of both halves in nanoseconds.
    fn round(&mut self, waiters: usize) -> [f64; 2] {
        let Fanout { stacks, coroutines } = self;
        stacks.extend((stacks.len()..waiters).map(|index| ColouredStack::new(STACK_BYTES, index)));
        let suspend_ns = time_ns(|| {
            for stack in stacks.drain(..waiters) {
                let mut coroutine =
                    Coroutine::with_stack(stack, |yielder: &Yielder<(), ()>, ()| yielder.suspend(()));
                black_box(coroutine.resume(()));
                coroutines.push(coroutine);
            }
        });
        let resume_ns = time_ns(|| {
            for coroutine in &mut *coroutines {
                black_box(coroutine.resume(()));
            }
        });
        stacks.extend(coroutines.drain(..).map(Coroutine::into_stack));
        [suspend_ns, resume_ns]
    }
}

fn fanout(params: &Params) -> Measured {
    let mut fanout = Fanout::default();
    fanout::measure(params, || fanout.round(fanout::WAITERS))
}

fn fanout_sizes(params: &Params) -> Measured {
    let mut fanout = Fanout::default();
    fanout_sizes::measure_up_to(params, STACKS_MAX, |waiters| fanout.round(waiters))
}

fn memory_fibers(params: &Params) -> Measured {
    memory_fibers::measure(params, |count, at_peak| {
        let region = memory_fibers::Region::new(count);
        let mut coroutines = Vec::with_capacity(count);
        let suspend_ns = time_ns(|| {
            for index in 0..count {
                let suspends_once = |yielder: &Yielder<(), ()>, ()| yielder.suspend(());
                let mut coroutine = Coroutine::with_stack(region.stack(index), suspends_once);
                black_box(coroutine.resume(()));
                coroutines.push(coroutine);
            }
        });
        at_peak();
        let resume_ns = time_ns(|| {
            for coroutine in &mut coroutines {
                black_box(coroutine.resume(()));
            }
        });
        [suspend_ns, resume_ns]
    })
}
