//! rayon with a second pool whose threads are of `SCHED_IDLE`: the kernel runs them while their CPU would be idle otherwise.

use super::{
    Kind, Rival,
    rayon_2pools::{SecondPool, frames},
};
use crate::{
    cell::Measured,
    params::Params,
    workloads::frame_beside_background::{self, WHOLE_PIECE},
};

pub(crate) static RIVAL: Rival = Rival {
    name: "rayon_idle",
    about: "rayon, work that is not urgent on a second pool of as many threads, of SCHED_IDLE",
    kind: Kind::Variant,
    package: None,
    workers_max: None,
    cells: &[(&frame_beside_background::WORKLOAD, frame_beside_background)],
};

fn frame_beside_background(params: &Params) -> Measured {
    frames(params, WHOLE_PIECE, SecondPool::Idle)
}
