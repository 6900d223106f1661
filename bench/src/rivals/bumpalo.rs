//! bumpalo: an arena for each thread, which keeps its memory when it is reset.

use std::hint::black_box;

use bumpalo::Bump;

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    workloads::memory_frames::{self, VALUES, Value},
};

pub(crate) static RIVAL: Rival = Rival {
    name: "bumpalo",
    about: "arenas, each of one thread",
    kind: Kind::Reference,
    package: Some("bumpalo"),
    workers_max: None,
    cells: &[(&memory_frames::WORKLOAD, memory_frames)],
};

fn memory_frames(params: &Params) -> Measured {
    let new = || Bump::with_capacity(VALUES * size_of::<Value>());
    let mut arenas: Vec<Bump> = std::iter::repeat_with(new).take(params.workers).collect();
    memory_frames::measure(params, || {
        memory_frames::on_threads(&mut arenas, |arena| {
            for index in 0..VALUES {
                black_box(arena.alloc(memory_frames::value(index)));
            }
            arena.reset();
        })
    })
}
