//! rayon with a second pool: one pool for what is urgent, one for what is not. The kernel shares the processors
//! out between their threads.

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::{Kind, Rival};
use crate::{
    cell::Measured,
    params::Params,
    placement::{be_nice, pin_to_nth_cpu},
    workloads::{
        frame_beside_low::{self, BARRIERS, JOBS},
        latency::{self, Piece, Probe},
    },
};

pub(crate) static RIVAL: Rival = Rival {
    name: "rayon_2pools",
    about: "rayon, work that is not urgent on a second pool of as many threads",
    kind: Kind::Variant,
    package: None,
    workers_max: None,
    cells: &[(&latency::WORKLOAD, latency), (&frame_beside_low::WORKLOAD, frame_beside_low)],
};

/// The niceness of the second pool's threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecondPool {
    Usual,
    Nice,
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
    frames(params, SecondPool::Usual)
}

/// Frames on one pool, background loops on the other; both have a thread pinned to each CPU.
pub(super) fn frames(params: &Params, second_pool: SecondPool) -> Measured {
    let pool = |is_nice: bool| {
        let on_start = move |index| {
            pin_to_nth_cpu(index);
            if is_nice {
                be_nice();
            }
        };
        let builder = ThreadPoolBuilder::new().num_threads(params.workers).start_handler(on_start);
        builder.build().expect("the pool starts")
    };
    let (frames, other) = (pool(false), pool(second_pool == SecondPool::Nice));
    frame_beside_low::measure(
        params,
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
