//! Futures: waited for in jobs, and made of jobs, counters and events; wakers that come late, twice, or after the end; tokio on either side.

#![allow(clippy::waker_clone_wake, reason = "wakes by value, and clones of clones, are what is tested")]

mod common;

use common::{Census, Rng, WORKERS, message, panic_of, planned, planned_id, soak, spin_until, watch};
use ramie::sync::Event;
use ramie::{Counter, Drain, JobError, block_on, poll_within, spawn_future};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A future that is ready when it was polled so often; what it does with its waker in between says `wake`.
struct After<W> {
    polls_left: u32,
    wake: W,
}

impl<W: FnMut(&Waker) + Unpin> Future for After<W> {
    type Output = &'static str;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<&'static str> {
        if self.polls_left == 0 {
            return Poll::Ready("ready");
        }
        self.polls_left -= 1;
        (self.wake)(context.waker());
        Poll::Pending
    }
}

/// Counts its wakes.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn counted() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (Arc::clone(&wakes), Waker::from(wakes))
}

#[test]
fn a_future_is_polled_until_it_is_ready() {
    let _watch = watch("polls", 60);
    let check = || {
        assert_eq!(block_on(async { 7 }), 7);
        // Woken during the poll: by reference, by value, twice, through a clone of a clone.
        assert_eq!(block_on(After { polls_left: 3, wake: |waker: &Waker| waker.wake_by_ref() }), "ready");
        assert_eq!(block_on(After { polls_left: 3, wake: |waker: &Waker| waker.clone().wake() }), "ready");
        let twice = |waker: &Waker| {
            let clone = waker.clone();
            clone.wake_by_ref();
            clone.clone().wake();
        };
        assert_eq!(block_on(After { polls_left: 3, wake: twice }), "ready");
        // Woken later, from another thread.
        let later = |waker: &Waker| {
            let waker = waker.clone();
            drop(std::thread::spawn(move || waker.wake()));
        };
        assert_eq!(block_on(After { polls_left: 3, wake: later }), "ready");
        // What is not `Send` may be awaited.
        let local = Rc::new(Cell::new(0));
        block_on(async {
            local.set(1);
            After { polls_left: 2, wake: |waker: &Waker| waker.wake_by_ref() }.await;
            local.set(local.get() + 1);
        });
        assert_eq!(local.get(), 2);
    };
    for workers in WORKERS {
        let system = common::system(workers);
        system.run(check);
        system.scope(|s| (0..20).for_each(|_| drop(s.spawn(check))));
    }
    // Outside of any job.
    check();
}

#[test]
fn a_panic_of_a_future_comes_out_and_what_it_held_is_dropped() {
    let _watch = watch("panics", 60);
    let system = common::system(2);
    let census = Census::default();
    let mut made = 0;
    for polls_left in 0..3 {
        let item = census.item();
        made += 1;
        let payload = system.run(|| {
            panic_of(|| {
                block_on(async {
                    let _item = item;
                    After { polls_left, wake: |waker: &Waker| waker.clone().wake() }.await;
                    planned(5)
                })
            })
        });
        assert_eq!(planned_id(&*payload), 5);
    }
    census.assert_all_dropped(made);
}

/// Wakers of futures that are long done are called, and dropped, from everywhere, in any order, while others use the same cells.
#[test]
fn late_double_and_posthumous_wakes_do_no_harm() {
    let _watch = watch("late wakes", 300);
    let seed = common::seed();
    let kept: Mutex<Vec<Waker>> = Mutex::default();
    let kept = &kept;
    for workers in WORKERS {
        let system = common::system(workers);
        let stop = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for thread in 0..2 {
                let stop = &stop;
                threads.spawn(move || {
                    let mut rng = Rng(seed ^ thread ^ workers as u64);
                    while stop.load(SeqCst) == 0 {
                        let waker = {
                            let mut kept = kept.lock().unwrap();
                            let len = kept.len() as u64;
                            (len > 0).then(|| kept.swap_remove(rng.below(len) as usize))
                        };
                        match waker {
                            Some(waker) if rng.below(2) == 0 => {
                                waker.wake_by_ref();
                                kept.lock().unwrap().push(waker);
                            }
                            Some(waker) if rng.below(2) == 0 => waker.wake(),
                            _ => std::thread::yield_now(),
                        }
                    }
                });
            }
            system.scope(|s| {
                for job in 0..200 * soak() as u64 {
                    s.detach(move || {
                        let mut rng = Rng(common::mix(seed ^ job));
                        for _ in 0..10 {
                            let polls_left = rng.below(4) as u32;
                            let wake = |waker: &Waker| {
                                if rng.below(2) == 0 {
                                    waker.wake_by_ref();
                                } else {
                                    // Somebody will call it: the threads above, or this.
                                    let mut kept = kept.lock().unwrap();
                                    kept.push(waker.clone());
                                    drop(kept);
                                    let waker = waker.clone();
                                    ramie::spawn(move || waker.wake());
                                }
                            };
                            assert_eq!(block_on(After { polls_left, wake }), "ready");
                        }
                    });
                }
            });
            stop.store(1, SeqCst);
        });
        system.shutdown(Drain::Finish).unwrap();
        // After the system has ended.
        kept.lock().unwrap().iter().for_each(Waker::wake_by_ref);
    }
    for waker in kept.lock().unwrap().drain(..) {
        waker.wake();
    }
}

