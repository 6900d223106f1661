//! Parallel loops: split while somebody is hungry, otherwise just a loop.
//!
//! A loop runs chunk by chunk on the calling fiber. Between two chunks it looks whether some worker searches for
//! work and the own deque holds none; only then the rest is halved, and the upper half offered like the second
//! half of a [`join`](crate::join()). A worker whose fiber waits for a stolen half takes other jobs, and
//! searches when there are none: so a splitter that waits counts as hungry, and gets a part back.
//!
//! Chunks start at the grain and grow while they take less than a few microseconds, so that a light body pays for
//! few looks, and a heavy one is never more than that away from being split. Waking a sleeping
//! worker costs microseconds, so sleepers count as hungry only when the loop has run for a while.

#![expect(unsafe_code, reason = "hands out disjoint parts of a slice")]

use crate::join::join_here;
use crate::sched::current;
use crate::sched::worker::Worker;
use crate::{JobSystem, Priority};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// A chunk that took fewer ticks than this is followed by a larger one: about 5 us at 2.5 GHz.
const CHUNK_TICKS: u64 = 12_000;
/// By how much chunks grow.
const CHUNK_GROWTH: usize = 8;
/// A loop that has run for this many ticks, about 15 us, may wake a sleeper.
const WAKE_TICKS: u64 = 40_000;

/// A monotonic count that costs a few nanoseconds to read; its rate hardly matters here.
#[inline]
fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: every x86-64 processor has the instruction.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        // Nanoseconds times 2.5.
        let elapsed = crate::trace::process_epoch().at.elapsed().as_nanos() as u64;
        elapsed * 5 / 2
    }
}

/// How a parallel loop is divided into jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Partition {
    /// Split while workers are hungry.
    #[default]
    Auto,
    /// Divided into this many parts of equal length from the start.
    Static(usize),
}

/// What a parallel loop runs over. Implemented for ranges of integers, slices, arrays, vectors and chunks.
///
/// # Safety
///
/// 1. `item` may be called from any thread, at most once for each index below `item_count`.
/// 2. `item_count` does not change.
pub unsafe trait ParSource: Sync {
    /// What the loop's body gets.
    type Item;
    /// How many items there are.
    #[doc(hidden)]
    fn item_count(&self) -> usize;
    /// The item at `index`.
    ///
    /// # Safety
    ///
    /// `index < item_count()`, and no other call has this index.
    #[doc(hidden)]
    unsafe fn item(&self, index: usize) -> Self::Item;
}

/// What can be turned into a [`ParSource`].
pub trait IntoPar {
    /// The source.
    type Source: ParSource;
    /// Turns it.
    #[doc(hidden)]
    fn into_source(self) -> Self::Source;
}

/// A range of integers.
#[derive(Clone, Debug)]
pub struct ParRange<T> {
    start: T,
    len: usize,
}

macro_rules! integers {
    ($($int:ty)*) => {$(
        // SAFETY: 1. Any thread may compute an integer. 2. The field does not change.
        unsafe impl ParSource for ParRange<$int> {
            type Item = $int;
            fn item_count(&self) -> usize {
                self.len
            }
            #[inline]
            unsafe fn item(&self, index: usize) -> $int {
                // The sum is in the range, so it is right even when the index does not fit by itself.
                self.start.wrapping_add(index as $int)
            }
        }

        impl IntoPar for Range<$int> {
            type Source = ParRange<$int>;
            fn into_source(self) -> ParRange<$int> {
                let len = if self.start < self.end {
                    usize::try_from(self.end.abs_diff(self.start)).expect("a parallel range has at most usize::MAX items")
                } else {
                    0
                };
                ParRange { start: self.start, len }
            }
        }

        impl IntoPar for RangeInclusive<$int> {
            type Source = ParRange<$int>;
            fn into_source(self) -> ParRange<$int> {
                let (start, end) = self.into_inner();
                let len = if start <= end {
                    usize::try_from(end.abs_diff(start))
                        .ok()
                        .and_then(|len| len.checked_add(1))
                        .expect("a parallel range has at most usize::MAX items")
                } else {
                    0
                };
                ParRange { start, len }
            }
        }
    )*};
}

