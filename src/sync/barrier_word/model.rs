//! loom: nobody goes on before all have arrived, whoever leaves has not arrived, and nobody waits for good.

#![expect(unsafe_code, reason = "data behind the modelled barrier")]

use super::BarrierWord;
use crate::primitives::{Ordering, explore};
use crate::sync::queue::Woken;
use crate::sync::queue::waiter::{Waiter, wake_one_of};
use loom::cell::UnsafeCell;
use loom::thread;
use std::cell::Cell;
use std::sync::Arc;

const ARRIVALS: usize = 3;

struct Model {
    word: BarrierWord,
    waiters: [Waiter; ARRIVALS],
    /// Written by each before it arrives, read by the others after that.
    came: [UnsafeCell<bool>; ARRIVALS],
}

// SAFETY: loom checks all accesses to the cells; the rest is atomic or under the queue's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new(size: usize) -> Arc<Self> {
        Arc::new(Self {
            word: BarrierWord::new(size),
            waiters: std::array::from_fn(|index| Waiter::new(index as u32 + 1)),
            came: std::array::from_fn(|_| UnsafeCell::new(false)),
        })
    }

    fn came(&self, who: usize) -> bool {
        // SAFETY: loom checks that it was written before.
        self.came[who].with(|came| unsafe { *came })
    }

    /// `Barrier::arrive`: whether it was the last.
    fn arrive(&self, me: usize, gives_up: bool) -> Result<bool, ()> {
        // SAFETY: nobody else writes this one.
        self.came[me].with_mut(|came| unsafe { *came = true });
        let wake = |node| wake_one_of(&self.waiters, node);
        let mut woken = Woken::none();
        let mut list = self.word.queue.lock();
        let opens = self.word.opens(&mut list, &mut woken);
        drop(list);
        woken.wake_each(wake);
        if opens {
            return Ok(true);
        }
        let (round, opened) = (Cell::new(None), Cell::new(false));
        let waited = self.waiters[me].wait_in(
            &self.word.queue,
            0,
            gives_up,
            wake,
            |list, woken| {
                if self.word.opens(list, woken) {
                    return None;
                }
                round.set(Some(self.word.arrive()));
                Some(false)
            },
            |_, _| opened.set(!self.word.take_back(round.get().unwrap())),
        );
        match waited {
            Some(Err(())) if !opened.get() => Err(()),
            waited => Ok(waited.is_none()),
        }
    }
}

/// 3 threads, preemption bound 2.
#[test]
fn model_all_arrive() {
    explore(2, || {
        let model = Model::new(3);
        let run = |me: usize| {
            let model = Arc::clone(&model);
            move || {
                let leads = model.arrive(me, false).unwrap();
                assert!((0..3).all(|who| model.came(who)));
                usize::from(leads)
            }
        };
        let others: Vec<_> = (1..3).map(|me| thread::spawn(run(me))).collect();
        let leaders: usize = run(0)() + others.into_iter().map(|other| other.join().unwrap()).sum::<usize>();
        assert_eq!(leaders, 1);
    });
}

/// 3 threads, preemption bound 2: if the first one leaves, a third one is needed.
#[test]
fn model_an_arrival_is_taken_back() {
    explore(2, || {
        let model = Model::new(2);
        let leaves = {
            let model = Arc::clone(&model);
            thread::spawn(move || {
                let arrived = model.arrive(0, true);
                if arrived.is_ok() {
                    assert!(model.came(1));
                }
                arrived
            })
        };
        let stays = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.arrive(1, false).unwrap())
        };
        let mut leaders = 0;
        match leaves.join().unwrap() {
            Ok(leads) => leaders += usize::from(leads),
            Err(()) => leaders += usize::from(model.arrive(2, false).unwrap()),
        }
        leaders += usize::from(stays.join().unwrap());
        assert_eq!(leaders, 1);
        assert_eq!(model.word.arrived.load(Ordering::Relaxed), 0, "of the next round");
    });
}