#[test]
fn a_handle_is_a_future() {
    let _watch = watch("handles", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        // One that has ended, one that has not, and errors.
        let ended = system.spawn(|| 1);
        spin_until(|| ended.is_finished());
        let gate = Counter::new(1);
        let waits = system.spawn({
            let gate = gate.clone();
            move || {
                gate.wait();
                2
            }
        });
        let panics = system.spawn(|| -> u32 { planned(3) });
        let cancelled = system.job().after(&Counter::new(1)).spawn(|| 4);
        assert!(
            cancelled.cancel() || cancelled.is_finished(),
            "abandoned with its counter, if not cancelled"
        );
        let opener = system.spawn(move || gate.signal());
        let (a, b, c, d) = block_on(async { (ended.await, waits.await, panics.await, cancelled.await) });
        assert_eq!((a.unwrap(), b.unwrap()), (1, 2));
        assert!(matches!(c, Err(JobError::Panicked(payload)) if planned_id(&*payload) == 3));
        assert!(matches!(d, Err(JobError::Cancelled | JobError::Abandoned)));
        opener.join().unwrap();
        // Inside of a job.
        let sum = system.run(|| {
            block_on(async { ramie::spawn(|| 5).await.unwrap() + ramie::spawn(|| 6).await.unwrap() })
        });
        assert_eq!(sum, 11);
    }
}

#[test]
fn a_handle_wakes_the_waker_of_its_last_poll_once() {
    let _watch = watch("wakers of handles", 60);
    let system = common::system(2);
    let gate = Counter::new(1);
    let waiting = || {
        let gate = gate.clone();
        system.spawn(move || {
            gate.wait();
            Box::new(7)
        })
    };
    let (mut polled, mut joined, mut dropped) = (waiting(), waiting(), waiting());
    let ((first, first_waker), (second, second_waker)) = (counted(), counted());
    for handle in [&mut polled, &mut joined, &mut dropped] {
        assert!(Pin::new(&mut *handle).poll(&mut Context::from_waker(&first_waker)).is_pending());
        assert!(Pin::new(handle).poll(&mut Context::from_waker(&second_waker)).is_pending());
    }
    drop(dropped);
    let opener = std::thread::spawn({
        let gate = gate.clone();
        move || {
            std::thread::sleep(Duration::from_millis(5));
            gate.signal();
        }
    });
    // Polled before, and joined now.
    assert_eq!(*joined.join().unwrap(), 7);
    spin_until(|| polled.is_finished());
    system.wait_idle();
    opener.join().unwrap();
    assert_eq!(first.0.load(SeqCst), 0, "its handles were polled with another waker since");
    assert_eq!(second.0.load(SeqCst), 1, "one handle was joined, one dropped");
    let Poll::Ready(Ok(result)) = Pin::new(&mut polled).poll(&mut Context::from_waker(&first_waker)) else {
        panic!("it has ended")
    };
    assert_eq!(*result, 7);
    assert!(polled.is_finished() && !polled.cancel());
    let again = panic_of(|| Pin::new(&mut polled).poll(&mut Context::from_waker(&first_waker)).is_ready());
    assert!(message(&*again).contains("taken"), "{}", message(&*again));
    // Nobody holds a waker any more.
    drop((first_waker, second_waker));
    assert_eq!((Arc::strong_count(&first), Arc::strong_count(&second)), (1, 1));
}