integers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize }

/// A shared slice.
#[derive(Debug)]
pub struct ParSlice<'a, T> {
    slice: &'a [T],
}

// SAFETY: 1. `T: Sync` lets any thread have references. 2. The slice is borrowed.
unsafe impl<'a, T: Sync> ParSource for ParSlice<'a, T> {
    type Item = &'a T;
    fn item_count(&self) -> usize {
        self.slice.len()
    }
    #[inline]
    unsafe fn item(&self, index: usize) -> &'a T {
        // SAFETY: the caller keeps the index below the length.
        unsafe { self.slice.get_unchecked(index) }
    }
}

/// A slice that is borrowed mutably.
pub struct ParSliceMut<'a, T> {
    start: *mut T,
    len: usize,
    marker: PhantomData<&'a mut [T]>,
}

impl<T> fmt::Debug for ParSliceMut<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParSliceMut").field("len", &self.len).finish()
    }
}

// SAFETY: sharing the source lets each thread have items of its own, for which `T: Send` suffices.
unsafe impl<T: Send> Sync for ParSliceMut<'_, T> {}
// SAFETY: as for `&mut [T]`.
unsafe impl<T: Send> Send for ParSliceMut<'_, T> {}

// SAFETY: 1. Each index is asked for once, so the references do not overlap; `T: Send`. 2. The field does not change.
unsafe impl<'a, T: Send> ParSource for ParSliceMut<'a, T> {
    type Item = &'a mut T;
    fn item_count(&self) -> usize {
        self.len
    }
    #[inline]
    unsafe fn item(&self, index: usize) -> &'a mut T {
        // SAFETY: in bounds, and asked for once.
        unsafe { &mut *self.start.add(index) }
    }
}

/// Chunks of a shared slice; made by [`par_chunks`].
#[derive(Debug)]
pub struct ParChunks<'a, T> {
    slice: &'a [T],
    size: usize,
}

impl<'a, T> ParChunks<'a, T> {
    #[track_caller]
    pub(crate) fn new(slice: &'a [T], size: usize) -> Self {
        assert!(size > 0, "par_chunks: a chunk has at least 1 item");
        Self { slice, size }
    }
}

impl<'a, T: Send> ParChunksMut<'a, T> {
    #[track_caller]
    pub(crate) fn new(slice: &'a mut [T], size: usize) -> Self {
        assert!(size > 0, "par_chunks_mut: a chunk has at least 1 item");
        Self { slice: slice.into_source(), size }
    }
}

// SAFETY: as for `ParSlice`.
unsafe impl<'a, T: Sync> ParSource for ParChunks<'a, T> {
    type Item = (usize, &'a [T]);
    fn item_count(&self) -> usize {
        self.slice.len().div_ceil(self.size)
    }
    #[inline]
    unsafe fn item(&self, index: usize) -> (usize, &'a [T]) {
        let start = index * self.size;
        (index, &self.slice[start..self.slice.len().min(start.saturating_add(self.size))])
    }
}

/// Chunks of a slice that is borrowed mutably; made by [`par_chunks_mut`].
#[derive(Debug)]
pub struct ParChunksMut<'a, T> {
    slice: ParSliceMut<'a, T>,
    size: usize,
}

