//! Channels: order, limits, ends, drops, time limits and cancellation, futures, and pipelines that are longer than the number of workers.

mod common;

use common::{Census, Rng, WORKERS, soak, spin_until, watch};
use ramie::sync::CancelToken;
use ramie::sync::channel::{self, ReceiveError, SendError, TryReceiveError, TrySendError};
use ramie::{Counter, block_on};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Waker};
use std::time::Duration;

#[test]
fn messages_come_in_order_and_ends_are_seen() {
    let (sender, receiver) = channel::bounded(2);
    assert_eq!((sender.capacity(), receiver.capacity()), (Some(2), Some(2)));
    sender.send(1).unwrap();
    sender.try_send(2).unwrap();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(sender.send_timeout(3, Duration::from_millis(1)), Err(TrySendError::TimedOut(3)));
    assert_eq!(sender.send_timeout(3, Duration::ZERO), Err(TrySendError::TimedOut(3)));
    assert_eq!((receiver.recv(), receiver.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(receiver.try_recv(), Err(TryReceiveError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(TryReceiveError::TimedOut));
    sender.send(4).unwrap();
    assert!(!receiver.is_closed() && receiver.len() == 1);
    drop(sender);
    assert!(receiver.is_closed());
    assert_eq!(receiver.recv(), Ok(4), "what was sent is received");
    assert_eq!(receiver.recv(), Err(ReceiveError));
    assert_eq!(receiver.try_recv(), Err(TryReceiveError::Closed));

    let (sender, receiver) = channel::unbounded();
    assert_eq!(sender.capacity(), None);
    (0..1000).for_each(|n| sender.send(n).unwrap());
    let other = sender.clone();
    drop(sender);
    assert!(!receiver.is_closed());
    drop(other);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..1000).collect::<Vec<_>>());

    let (sender, receiver) = channel::bounded("text".len());
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send("text"), Err(SendError("text")));
    assert_eq!(sender.try_send("text"), Err(TrySendError::Closed("text")));
}

#[test]
fn those_who_wait_learn_of_the_end() {
    let _watch = watch("ends", 60);
    for workers in WORKERS {
        let system = common::system(workers);
        let (sender, receiver) = channel::bounded::<u32>(1);
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let receiver = receiver.clone();
                system.spawn(move || receiver.recv())
            })
            .collect();
        drop(sender);
        receivers.into_iter().for_each(|job| assert_eq!(job.join().unwrap(), Err(ReceiveError)));
        let (sender, receiver) = channel::bounded(1);
        sender.send(0).unwrap();
        let senders: Vec<_> = (0..10)
            .map(|n| {
                let sender = sender.clone();
                system.spawn(move || sender.send(n))
            })
            .collect();
        drop(receiver);
        for (n, job) in senders.into_iter().enumerate() {
            assert_eq!(job.join().unwrap(), Err(SendError(n)));
        }
    }
}

#[test]
fn every_message_is_dropped_once() {
    let _watch = watch("drops", 60);
    let census = Census::default();
    let system = common::system(2);
    let (sender, receiver) = channel::bounded(3);
    let sending = system.spawn({
        let census = census.clone();
        move || {
            let mut sent = 0;
            while sender.send(census.item()).is_ok() {
                sent += 1;
            }
            sent
        }
    });
    for _ in 0..5 {
        drop(receiver.recv().unwrap());
    }
    drop(receiver);
    let sent = sending.join().unwrap();
    assert!((5..=9).contains(&sent), "{sent}");
    census.assert_all_dropped(sent + 1);
}

