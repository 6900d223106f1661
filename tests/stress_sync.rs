//! Locks and their like at random: against sequential models of what they do, against logs that are played again, and against the clock.

mod common;

use common::{Rng, WORKERS, mix, seed, soak, system, watch};
use ramie::Counter;
use ramie::sync::{
    Barrier, Condvar, Event, Latch, Mutex, MutexGuard, Once, OnceLock, RwLock, RwLockWriteGuard, Semaphore,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

// --- one worker: every step is known ----------------------------------------------------------

/// What all primitives are that are first in, first out: somebody who wants something gets it if nobody waits and it is there, else waits; and
/// whenever more is there, the first who wait get what they want.
struct Gate {
    /// Permits; readers, with [`WRITER`] for a writer; whether an event is set.
    state: u64,
    rule: Rule,
    waiting: VecDeque<(u64, u64)>,
    /// Who was let through after a wait and has not gone on yet.
    admitted: VecDeque<u64>,
    /// Changes with all that anybody does.
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Permits,
    ReadersAndWriters,
    AutoEvent,
    ManualEvent,
    Notified,
    Meeting,
}

const WRITER: u64 = 1000;
const MEETING: usize = 4;

impl Gate {
    fn can(&self, want: u64) -> bool {
        match self.rule {
            Rule::Permits => self.state >= want,
            Rule::ReadersAndWriters if want == WRITER => self.state == 0,
            Rule::ReadersAndWriters => self.state < WRITER,
            Rule::AutoEvent | Rule::ManualEvent => self.state != 0,
            // These are let through by others only.
            Rule::Notified | Rule::Meeting => false,
        }
    }

    fn take(&mut self, want: u64) {
        match self.rule {
            Rule::Permits => self.state -= want,
            Rule::ReadersAndWriters => self.state += want,
            Rule::AutoEvent => self.state = 0,
            _ => {}
        }
    }

    /// Whether it goes through at once.
    fn enter(&mut self, id: u64, want: u64) -> bool {
        self.steps += 1;
        let passes = self.waiting.is_empty() && self.can(want);
        if passes {
            self.take(want);
        } else {
            self.waiting.push_back((id, want));
        }
        passes
    }

    fn admit(&mut self) {
        self.steps += 1;
        while let Some((id, want)) = self.waiting.front().copied().filter(|(_, want)| self.can(*want)) {
            self.take(want);
            self.waiting.pop_front();
            self.admitted.push_back(id);
        }
    }

    /// Lets so many through, whatever they want; how many.
    fn admit_first(&mut self, most: usize) -> usize {
        self.steps += 1;
        let count = most.min(self.waiting.len());
        self.admitted.extend(self.waiting.drain(..count).map(|(id, _)| id));
        count
    }
}

/// Runs random steps of many jobs on one worker, with what `make` makes; the model makes each of them as well. `step` does one for the job of this
/// number.
fn against_a_model<P: Sync>(
    rule: Rule,
    state: u64,
    make: impl Fn() -> P,
    step: impl Fn(&P, &Model, u64, &mut Rng) + Sync,
) {
    let seed = seed();
    let system = common::sticky().workers(1).build().unwrap();
    for round in 0..20 * soak() as u64 {
        let gate = Gate { state, rule, waiting: VecDeque::new(), admitted: VecDeque::new(), steps: 0 };
        let model = Model { gate: std::sync::Mutex::new(gate), left: AtomicUsize::new(12) };
        let made = make();
        system.scope(|s| {
            for id in 0..12 {
                let (made, model, step) = (&made, &model, &step);
                s.detach(move || {
                    let mut rng = Rng(mix(seed ^ mix(round * 100 + id)));
                    for _ in 0..40 {
                        if rng.below(2) == 0 {
                            ramie::yield_now();
                        }
                        step(made, model, id, &mut rng);
                    }
                    // Nobody runs between the last step and this.
                    model.left.fetch_sub(1, SeqCst);
                });
            }
        });
        let gate = model.gate.into_inner().unwrap();
        assert!(gate.waiting.is_empty() && gate.admitted.is_empty());
    }
}

struct Model {
    gate: std::sync::Mutex<Gate>,
    /// How many jobs have not ended.
    left: AtomicUsize,
}

impl Model {
    fn with<R>(&self, f: impl FnOnce(&mut Gate) -> R) -> R {
        f(&mut self.gate.lock().unwrap())
    }

    /// `wait` waits for what the model says: it goes through at once, or after others that came before.
    fn wait<R>(&self, id: u64, want: u64, wait: impl FnOnce() -> R) -> R {
        let (passes, before) = self.with(|gate| (gate.enter(id, want), gate.steps));
        let result = wait();
        self.with(|gate| {
            if passes {
                assert_eq!(gate.steps, before, "{:?}: it has waited", gate.rule);
            } else {
                assert_eq!(gate.admitted.pop_front(), Some(id), "{:?}: out of order", gate.rule);
            }
        });
        result
    }

    /// Whether somebody waits.
    fn has_waiting(&self) -> bool {
        self.with(|gate| !gate.waiting.is_empty())
    }

    /// Whether all others have ended, or wait.
    fn is_last(&self) -> bool {
        self.with(|gate| gate.waiting.len() + 1 >= self.left.load(SeqCst))
    }
}

#[test]
fn a_semaphore_is_what_its_model_is() {
    let _watch = watch("model of a semaphore", 120);
    against_a_model(
        Rule::Permits,
        5,
        || Semaphore::new(5),
        |semaphore, model, id, rng| {
            let count = 1 + rng.below(5);
            if rng.below(4) == 0 {
                let can = model.with(|gate| gate.waiting.is_empty() && gate.can(count));
                let permits = semaphore.try_acquire_many(count as u32);
                assert_eq!(permits.is_some(), can);
                return;
            }
            let permits = model.wait(id, count, || semaphore.acquire_many(count as u32));
            (0..rng.below(3)).for_each(|_| ramie::yield_now());
            model.with(|gate| {
                gate.state += count;
                gate.admit();
            });
            drop(permits);
            assert_eq!(u64::from(semaphore.available()), model.with(|gate| gate.state));
        },
    );
}

#[test]
fn a_reader_writer_lock_is_what_its_model_is() {
    let _watch = watch("model of a reader-writer lock", 120);
    against_a_model(
        Rule::ReadersAndWriters,
        0,
        || RwLock::new(0_u64),
        |lock, model, id, rng| {
            if rng.below(3) > 0 {
                let guard = model.wait(id, 1, || lock.read());
                (0..rng.below(3)).for_each(|_| ramie::yield_now());
                model.with(|gate| {
                    gate.state -= 1;
                    gate.admit();
                });
                drop(guard);
                return;
            }
            let mut guard = model.wait(id, WRITER, || lock.write());
            *guard += 1;
            (0..rng.below(3)).for_each(|_| ramie::yield_now());
            if rng.below(2) == 0 {
                model.with(|gate| {
                    gate.state = 1;
                    gate.admit();
                });
                let guard = RwLockWriteGuard::downgrade(guard);
                (0..rng.below(3)).for_each(|_| ramie::yield_now());
                model.with(|gate| {
                    gate.state -= 1;
                    gate.admit();
                });
                drop(guard);
            } else {
                model.with(|gate| {
                    gate.state = 0;
                    gate.admit();
                });
                drop(guard);
            }
        },
    );
}

#[test]
fn events_are_what_their_models_are() {
    let _watch = watch("models of events", 120);
    for (rule, make) in [(Rule::AutoEvent, Event::auto as fn() -> Event), (Rule::ManualEvent, Event::manual)]
    {
        let set = |event: &Event, model: &Model| {
            model.with(|gate| {
                gate.state = 1;
                gate.admit();
            });
            event.set();
        };
        against_a_model(rule, 0, make, |event, model, id, rng| {
            assert_eq!(event.is_set(), model.with(|gate| gate.state != 0));
            match rng.below(4) {
                0 | 1 if !model.is_last() => model.wait(id, 1, || event.wait()),
                2 => {
                    model.with(|gate| {
                        gate.steps += 1;
                        gate.state = 0;
                    });
                    event.reset();
                }
                _ => set(event, model),
            }
            // The last one who runs leaves nobody behind.
            while model.is_last() && model.has_waiting() {
                set(event, model);
                ramie::yield_now();
            }
        });
    }
}

#[test]
fn a_condition_variable_is_what_its_model_is() {
    let _watch = watch("model of a condition variable", 120);
    let make = || (Mutex::new(()), Condvar::new());
    against_a_model(Rule::Notified, 0, make, |(mutex, changed), model, id, rng| {
        if rng.below(3) == 0 && !model.is_last() {
            // The mutex is had and given up without a wait: nobody has it across one.
            let mut guard = mutex.lock();
            model.wait(id, 1, || changed.wait(&mut guard));
        }
        let most = [1, 2, usize::MAX][rng.below(3) as usize];
        let expected = model.with(|gate| gate.admit_first(most));
        let notified = match most {
            usize::MAX => changed.notify_all(),
            _ => (0..most).filter(|_| changed.notify_one()).count(),
        };
        assert_eq!(notified, expected);
        while model.is_last() && model.has_waiting() {
            assert_eq!(changed.notify_all(), model.with(|gate| gate.admit_first(usize::MAX)));
            ramie::yield_now();
        }
    });
}

#[test]
fn a_barrier_is_what_its_model_is() {
    let _watch = watch("model of a barrier", 120);
    let arrive = |barrier: &Barrier, model: &Model, id| {
        let is_last = model.with(|gate| {
            let is_last = gate.waiting.len() + 1 == MEETING;
            if is_last {
                gate.admit_first(MEETING);
            }
            is_last
        });
        let leads = if is_last { barrier.wait() } else { model.wait(id, 1, || barrier.wait()) };
        assert_eq!(leads, is_last);
    };
    let make = || Barrier::new(MEETING);
    against_a_model(Rule::Meeting, 0, make, |barrier, model, id, _| {
        if !model.is_last() || model.with(|gate| gate.waiting.len()) + 1 == MEETING {
            arrive(barrier, model, id);
        }
        // The last one who runs sends others in its place.
        while model.is_last() && model.has_waiting() {
            let missing = MEETING - model.with(|gate| gate.waiting.len() % MEETING);
            ramie::scope(|s| {
                (0..missing as u64).for_each(|n| s.detach(move || arrive(barrier, model, 100 + n)))
            });
        }
    });
}

#[test]
fn a_mutex_is_what_its_model_is() {
    let _watch = watch("model of a mutex", 120);
    let seed = seed();
    let system = common::sticky().workers(1).build().unwrap();
    for round in 0..20 * soak() as u64 {
        // Who has it, or HANDED_OVER if that one has yet to run.
        let (mutex, holder, turns) = (Mutex::new(()), AtomicU64::new(0), AtomicU64::new(0));
        system.scope(|s| {
            for id in 1..=12 {
                let (mutex, holder, turns) = (&mutex, &holder, &turns);
                s.detach(move || {
                    let mut rng = Rng(mix(seed ^ mix(round * 100 + id)));
                    for _ in 0..40 {
                        let before = holder.load(SeqCst);
                        let guard = match rng.below(3) {
                            0 => mutex.try_lock(),
                            _ => Some(mutex.lock()),
                        };
                        let Some(mut guard) = guard else {
                            assert_ne!(before, 0, "refused although it was free");
                            continue;
                        };
                        assert!([0, HANDED_OVER].contains(&holder.swap(id, SeqCst)), "two have it");
                        turns.fetch_add(1, SeqCst);
                        (0..rng.below(3)).for_each(|_| ramie::yield_now());
                        if rng.below(4) == 0 {
                            // Lent to all who wait.
                            holder.store(HANDED_OVER, SeqCst);
                            MutexGuard::bump(&mut guard);
                            assert!([0, HANDED_OVER].contains(&holder.swap(id, SeqCst)), "two have it");
                        }
                        assert_eq!(holder.swap(0, SeqCst), id);
                        if rng.below(2) == 0 {
                            drop(guard);
                        } else {
                            MutexGuard::unlock_fair(guard);
                        }
                        // Also one that was overtaken is handed the mutex.
                        if mutex.try_lock().is_none() {
                            holder.store(HANDED_OVER, SeqCst);
                        }
                    }
                });
            }
        });
        assert!(turns.load(SeqCst) >= 12 && mutex.try_lock().is_some());
    }
}

const HANDED_OVER: u64 = u64::MAX;

// --- many workers: logs that are played again --------------------------------------------------

/// Runs `f` often, by jobs of two systems and by threads, all at once; it gets a number of its own and random numbers.
fn from_everywhere(workers: usize, jobs: u64, f: impl Fn(u64, &mut Rng) + Send + Sync) {
    let seed = seed();
    let systems = [system(workers), system(2)];
    let next = AtomicU64::new(0);
    let run = || {
        let number = next.fetch_add(1, SeqCst);
        f(number, &mut Rng(mix(seed ^ number)));
    };
    let run = &run;
    std::thread::scope(|threads| {
        for system in &systems {
            threads.spawn(move || system.scope(|s| (0..jobs).for_each(|_| s.detach(run))));
        }
        for _ in 0..2 {
            threads.spawn(move || (0..jobs / 4).for_each(|_| run()));
        }
    });
    for system in &systems {
        system.wait_idle();
        assert!(system.dump().is_empty(), "{}", system.dump());
    }
}

/// Waits in some way, as a holder may.
fn dawdle(rng: &mut Rng) {
    match rng.below(8) {
        0 => ramie::yield_now(),
        1 => drop(ramie::join(|| (), || ())),
        2 => drop(Counter::new(1).wait_timeout(micros(rng, 30))),
        _ => {}
    }
}

fn micros(rng: &mut Rng, below: u64) -> Duration {
    Duration::from_micros(rng.below(below))
}

/// A double-ended queue that somebody changes in several steps, and what it was told to do.
#[derive(Default)]
struct Logged {
    items: VecDeque<u64>,
    log: Vec<(u64, Option<u64>)>,
}

impl Logged {
    fn change(&mut self, rng: &mut Rng) {
        let what = rng.below(1000);
        let result = Self::step(&mut self.items, what);
        dawdle(rng);
        self.log.push((what, result));
    }

    fn step(items: &mut VecDeque<u64>, what: u64) -> Option<u64> {
        match what % 5 {
            0 => items.pop_front(),
            1 => items.pop_back(),
            2 => {
                items.push_front(what);
                None
            }
            3 => {
                items.push_back(what);
                None
            }
            _ => items.iter().copied().max(),
        }
    }

    fn play_again(&self) {
        let mut items = VecDeque::new();
        for (what, result) in &self.log {
            assert_eq!(Self::step(&mut items, *what), *result);
        }
        assert_eq!(items, self.items);
    }
}

#[test]
fn what_is_done_under_a_mutex_is_done_in_some_order() {
    let _watch = watch("log of a mutex", 180);
    for workers in WORKERS {
        let (mutex, changes) = (Mutex::new(Logged::default()), AtomicUsize::new(0));
        from_everywhere(workers, 600 * soak() as u64, |_, rng| {
            let guard = match rng.below(4) {
                0 => mutex.try_lock(),
                1 => mutex.try_lock_for(micros(rng, 50)),
                _ => Some(mutex.lock()),
            };
            let Some(mut guard) = guard else { return };
            guard.change(rng);
            changes.fetch_add(1, SeqCst);
            match rng.below(4) {
                0 => MutexGuard::unlock_fair(guard),
                1 => {
                    MutexGuard::bump(&mut guard);
                    guard.change(rng);
                    changes.fetch_add(1, SeqCst);
                }
                _ => {}
            }
        });
        let logged = mutex.into_inner();
        assert_eq!(logged.log.len(), changes.into_inner());
        logged.play_again();
    }
}

#[test]
fn what_is_read_under_a_lock_was_so_at_that_time() {
    let _watch = watch("log of a reader-writer lock", 180);
    for workers in WORKERS {
        let lock = RwLock::new(Logged::default());
        let seen = std::sync::Mutex::new(Vec::new());
        from_everywhere(workers, 600 * soak() as u64, |_, rng| {
            if rng.below(3) == 0 {
                let guard = match rng.below(4) {
                    0 => lock.try_write(),
                    1 => lock.try_write_for(micros(rng, 50)),
                    _ => Some(lock.write()),
                };
                let Some(mut guard) = guard else { return };
                guard.change(rng);
                match rng.below(4) {
                    0 => RwLockWriteGuard::bump(&mut guard),
                    1 => {
                        let guard = RwLockWriteGuard::downgrade(guard);
                        seen.lock().unwrap().push((guard.log.len(), guard.items.clone()));
                    }
                    _ => {}
                }
                return;
            }
            let guard = match rng.below(4) {
                0 => lock.try_read(),
                1 => lock.try_read_for(micros(rng, 50)),
                _ => Some(lock.read()),
            };
            let Some(guard) = guard else { return };
            let version = guard.log.len();
            dawdle(rng);
            assert_eq!(guard.log.len(), version);
            seen.lock().unwrap().push((version, guard.items.clone()));
        });
        let logged = lock.into_inner();
        logged.play_again();
        let mut seen = seen.into_inner().unwrap();
        seen.sort_by_key(|(version, _)| *version);
        let (mut items, mut seen) = (VecDeque::new(), seen.into_iter().peekable());
        for version in 0..=logged.log.len() {
            while let Some((_, saw)) = seen.next_if(|(at, _)| *at == version) {
                assert_eq!(saw, items, "version {version}");
            }
            if let Some((what, _)) = logged.log.get(version) {
                Logged::step(&mut items, *what);
            }
        }
        assert!(seen.next().is_none());
    }
}

#[test]
fn permits_that_come_and_go() {
    let _watch = watch("permits", 180);
    for workers in WORKERS {
        let semaphore = Arc::new(Semaphore::new(2));
        // What there may be at most, raised before it is; and what is taken.
        let (most, taken) = (AtomicU64::new(2), AtomicU64::new(0));
        from_everywhere(workers, 400 * soak() as u64, |number, rng| {
            if number % 8 == 0 {
                most.fetch_add(1, SeqCst);
                semaphore.add_permits(1);
                return;
            }
            let count = 1 + rng.below(2) as u32;
            let permits = match rng.below(5) {
                0 => semaphore.try_acquire_many_owned(count),
                1 => semaphore.acquire_many_owned_timeout(count, micros(rng, 50)).ok(),
                _ => Some(semaphore.acquire_many_owned(count)),
            };
            let Some(permits) = permits else { return };
            let now = taken.fetch_add(u64::from(count), SeqCst) + u64::from(count);
            assert!(now <= most.load(SeqCst), "{now} permits are taken");
            dawdle(rng);
            taken.fetch_sub(u64::from(count), SeqCst);
            assert_eq!(permits.count(), count);
        });
        assert_eq!(u64::from(semaphore.available()), most.into_inner());
        assert_eq!(Arc::strong_count(&semaphore), 1);
    }
}

/// As many go through as it was set, but for those sets that find it set.
#[test]
fn each_set_of_an_event_is_used_once() {
    let _watch = watch("sets of an event", 180);
    for workers in WORKERS {
        let event = Event::auto();
        // One more may be on its way through for each set that was asked for.
        let (sets, passes) = (AtomicU64::new(0), AtomicU64::new(0));
        let stop = AtomicBool::new(false);
        let takers = 8;
        let system = system(workers);
        let each = 300 * soak() as u64;
        system.scope(|s| {
            for taker in 0..takers {
                let (event, passes, stop) = (&event, &passes, &stop);
                s.detach(move || {
                    let mut rng = Rng(mix(taker));
                    while !stop.load(SeqCst) {
                        let passed = match rng.below(3) {
                            0 => event.try_pass(),
                            1 => event.wait_timeout(micros(&mut rng, 50)).is_ok(),
                            _ => {
                                event.wait();
                                true
                            }
                        };
                        passes.fetch_add(u64::from(passed), SeqCst);
                        ramie::yield_now();
                    }
                });
            }
            s.detach(|| {
                // One at a time: the next when that was used, so that none finds it set.
                for round in 1..=each {
                    sets.fetch_add(1, SeqCst);
                    event.set();
                    while passes.load(SeqCst) < round {
                        ramie::yield_now();
                    }
                    assert!(!event.is_set(), "used, and set");
                }
                assert_eq!(passes.load(SeqCst), each);
                stop.store(true, SeqCst);
                // Those that still wait are let go.
                (0..takers).for_each(|_| {
                    event.set();
                    (0..3).for_each(|_| ramie::yield_now());
                });
                while passes.load(SeqCst) < each {
                    ramie::yield_now();
                }
            });
            // Whoever has looked at `stop` before it was set, and waits now.
            s.detach(|| {
                while !stop.load(SeqCst) {
                    ramie::yield_now();
                }
                for _ in 0..1000 {
                    event.set();
                    ramie::yield_now();
                }
            });
        });
    }
}

/// A bounded queue of two condition variables: each item comes out once, those of one producer in their order, and no notification is lost.
#[test]
fn a_bounded_queue_keeps_the_order_of_each_producer() {
    const ROOM: usize = 3;
    let _watch = watch("bounded queue", 180);
    let seed = seed();
    for workers in WORKERS {
        let (queue, filled, emptied) = (Mutex::new(VecDeque::new()), Condvar::new(), Condvar::new());
        let (producers, each) = (4_u64, 200 * soak() as u64);
        let taken = std::sync::Mutex::new(vec![Vec::new(); producers as usize]);
        let left = AtomicU64::new(producers * each);
        let system = system(workers);
        system.scope(|s| {
            for producer in 0..producers {
                let (queue, filled, emptied) = (&queue, &filled, &emptied);
                s.detach(move || {
                    let mut rng = Rng(mix(seed ^ producer));
                    for number in 0..each {
                        let mut items = queue.lock();
                        while items.len() == ROOM {
                            if rng.below(2) == 0 {
                                emptied.wait(&mut items);
                            } else {
                                let _late = emptied.wait_timeout(&mut items, micros(&mut rng, 40));
                            }
                        }
                        assert!(items.len() < ROOM);
                        items.push_back((producer, number));
                        dawdle(&mut rng);
                        drop(items);
                        filled.notify_one();
                    }
                });
                let (left, taken) = (&left, &taken);
                s.detach(move || {
                    let mut rng = Rng(mix(seed ^ (producer + 100)));
                    // As many are taken as are put in, by whoever comes.
                    while left.try_update_down() {
                        let mut items = queue.lock();
                        loop {
                            if let Some((producer, number)) = items.pop_front() {
                                taken.lock().unwrap()[producer as usize].push(number);
                                break;
                            }
                            if rng.below(2) == 0 {
                                filled.wait(&mut items);
                            } else {
                                let _late = filled.wait_timeout(&mut items, micros(&mut rng, 40));
                            }
                        }
                        drop(items);
                        emptied.notify_one();
                    }
                });
            }
        });
        for numbers in taken.into_inner().unwrap() {
            assert_eq!(numbers, (0..each).collect::<Vec<_>>());
        }
        assert!(queue.into_inner().is_empty());
    }
}

trait CountDown {
    /// Takes one off; false at zero.
    fn try_update_down(&self) -> bool;
}

impl CountDown for AtomicU64 {
    fn try_update_down(&self) -> bool {
        self.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
    }
}

/// Members of a meeting, of whom some lose patience: whoever gets through has met exactly as many others, of whom one leads.
#[test]
fn meetings_are_of_the_right_size() {
    let _watch = watch("meetings", 180);
    for workers in WORKERS {
        let (barrier, through, leaders) = (Barrier::new(MEETING), AtomicUsize::new(0), AtomicUsize::new(0));
        from_everywhere(workers, 400 * soak() as u64, |_, rng| {
            if let Ok(leads) = barrier.wait_timeout(micros(rng, 80)) {
                through.fetch_add(1, SeqCst);
                leaders.fetch_add(usize::from(leads), SeqCst);
            }
        });
        assert_eq!(through.into_inner(), MEETING * leaders.into_inner());
    }
}

// --- time limits -------------------------------------------------------------------------------

/// Both sides of a race: what one waits for with a limit, the other brings about.
#[derive(Default)]
struct Arena {
    /// How far the waiter, and the waker, have come: three steps a round.
    waiter: AtomicU64,
    waker: AtomicU64,
    /// Whether the waiter was woken in time in this round.
    waited: AtomicU64,
    mutex: Mutex<()>,
    lock: RwLock<()>,
    condition: Mutex<()>,
    changed: Condvar,
    /// Those that open for good, made anew for each round.
    fresh: std::sync::Mutex<Arc<Fresh>>,
}

struct Fresh {
    latch: Latch,
    once: Once,
    cell: OnceLock<u64>,
    event: Event,
}

impl Default for Fresh {
    fn default() -> Self {
        Self { latch: Latch::new(1), once: Once::new(), cell: OnceLock::new(), event: Event::manual() }
    }
}

const RACES: u64 = 11;

fn give_way() {
    if ramie::in_job() { ramie::yield_now() } else { std::thread::yield_now() }
}

fn reach(step: &AtomicU64, at: u64) {
    while step.load(SeqCst) < at {
        give_way();
    }
}

impl Arena {
    fn fresh(&self) -> Arc<Fresh> {
        Arc::clone(&self.fresh.lock().unwrap())
    }

    /// The waiter's part of the race of this number: whether it was woken in time.
    fn wait(&self, race: u64, limit: Duration, auto: &Event, permits: &Semaphore, barrier: &Barrier) -> bool {
        match race {
            0 => self.mutex.try_lock_for(limit).is_some(),
            1 => self.lock.try_read_for(limit).is_some(),
            2 => self.lock.try_write_for(limit).is_some(),
            3 => permits.acquire_timeout(limit).map(|permit| permit.forget()).is_ok(),
            4 => auto.wait_timeout(limit).is_ok(),
            5 => self.fresh().event.wait_timeout(limit).is_ok(),
            6 => self.changed.wait_timeout(&mut self.condition.lock(), limit).is_ok(),
            7 => barrier.wait_timeout(limit).is_ok(),
            8 => self.fresh().latch.wait_timeout(limit).is_ok(),
            9 => self.fresh().once.wait_timeout(limit).is_ok(),
            _ => self.fresh().cell.wait_timeout(limit).is_ok(),
        }
    }

    /// The waker's part: whether the waiter was woken in time, if it can tell. `begin` is called before it wakes.
    fn wake(
        &self,
        race: u64,
        begin: impl FnOnce(),
        auto: &Event,
        permits: &Semaphore,
        barrier: &Barrier,
    ) -> Option<bool> {
        match race {
            0 => {
                let guard = self.mutex.lock();
                begin();
                drop(guard);
                return None;
            }
            1 | 2 => {
                let guard = self.lock.write();
                begin();
                drop(guard);
                return None;
            }
            _ => begin(),
        }
        match race {
            3 => permits.add_permits(1),
            4 => auto.set(),
            5 => self.fresh().event.set(),
            6 => return Some(self.changed.notify_one()),
            7 => return Some(barrier.wait_timeout(Duration::from_micros(5)).is_ok()),
            8 => self.fresh().latch.count_down(),
            9 => self.fresh().once.call_once(|| ()),
            _ => assert!(self.fresh().cell.set(1).is_ok()),
        }
        None
    }

    /// After both parts: nothing was lost, and nothing given twice.
    fn check(&self, race: u64, waited: bool, woke: Option<bool>, auto: &Event, permits: &Semaphore) {
        let fresh = self.fresh();
        match race {
            0 => assert!(self.mutex.try_lock().is_some()),
            1 | 2 => assert!(self.lock.try_write().is_some()),
            3 => {
                assert_eq!(permits.available(), u32::from(!waited));
                permits.try_acquire_many(permits.available()).unwrap().forget();
            }
            4 => assert_eq!(auto.try_pass(), !waited),
            5 => assert!(fresh.event.is_set()),
            6 | 7 => assert_eq!(woke, Some(waited)),
            8 => assert!(fresh.latch.is_open()),
            9 => assert!(fresh.once.is_done()),
            _ => assert_eq!(fresh.cell.get(), Some(&1)),
        }
    }
}

/// Limits that pass just as somebody wakes, over all primitives: 20,000 rounds in the suite, and as many times more as `RAMIE_SOAK` says, so a million
/// with `RAMIE_SOAK=50`.
#[test]
fn time_limits_race_wakes() {
    let _watch = watch("limits against wakes", 600);
    let seed = seed();
    let rounds = (20_000 * soak() as u64).div_ceil(WORKERS.len() as u64 + 1);
    let (begin, late) = (Instant::now(), AtomicU64::new(0));
    // The last one has a thread for a waiter.
    for (workers, by_thread) in WORKERS.map(|workers| (workers, false)).into_iter().chain([(2, true)]) {
        let arena = Arena::default();
        let (auto, permits, barrier) = (Event::auto(), Semaphore::new(0), Barrier::new(2));
        let waiter = || {
            let mut rng = Rng(mix(seed ^ workers as u64));
            for round in 0..rounds {
                let race = round % RACES;
                *arena.fresh.lock().unwrap() = Arc::new(Fresh::default());
                arena.waiter.store(3 * round + 1, SeqCst);
                // The waker is about to wake.
                reach(&arena.waker, 3 * round + 1);
                let waited = arena.wait(race, micros(&mut rng, 60), &auto, &permits, &barrier);
                late.fetch_add(u64::from(!waited), SeqCst);
                arena.waited.store(u64::from(waited), SeqCst);
                arena.waiter.store(3 * round + 2, SeqCst);
                reach(&arena.waker, 3 * round + 2);
            }
        };
        let waker = || {
            let mut rng = Rng(mix(seed ^ workers as u64 ^ 1 << 32));
            for round in 0..rounds {
                let race = round % RACES;
                reach(&arena.waiter, 3 * round + 1);
                let begin = || {
                    arena.waker.store(3 * round + 1, SeqCst);
                    let (since, pause) = (Instant::now(), micros(&mut rng, 120));
                    while since.elapsed() < pause {
                        give_way();
                    }
                };
                let woke = arena.wake(race, begin, &auto, &permits, &barrier);
                reach(&arena.waiter, 3 * round + 2);
                let waited = arena.waited.load(SeqCst) == 1;
                arena.check(race, waited, woke, &auto, &permits);
                arena.waker.store(3 * round + 2, SeqCst);
            }
        };
        let system = system(workers);
        if by_thread {
            std::thread::scope(|threads| {
                threads.spawn(waiter);
                system.run(waker);
            });
        } else {
            system.scope(|s| {
                s.detach(waiter);
                s.detach(waker);
            });
        }
    }
    let (late, rounds) = (late.into_inner(), rounds * (WORKERS.len() as u64 + 1));
    eprintln!("{late} of {rounds} waits were late; {:?}", begin.elapsed());
    assert!(late > rounds / 50 && late < rounds - rounds / 50, "no race: {late} of {rounds} were late");
}