// SAFETY: as for `ParSliceMut`: chunks of different indices do not overlap.
unsafe impl<'a, T: Send> ParSource for ParChunksMut<'a, T> {
    type Item = (usize, &'a mut [T]);
    fn item_count(&self) -> usize {
        self.slice.len.div_ceil(self.size)
    }
    #[inline]
    unsafe fn item(&self, index: usize) -> (usize, &'a mut [T]) {
        let start = index * self.size;
        let len = self.size.min(self.slice.len - start);
        // SAFETY: inside the slice, and disjoint from every other chunk.
        (index, unsafe { std::slice::from_raw_parts_mut(self.slice.start.add(start), len) })
    }
}

macro_rules! slices {
    ($([$($generics:tt)*] $shared:ty, $unique:ty;)*) => {$(
        impl<'a, $($generics)*> IntoPar for &'a $shared where T: Sync {
            type Source = ParSlice<'a, T>;
            fn into_source(self) -> ParSlice<'a, T> {
                ParSlice { slice: self }
            }
        }
        impl<'a, $($generics)*> IntoPar for &'a mut $unique where T: Send {
            type Source = ParSliceMut<'a, T>;
            fn into_source(self) -> ParSliceMut<'a, T> {
                ParSliceMut { start: self.as_mut_ptr(), len: self.len(), marker: PhantomData }
            }
        }
    )*};
}

slices! {
    [T] [T], [T];
    [T] Vec<T>, Vec<T>;
    [T, const N: usize] [T; N], [T; N];
}

impl<S: ParSource> IntoPar for S {
    type Source = S;
    fn into_source(self) -> S {
        self
    }
}

/// A loop over a range of integers, a slice, an array or a vector, divided among the workers.
///
/// Inside a job it runs on its system, elsewhere on the [global one](JobSystem::global).
///
/// # Examples
///
/// ```
/// let mut squares = vec![0_u64; 1000];
/// ramie::par_chunks_mut(&mut squares, 64).for_each(|(chunk, items)| {
///     for (i, item) in items.iter_mut().enumerate() {
///         *item = ((chunk * 64 + i) as u64).pow(2);
///     }
/// });
/// let sum = ramie::par(&squares).map_reduce(0, |n| *n, |a, b| a + b);
/// assert_eq!(sum, 332_833_500);
///
/// let found = ramie::par(0..1000_u32).try_for_each(|n| if n == 777 { Err(n) } else { Ok(()) });
/// assert_eq!(found, Err(777));
/// ```
#[track_caller]
pub fn par<S: IntoPar>(source: S) -> Par<'static, S::Source> {
    Par::new(None, source.into_source(), Location::caller())
}

/// A loop over chunks of `size` items, the last of which may be shorter. The body gets `(chunk index, chunk)`.
///
/// # Panics
///
/// If `size` is 0.
#[track_caller]
pub fn par_chunks<T: Sync>(slice: &[T], size: usize) -> Par<'static, ParChunks<'_, T>> {
    Par::new(None, ParChunks::new(slice, size), Location::caller())
}

/// As [`par_chunks`], for chunks that the body may change.
///
/// # Panics
///
/// If `size` is 0.
#[track_caller]
pub fn par_chunks_mut<T: Send>(slice: &mut [T], size: usize) -> Par<'static, ParChunksMut<'_, T>> {
    Par::new(None, ParChunksMut::new(slice, size), Location::caller())
}

/// A parallel loop that is being set up; made by [`par`].
#[derive(Debug)]
#[must_use = "a loop runs when `for_each`, `map_reduce` or `try_for_each` is called"]
pub struct Par<'system, S> {
    system: Option<&'system JobSystem>,
    source: S,
    grain: usize,
    partition: Partition,
    priority: Option<Priority>,
    site: &'static Location<'static>,
}

impl<'system, S: ParSource> Par<'system, S> {
    pub(crate) fn new(
        system: Option<&'system JobSystem>,
        source: S,
        site: &'static Location<'static>,
    ) -> Self {
        Self { system, source, grain: 1, partition: Partition::Auto, priority: None, site }
    }

    /// Never splits off fewer than `items` items. By default 1.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[track_caller]
    pub fn grain(mut self, items: usize) -> Self {
        assert!(items > 0, "Par::grain: a grain has at least 1 item");
        self.grain = items;
        self
    }