/// Senders and receivers of all kinds - jobs of two systems, threads, with time limits, tokens, futures that are given up - on one channel: every message that was sent is
/// received once, and those of one sender in their order.
#[test]
fn nothing_is_lost_between_many() {
    let _watch = watch("many", 300);
    let seed = common::seed();
    for (workers, capacity) in
        WORKERS.into_iter().flat_map(|workers| [(workers, 1), (workers, 7), (workers, usize::MAX)])
    {
        let (sender, receiver) = match capacity {
            usize::MAX => channel::unbounded(),
            _ => channel::bounded(capacity),
        };
        let (senders, each) = (8_u64, 100 * soak() as u64);
        let seen: Vec<Mutex<Vec<u64>>> = (0..senders).map(|_| Mutex::default()).collect();
        let (token, sent) = (CancelToken::new(), AtomicU64::new(0));
        let send = |number: u64, sender: channel::Sender<(u64, u64)>| {
            let mut rng = Rng(common::mix(seed ^ number));
            for n in 0..each {
                let mut message = (number, n);
                loop {
                    let result = match rng.below(5) {
                        0 => sender.try_send(message),
                        1 => sender.send_timeout(message, Duration::from_micros(rng.below(30))),
                        2 => sender.send_cancellable(message, &token),
                        3 => block_on(sender.send_async(message))
                            .map_err(|error| TrySendError::Closed(error.into_inner())),
                        _ => sender.send(message).map_err(|error| TrySendError::Closed(error.into_inner())),
                    };
                    match result {
                        Ok(()) => break,
                        Err(TrySendError::Closed(_)) => panic!("there are receivers"),
                        Err(error) => message = error.into_inner(),
                    }
                    ramie::yield_now();
                }
                sent.fetch_add(1, SeqCst);
            }
        };
        let receive = |number: u64, receiver: channel::Receiver<(u64, u64)>| {
            let mut rng = Rng(common::mix(seed ^ number ^ 1 << 40));
            let mut last = [None; 8];
            loop {
                let received = match rng.below(6) {
                    0 => receiver.try_recv(),
                    1 => receiver.recv_timeout(Duration::from_micros(rng.below(30))),
                    2 => receiver.recv_cancellable(&token),
                    3 => block_on(receiver.recv_async()).map_err(|_| TryReceiveError::Closed),
                    4 => {
                        // Polled once, and given up: what it was told of goes to another one.
                        let mut future = Box::pin(receiver.recv_async());
                        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                            std::task::Poll::Ready(result) => result.map_err(|_| TryReceiveError::Closed),
                            std::task::Poll::Pending => Err(TryReceiveError::Empty),
                        }
                    }
                    _ => receiver.recv().map_err(|_| TryReceiveError::Closed),
                };
                match received {
                    Ok((from, n)) => {
                        let last = &mut last[from as usize];
                        assert!(last.is_none_or(|last| last < n), "out of order");
                        *last = Some(n);
                        seen[from as usize].lock().unwrap().push(n);
                    }
                    Err(TryReceiveError::Closed) => return,
                    Err(_) => ramie::yield_now(),
                }
            }
        };
        let systems = [common::system(workers), common::system(2)];
        std::thread::scope(|threads| {
            let (send, receive, systems) = (&send, &receive, &systems);
            for number in 0..senders {
                let (sender, receiver) = (sender.clone(), receiver.clone());
                match number % 4 {
                    0 => {
                        threads.spawn(move || send(number, sender));
                        threads.spawn(move || receive(number, receiver));
                    }
                    kind => {
                        threads.spawn(move || {
                            systems[kind as usize % 2].scope(|s| {
                                s.detach(move || send(number, sender));
                                s.detach(move || receive(number, receiver));
                            });
                        });
                    }
                }
            }
            drop((sender, receiver));
        });
        for seen in seen {
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..each).collect::<Vec<_>>());
        }
        assert_eq!(sent.into_inner(), senders * each);
    }
}

/// One fiber after the other does what a queue would do.
#[test]
fn a_channel_is_a_bounded_queue() {
    let _watch = watch("model", 60);
    let seed = common::seed();
    let system = common::system(1);
    system.run(|| {
        for case in 0..200 * soak() as u64 {
            let mut rng = Rng(common::mix(seed ^ case));
            let capacity = 1 + rng.below(5) as usize;
            let (sender, receiver) = channel::bounded(capacity);
            let mut model = VecDeque::new();
            for n in 0..100 {
                if rng.below(2) == 0 {
                    let sent = sender.try_send(n);
                    assert_eq!(sent.is_ok(), model.len() < capacity);
                    if sent.is_ok() {
                        model.push_back(n);
                    }
                } else {
                    assert_eq!(receiver.try_recv().ok(), model.pop_front());
                }
                assert_eq!(receiver.len(), model.len());
            }
        }
    });
}

/// More stages than workers, each with little room: all of them wait for each other, all the time.
#[test]
fn pipelines_are_longer_than_the_number_of_workers() {
    let _watch = watch("pipelines", 180);
    for workers in [1, 2, 8] {
        let system = common::system(workers);
        let (stages, messages) = (4 * workers + 3, 300 * soak() as u64);
        let (first, mut last) = channel::bounded(1);
        for _ in 0..stages {
            let (sender, receiver) = channel::bounded(1);
            let previous = std::mem::replace(&mut last, receiver);
            system.job().detach(move || {
                for n in previous {
                    sender.send(n + 1).unwrap();
                }
            });
        }
        let source = system.spawn(move || (0..messages).for_each(|n| first.send(n).unwrap()));
        let sum: u64 = system.run(|| last.iter().sum());
        source.join().unwrap();
        assert_eq!(sum, (0..messages).sum::<u64>() + messages * stages as u64);
    }
}

