//! rayon with a second pool: one pool for what is urgent, one for what is not. The kernel shares the processors
//! out between their threads.

use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    placement::{be_idle, be_nice, pin_to_nth_cpu},
    workloads::{
        frame_beside_background::{self, WHOLE_PIECE},
        frame_beside_low::{self, BARRIERS, JOBS, SPLIT_PIECE},
        latency::{self, Piece, Probe},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "rayon_2pools",
    about: "rayon, work that is not urgent on a second pool of as many threads",
    kind: Kind::Variant,
    package: None,
    workers_max: None,
    cells: &[
        (&latency::WORKLOAD, latency),
        (&frame_beside_low::WORKLOAD, frame_beside_low),
        (&frame_beside_background::WORKLOAD, frame_beside_background),
    ],
};

/// How urgent the second pool's threads are to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecondPool {
    Usual,
    Nice,
    Idle,
}

fn latency(params: &Params) -> Measured {
    struct TwoPools {
        urgent: ThreadPool,
        other: ThreadPool,
    }
    impl latency::System for TwoPools {
        fn submit_piece(&self, piece: Piece<TwoPools>) {
            self.other.spawn_fifo(move || piece.run());
        }

        fn submit_probe(&self, probe: Probe) {
            self.urgent.spawn(move || probe.run());
        }
    }
    let pool =
        || ThreadPoolBuilder::new().num_threads(params.workers).build().expect("the pool starts");
    latency::measure(params, TwoPools { urgent: pool(), other: pool() })
}

fn frame_beside_low(params: &Params) -> Measured {
    frames(params, SPLIT_PIECE, SecondPool::Usual)
}

fn frame_beside_background(params: &Params) -> Measured {
    frames(params, WHOLE_PIECE, SecondPool::Usual)
}

/// Frames on one pool, background loops on the other; both have a thread pinned to each CPU.
pub(super) fn frames(params: &Params, piece: Duration, second_pool: SecondPool) -> Measured {
    let pool = |kind: SecondPool| {
        let on_start = move |index| {
            pin_to_nth_cpu(index);
            match kind {
                SecondPool::Usual => {}
                SecondPool::Nice => be_nice(),
                SecondPool::Idle => be_idle(),
            }
        };
        let builder = ThreadPoolBuilder::new().num_threads(params.workers).start_handler(on_start);
        builder.build().expect("the pool starts")
    };
    let (frames, other) = (pool(SecondPool::Usual), pool(second_pool));
    frame_beside_low::measure(
        params,
        piece,
        |job| {
            frames.install(|| {
                for _ in 0..BARRIERS {
                    rayon::scope(|scope| (0..JOBS).for_each(|_| scope.spawn(move |_| job.run())));
                }
            });
        },
        |background| {
            for _ in 0..params.workers {
                let one = background.new_loop();
                other.spawn(move || one.run(|| ()));
            }
        },
    )
}