    /// How the loop is divided. By default [`Partition::Auto`].
    ///
    /// # Panics
    ///
    /// For `Static(0)`.
    #[track_caller]
    pub fn partition(mut self, partition: Partition) -> Self {
        assert!(partition != Partition::Static(0), "Par::partition: there is at least 1 part");
        self.partition = partition;
        self
    }

    /// The priority of the loop, the calling job included: until it has ended, that job has this priority too. By
    /// default that of the calling job, and outside of jobs [`Priority::Normal`].
    ///
    /// A loop is in part the calling job's work, so it stays with that kind of worker: in a Background job it is Background
    /// work, and elsewhere `Background` means [`Priority::Low`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = Some(priority);
        self
    }

    /// Calls `f` with every item, in no particular order.
    ///
    /// # Panics
    ///
    /// With a panic of `f`, after all parts that had been split off have ended.
    ///
    /// # Suspends
    ///
    /// If a part was stolen and is not done; and between chunks, if more urgent work waits for this worker.
    pub fn for_each<F>(self, f: F)
    where
        F: Fn(S::Item) + Sync,
    {
        let system = self.system;
        let this = self.plan();
        this.run(system, &ForEach { source: &this.source, f: &f });
    }

    /// Maps every item and reduces the results, in the items' order, so that `reduce` need only be associative.
    ///
    /// `identity` is a value or a closure that makes one: `reduce(identity, x)` must be `x`.
    ///
    /// # Panics
    ///
    /// As [`for_each`](Self::for_each).
    ///
    /// # Suspends
    ///
    /// As [`for_each`](Self::for_each).
    pub fn map_reduce<I, K, R, M, F>(self, identity: I, map: M, reduce: F) -> R
    where
        I: Identity<R, K> + Sync,
        R: Send,
        M: Fn(S::Item) -> R + Sync,
        F: Fn(R, R) -> R + Sync,
    {
        let system = self.system;
        let this = self.plan();
        let consumer = MapReduce {
            source: &this.source,
            identity: &identity,
            map: &map,
            reduce: &reduce,
            marker: PhantomData::<fn() -> (R, K)>,
        };
        this.run(system, &consumer)
    }

    /// Calls `f` with every item until one call fails, and gives one of the errors.
    ///
    /// # Errors
    ///
    /// An error of `f`. Items that were not reached by then are left out.
    ///
    /// # Panics
    ///
    /// As [`for_each`](Self::for_each).
    ///
    /// # Suspends
    ///
    /// As [`for_each`](Self::for_each).
    pub fn try_for_each<F, E>(self, f: F) -> Result<(), E>
    where
        F: Fn(S::Item) -> Result<(), E> + Sync,
        E: Send,
    {
        let system = self.system;
        let this = self.plan();
        this.run(system, &TryForEach { source: &this.source, f: &f, failed: AtomicBool::new(false) })
    }

    fn plan(self) -> Plan<S> {
        let Self { source, grain, partition, priority, site, .. } = self;
        Plan { source, grain, partition, priority, site }
    }
}

/// The identity of a reduction: a value that is cloned, or a closure. `K` only keeps the two apart.
pub trait Identity<R, K> {
    /// A new one.
    #[doc(hidden)]
    fn make(&self) -> R;
}

/// Marks identities that are values.
#[derive(Debug)]
pub enum ByValue {}

/// Marks identities that are closures.
#[derive(Debug)]
pub enum ByClosure {}

impl<R: Clone> Identity<R, ByValue> for R {
    fn make(&self) -> R {
        self.clone()
    }
}

impl<R, F: Fn() -> R> Identity<R, ByClosure> for F {
    fn make(&self) -> R {
        self()
    }
}

/// What a loop does with its items.
trait Consumer: Sync {
    type Out: Send;
    fn empty(&self) -> Self::Out;
    /// Takes in the items of `range`.
    ///
    /// # Safety
    ///
    /// The range is in bounds, and no index in it is fed twice.
    unsafe fn feed(&self, out: Self::Out, range: Range<usize>) -> Self::Out;
    fn merge(&self, left: Self::Out, right: Self::Out) -> Self::Out;
    /// Whether the rest may be left out.
    fn is_full(&self) -> bool {
        false
    }
}