#[test]
fn one_message_once() {
    let _watch = watch("oneshot", 120);
    for workers in WORKERS {
        let system = common::system(workers);
        let received = AtomicUsize::new(0);
        system.scope(|s| {
            for n in 0..200 {
                let (sender, receiver) = channel::oneshot();
                let received = &received;
                s.detach(move || {
                    let result = if n % 2 == 0 { receiver.recv() } else { block_on(receiver) };
                    assert_eq!(result.ok(), (n % 5 != 0).then_some(n));
                    received.fetch_add(1, SeqCst);
                });
                s.detach(move || {
                    if n % 5 != 0 {
                        sender.send(n).unwrap();
                    }
                });
            }
        });
        assert_eq!(received.into_inner(), 200);
    }
    let (sender, receiver) = channel::oneshot();
    drop(receiver);
    assert!(sender.is_closed());
    assert_eq!(sender.send(1), Err(SendError(1)));
    let (sender, mut receiver) = channel::oneshot::<u8>();
    assert_eq!(receiver.try_recv(), Err(TryReceiveError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(1)), Err(TryReceiveError::TimedOut));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(TryReceiveError::Closed));
}

#[test]
fn a_future_that_was_told_and_is_dropped_passes_it_on() {
    let (sender, receiver) = channel::bounded(1);
    let mut context = Context::from_waker(Waker::noop());
    let told = Box::pin(receiver.recv_async());
    let mut told = told;
    assert!(told.as_mut().poll(&mut context).is_pending());
    let system = common::system(1);
    let waiting = system.spawn({
        let receiver = receiver.clone();
        move || receiver.recv()
    });
    // The job waits behind the future.
    spin_until(|| system.dump().fibers.iter().any(|fiber| fiber.waits_for.contains("channel")));
    sender.send(7).unwrap();
    assert!(!waiting.is_finished());
    drop(told);
    assert_eq!(waiting.join().unwrap(), Ok(7));
    // The same for room.
    sender.send(1).unwrap();
    let mut told = Box::pin(sender.send_async(2));
    assert!(told.as_mut().poll(&mut context).is_pending());
    let waiting = system.spawn({
        let sender = sender.clone();
        move || sender.send(3)
    });
    spin_until(|| system.dump().fibers.iter().any(|fiber| fiber.waits_for.contains("channel")));
    assert_eq!(receiver.recv(), Ok(1));
    drop(told);
    assert_eq!(waiting.join().unwrap(), Ok(()));
    assert_eq!(receiver.recv(), Ok(3));
    let mut unsent = pin!(sender.send_async(4));
    assert!(unsent.as_mut().poll(&mut context).is_ready());
}

/// Receivers that wait behind a future that was told of a message get what comes after it.
#[test]
fn nobody_is_left_waiting_behind_a_future() {
    let _watch = watch("behind a future", 60);
    let (sender, receiver) = channel::bounded(1);
    let mut context = Context::from_waker(Waker::noop());
    let mut told = Box::pin(receiver.recv_async());
    assert!(told.as_mut().poll(&mut context).is_pending());
    let system = common::system(2);
    let waits = |what: &str| {
        spin_until(|| system.dump().fibers.iter().filter(|fiber| fiber.waits_for.contains(what)).count() == 1)
    };
    let receiving = system.spawn({
        let receiver = receiver.clone();
        move || (receiver.recv(), receiver.recv())
    });
    waits("a message");
    // The future is told of 1; 2 has to wait for room.
    sender.send(1).unwrap();
    let sending = system.spawn({
        let sender = sender.clone();
        move || sender.send(2)
    });
    waits("room");
    // Now there is room for 2, for which the job waits.
    assert_eq!(told.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(1)));
    sending.join().unwrap().unwrap();
    drop(sender);
    assert_eq!(receiving.join().unwrap(), (Ok(2), Err(ReceiveError)));
    // At the end, what a future was told of goes to those who wait, too.
    let (sender, receiver) = channel::bounded(1);
    let mut told = Box::pin(receiver.recv_async());
    assert!(told.as_mut().poll(&mut context).is_pending());
    let receiving = system.spawn({
        let receiver = receiver.clone();
        move || receiver.recv()
    });
    waits("a message");
    sender.send(3).unwrap();
    drop(sender);
    assert_eq!(receiving.join().unwrap(), Ok(3));
    assert_eq!(told.as_mut().poll(&mut context), std::task::Poll::Ready(Err(ReceiveError)));
}

#[test]
fn capacity_zero_is_refused() {
    let panic = common::panic_of(|| channel::bounded::<u8>(0));
    assert!(common::message(&*panic).contains("at least one"));
    // A counter beside a channel: what was sent before the signal is there.
    let (sender, receiver) = channel::unbounded();
    let done = Counter::new(1);
    let system = common::system(2);
    let theirs = done.clone();
    system.job().detach(move || {
        sender.send(1).unwrap();
        theirs.signal();
    });
    done.wait();
    assert_eq!(receiver.try_recv(), Ok(1));
}