/// Handles are polled, dropped and joined while their jobs end, and jobs are cancelled and abandoned meanwhile.
#[test]
fn handles_are_polled_in_races() {
    let _watch = watch("races of handles", 300);
    let seed = common::seed();
    for workers in WORKERS {
        let system = common::system(workers);
        let census = Census::default();
        let mut rng = Rng(seed ^ workers as u64);
        let rounds = 2_000 * soak();
        for _ in 0..rounds {
            let item = census.item();
            let mut handle = system.spawn(move || item);
            let (_, waker) = counted();
            for _ in 0..rng.below(4) {
                if let Poll::Ready(result) = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
                    drop(result.unwrap());
                    break;
                }
            }
            match rng.below(4) {
                0 => drop(handle),
                1 if !handle.is_finished() => drop(handle.join()),
                2 => drop(handle.cancel()),
                _ => {}
            }
        }
        system.wait_idle();
        census.assert_all_dropped(rounds);
    }
}

#[test]
fn abandoned_handles_wake_their_futures() {
    let _watch = watch("abandoned", 60);
    let system = common::system(2);
    let (gate, begun) = (Counter::new(1), Counter::new(1));
    let handle = system.spawn({
        let (gate, begun) = (gate.clone(), begun.clone());
        move || {
            begun.signal();
            gate.wait();
        }
    });
    begun.wait();
    let waiting = std::thread::spawn(move || block_on(handle));
    let report = system.shutdown(Drain::Abandon);
    assert!(report.is_ok());
    assert!(matches!(waiting.join().unwrap(), Err(JobError::Abandoned)));
    gate.signal();
}

#[test]
fn counters_and_events_are_futures() {
    let _watch = watch("counters and events", 120);
    for workers in WORKERS {
        let system = common::system(workers);
        let (counter, event) = (Counter::new(3), Arc::new(Event::manual()));
        let waiting: Vec<_> = (0..10)
            .map(|_| {
                let (counter, event) = (counter.clone(), Arc::clone(&event));
                system.spawn(move || {
                    block_on(async {
                        counter.await;
                        event.into_future().await;
                    });
                })
            })
            .collect();
        (0..3).for_each(|_| counter.signal());
        event.set();
        waiting.into_iter().for_each(|handle| handle.join().unwrap());
        block_on(&*event);
        block_on(&counter);
    }
}

#[test]
fn a_dropped_future_leaves_its_list_and_its_waker() {
    let _watch = watch("dropped futures", 60);
    let (counter, auto) = (Counter::new(1), Event::auto());
    let (wakes, waker) = counted();
    let mut context = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(pin!(counter.clone().into_future()).poll(&mut context).is_pending());
        assert!(pin!((&auto).into_future()).poll(&mut context).is_pending());
    }
    counter.signal();
    assert_eq!(wakes.0.load(SeqCst), 0);
    // What an auto event has given to a future that is dropped goes to the next.
    let mut next = pin!((&auto).into_future());
    {
        let mut first = pin!((&auto).into_future());
        assert!(first.as_mut().poll(&mut context).is_pending());
        assert!(next.as_mut().poll(&mut context).is_pending());
        auto.set();
        assert_eq!(wakes.0.load(SeqCst), 1);
    }
    assert_eq!(wakes.0.load(SeqCst), 2, "the second was let through in its place");
    assert!(next.poll(&mut context).is_ready());
    assert!(!auto.is_set());
    let before = Arc::strong_count(&wakes);
    drop(waker);
    assert_eq!((before, Arc::strong_count(&wakes)), (2, 1), "nobody keeps the waker");
}

/// Futures of one auto event are polled, moved to other wakers and dropped while it is set: as many get through as it was set and was not set already.
#[test]
fn futures_of_an_event_race_with_sets_and_drops() {
    let _watch = watch("races of events", 300);
    let seed = common::seed();
    for workers in WORKERS {
        let system = common::system(workers);
        let event = Event::auto();
        let through = AtomicUsize::new(0);
        let jobs = 40;
        system.scope(|s| {
            for job in 0..jobs {
                let (event, through) = (&event, &through);
                s.detach(move || {
                    let mut rng = Rng(common::mix(seed ^ job));
                    for _ in 0..50 * soak() {
                        if rng.below(2) == 0 {
                            // Given up after one poll.
                            let polled = block_on(poll_fn(|context| {
                                Poll::Ready(pin!(event.into_future()).poll(context).is_ready())
                            }));
                            if polled {
                                event.set();
                            }
                        } else {
                            event.set();
                            block_on(event);
                            through.fetch_add(1, SeqCst);
                            event.set();
                        }
                    }
                });
            }
        });
        assert!(event.is_set(), "the last one has set it");
        assert!(through.into_inner() > 0);
    }
}