struct ForEach<'a, S, F> {
    source: &'a S,
    f: &'a F,
}

impl<S: ParSource, F: Fn(S::Item) + Sync> Consumer for ForEach<'_, S, F> {
    type Out = ();
    fn empty(&self) {}
    #[inline]
    unsafe fn feed(&self, (): (), range: Range<usize>) {
        for index in range {
            // SAFETY: promised by the caller.
            (self.f)(unsafe { self.source.item(index) });
        }
    }
    fn merge(&self, (): (), (): ()) {}
}

struct MapReduce<'a, S, I, R, K, M, F> {
    source: &'a S,
    identity: &'a I,
    map: &'a M,
    reduce: &'a F,
    marker: PhantomData<fn() -> (R, K)>,
}

impl<S, I, R, K, M, F> Consumer for MapReduce<'_, S, I, R, K, M, F>
where
    S: ParSource,
    I: Identity<R, K> + Sync,
    R: Send,
    M: Fn(S::Item) -> R + Sync,
    F: Fn(R, R) -> R + Sync,
{
    type Out = R;
    fn empty(&self) -> R {
        self.identity.make()
    }
    #[inline]
    unsafe fn feed(&self, mut out: R, range: Range<usize>) -> R {
        for index in range {
            // SAFETY: promised by the caller.
            out = (self.reduce)(out, (self.map)(unsafe { self.source.item(index) }));
        }
        out
    }
    fn merge(&self, left: R, right: R) -> R {
        (self.reduce)(left, right)
    }
}

struct TryForEach<'a, S, F> {
    source: &'a S,
    f: &'a F,
    failed: AtomicBool,
}

impl<S, F, E> Consumer for TryForEach<'_, S, F>
where
    S: ParSource,
    F: Fn(S::Item) -> Result<(), E> + Sync,
    E: Send,
{
    type Out = Result<(), E>;
    fn empty(&self) -> Result<(), E> {
        Ok(())
    }
    #[inline]
    unsafe fn feed(&self, out: Result<(), E>, range: Range<usize>) -> Result<(), E> {
        out?;
        for index in range {
            // SAFETY: promised by the caller.
            if let Err(error) = (self.f)(unsafe { self.source.item(index) }) {
                self.failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }
    fn merge(&self, left: Result<(), E>, right: Result<(), E>) -> Result<(), E> {
        left.and(right)
    }
    fn is_full(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// A loop that is about to run.
struct Plan<S> {
    source: S,
    grain: usize,
    partition: Partition,
    priority: Option<Priority>,
    site: &'static Location<'static>,
}

impl<S: ParSource> Plan<S> {
    fn run<C: Consumer>(&self, system: Option<&JobSystem>, consumer: &C) -> C::Out {
        let (grain, partition, site, len) = (self.grain, self.partition, self.site, self.source.item_count());
        let run = move |worker: &'static Worker| match partition {
            Partition::Auto => Loop { worker, consumer, grain, site, begin: ticks() }.run(0..len, grain),
            Partition::Static(parts) => {
                run_parts(worker, consumer, 0..len, parts.min(len.div_ceil(grain)), site)
            }
        };
        let here = move |worker: &'static Worker| match self.priority {
            Some(priority) if priority != worker.priority() => at_priority(worker, priority, run),
            _ => run(worker),
        };
        match current::worker() {
            Some(worker)
                if worker.in_fiber() && system.is_none_or(|system| worker.belongs_to(system.core())) =>
            {
                here(worker)
            }
            _ => system
                .unwrap_or_else(|| JobSystem::global())
                .run(move || here(current::worker().expect("inside a job"))),
        }
    }
}

/// Calls `run` with the current job at this priority.
#[cold]
fn at_priority<R>(worker: &'static Worker, priority: Priority, run: impl FnOnce(&'static Worker) -> R) -> R {
    match worker.at_priority(priority, || catch_unwind(AssertUnwindSafe(|| run(worker)))) {
        Ok(result) => result,
        Err(payload) => resume_unwind(payload),
    }
}

/// One part of an automatically split loop, on the worker that runs it.
struct Loop<'a, C> {
    worker: &'static Worker,
    consumer: &'a C,
    grain: usize,
    site: &'static Location<'static>,
    /// When this part began, in ticks.
    begin: u64,
}

