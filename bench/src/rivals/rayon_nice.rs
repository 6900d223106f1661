//! rayon with a second pool whose threads have niceness 19: the kernel gives them little of what the first
//! pool's threads want.

use super::{
    Kind, Rival,
    rayon_2pools::{SecondPool, frames},
};
use crate::{
    cell::Measured,
    params::Params,
    workloads::{
        frame_beside_background::{self, WHOLE_PIECE},
        frame_beside_low::{self, SPLIT_PIECE},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "rayon_nice",
    about: "rayon, work that is not urgent on a second pool of as many threads, with niceness 19",
    kind: Kind::Variant,
    package: None,
    workers_max: None,
    cells: &[
        (&frame_beside_low::WORKLOAD, frame_beside_low),
        (&frame_beside_background::WORKLOAD, frame_beside_background),
    ],
};

fn frame_beside_low(params: &Params) -> Measured {
    frames(params, SPLIT_PIECE, SecondPool::Nice)
}

fn frame_beside_background(params: &Params) -> Measured {
    frames(params, WHOLE_PIECE, SecondPool::Nice)
}