#[test]
fn a_future_is_spawned() {
    let _watch = watch("spawn_future", 60);
    let system = common::system(2);
    let total = system.run(|| {
        let jobs: Vec<_> = (0..100_u64)
            .map(|n| {
                spawn_future(async move {
                    After { polls_left: 3, wake: |waker: &Waker| waker.wake_by_ref() }.await;
                    ramie::spawn(move || n).await.unwrap()
                })
            })
            .collect();
        jobs.into_iter().map(|job| job.join().unwrap()).sum::<u64>()
    });
    assert_eq!(total, 4950);
}

// --- tokio ---------------------------------------------------------------------------------

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// A server that sends back what it gets.
async fn echo_server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

#[test]
fn a_tokio_client_runs_inside_jobs() {
    let _watch = watch("tokio inside", 120);
    let runtime = runtime();
    let address = runtime.block_on(echo_server());
    let handle = runtime.handle();
    for workers in [1, 2, 8] {
        let system = common::system(workers);
        let clients = 50;
        system.scope(|s| {
            for client in 0..clients {
                s.detach(move || {
                    let within = |poll: &mut dyn FnMut()| {
                        let _entered = handle.enter();
                        poll();
                    };
                    let talk = async {
                        let mut socket = tokio::net::TcpStream::connect(address).await?;
                        for round in 0..5_u32 {
                            let said = [client as u8, round as u8].repeat(100);
                            socket.write_all(&said).await?;
                            let mut heard = vec![0; said.len()];
                            socket.read_exact(&mut heard).await?;
                            assert_eq!(heard, said);
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        std::io::Result::Ok(())
                    };
                    block_on(poll_within(within, talk)).expect("the echo comes back");
                });
            }
        });
    }
}

#[test]
fn jobs_are_awaited_inside_a_tokio_service() {
    let _watch = watch("tokio outside", 120);
    let runtime = runtime();
    let system = common::system(2);
    let answers = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for request in 0..200_u64 {
            let system = system.clone();
            tasks.spawn(async move {
                let (low, high) = (request * 10, request * 10 + 10);
                let sum = system.spawn(move || ramie::par(low..high).map_reduce(0, |n| n, |a, b| a + b));
                let done = Counter::new(1);
                let signalled = done.clone();
                system.job().detach(move || signalled.signal());
                done.await;
                sum.await.unwrap()
            });
        }
        tasks.join_all().await
    });
    assert_eq!(answers.into_iter().sum::<u64>(), (0..2000).sum::<u64>());
    // A wait that is given up.
    let timed_out = runtime.block_on(async {
        let never = Counter::new(1);
        tokio::time::timeout(Duration::from_millis(5), never.into_future()).await.is_err()
    });
    assert!(timed_out);
}

/// A runtime that is entered for each poll is nobody else's in between. One that is entered across a wait is everybody's on the worker: this is what the docs warn of.
#[test]
fn a_runtime_is_entered_for_polls_only() {
    let _watch = watch("entering", 60);
    if common::migrating() {
        return;
    }
    let runtime = runtime();
    let handle = runtime.handle();
    let system = common::system(1);
    let sees_runtime = || tokio::runtime::Handle::try_current().is_ok();
    let beside = |wait: &(dyn Fn(&Counter) + Sync)| {
        let (begun, go_on) = (Event::auto(), Counter::new(1));
        system.scope(|s| {
            let (waits, go_on) = ((&begun, &go_on), &go_on);
            s.detach(move || {
                waits.0.set();
                wait(waits.1);
            });
            let beside = s.spawn(|| {
                begun.wait();
                let seen = sees_runtime();
                go_on.signal();
                seen
            });
            beside.join().unwrap()
        })
    };
    let polled_within = beside(&|go_on| {
        let within = |poll: &mut dyn FnMut()| {
            let _entered = handle.enter();
            poll();
        };
        let checked = async {
            assert!(sees_runtime());
            go_on.await;
            assert!(sees_runtime());
        };
        block_on(poll_within(within, checked));
        assert!(!sees_runtime());
    });
    assert!(!polled_within, "the runtime is left between polls");
    let entered_across = beside(&|go_on| {
        let _entered = handle.enter();
        go_on.wait();
    });
    assert!(
        entered_across,
        "a guard across a wait is seen by others; if it is not any more, docs/waiting.md has to say so"
    );
}