impl<C: Consumer> Loop<'_, C> {
    fn run(&self, mut range: Range<usize>, mut chunk: usize) -> C::Out {
        let mut out = self.consumer.empty();
        let mut now = self.begin;
        while range.start < range.end {
            if self.consumer.is_full() {
                break;
            }
            if self.worker.now().split_point(self.site) {
                now = ticks();
            }
            let left = range.end - range.start;
            let worker = self.worker.now();
            if worker.is_seeded() {
                chunk = self.grain.max(1 + worker.draw(left as u64) as usize);
            }
            if left / 2 >= self.grain && self.somebody_is_hungry(now) {
                let (lower, upper) = self.split(range, chunk);
                return self.consumer.merge(self.consumer.merge(out, lower), upper);
            }
            let end = range.start + chunk.min(left);
            // SAFETY: ranges are split into disjoint ones, and chunks are taken off them.
            out = unsafe { self.consumer.feed(out, range.start..end) };
            range.start = end;
            let before = std::mem::replace(&mut now, ticks());
            if now.wrapping_sub(before) < CHUNK_TICKS {
                chunk = chunk.saturating_mul(CHUNK_GROWTH);
            } else if now.wrapping_sub(before) > 2 * CHUNK_TICKS {
                chunk = (chunk / 2).max(self.grain);
            }
        }
        out
    }

    #[inline]
    fn somebody_is_hungry(&self, now: u64) -> bool {
        let worker = self.worker.now();
        if worker.is_seeded() {
            return worker.draw(2) == 0;
        }
        let patient = now.wrapping_sub(self.begin) > WAKE_TICKS;
        let hungry = if worker.is_background() {
            patient && !worker.background().none_sleeps()
        } else {
            let sleep = &worker.system().sleep;
            sleep.anyone_searches() || (patient && sleep.anyone_sleeps())
        };
        hungry && self.worker.now().nothing_to_offer()
    }

    #[inline(never)]
    fn split(&self, range: Range<usize>, chunk: usize) -> (C::Out, C::Out) {
        let middle = range.start + (range.end - range.start) / 2;
        let (consumer, grain, site) = (self.consumer, self.grain, self.site);
        join_here(
            self.worker.now(),
            || self.run(range.start..middle, chunk),
            move || {
                let worker = current::worker().expect("inside a job");
                Loop { worker, consumer, grain, site, begin: ticks() }.run(middle..range.end, chunk)
            },
            site,
        )
    }
}

/// Divides a range into equal parts, each a job.
fn run_parts<C: Consumer>(
    worker: &'static Worker,
    consumer: &C,
    range: Range<usize>,
    parts: usize,
    site: &'static Location<'static>,
) -> C::Out {
    if parts <= 1 {
        if consumer.is_full() {
            return consumer.empty();
        }
        // SAFETY: parts are disjoint.
        return unsafe { consumer.feed(consumer.empty(), range) };
    }
    let lower_parts = parts / 2;
    let len = range.end - range.start;
    // The same cut that dividing the whole range at once would give, to within one item.
    let middle = range.start + (len as u128 * lower_parts as u128 / parts as u128) as usize;
    let (lower, upper) = join_here(
        worker,
        || run_parts(worker.now(), consumer, range.start..middle, lower_parts, site),
        || {
            let worker = current::worker().expect("inside a job");
            run_parts(worker, consumer, middle..range.end, parts - lower_parts, site)
        },
        site,
    );
    consumer.merge(lower, upper)
}
