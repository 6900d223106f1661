//! What a recording says: who ran what, why not, and because of whom. Events become *runs*: stretches of time in which a thread ran one job on one fiber.

use super::super::event::{Kind, OUTERMOST};
use super::super::recording::{Recording, ThreadKind};
use std::collections::HashMap;

/// No run, site or place.
pub(super) const NONE: u32 = u32::MAX;

/// How a run began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Begin {
    Started = 0,
    WentOn = 1,
    BeforeRecording = 2,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Finish {
    Ended = 0,
    Waits = 1,
    AfterRecording = 2,
    Panicked = 3,
    /// The job runs another one itself.
    Calls = 4,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) track: u32,
    /// Nanoseconds since the recording began.
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) fiber: u32,
    pub(super) site: u32,
    pub(super) begin: Begin,
    pub(super) finish: Finish,
    pub(super) priority: u8,
    /// If it waits.
    pub(super) wait: u8,
    pub(super) wait_place: u32,
    /// The run in which this one was queued or woken, and when; `NONE` and NaN if it is not known.
    pub(super) cause: u32,
    pub(super) cause_at: f64,
    pub(super) is_critical: bool,
}

/// Why a worker ran nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Idle {
    Searching = 0,
    NoWork = 1,
    Queued = 2,
    AllWait = 3,
}

impl Idle {
    pub(super) const NAMES: [&str; 4] = [
        "awake, looking for work",
        "asleep, no work",
        "asleep although jobs were queued",
        "asleep, all jobs wait",
    ];
}

#[derive(Clone, Debug)]
pub(super) struct Gap {
    pub(super) track: u32,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) cause: Idle,
}

#[derive(Clone, Debug)]
pub(super) struct SpanPiece {
    pub(super) track: u32,
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) name: u32,
    pub(super) fiber: u32,
    pub(super) depth: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) label: String,
    pub(super) kind: ThreadKind,
}

/// Where jobs are spawned, and their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) name: u32,
    pub(super) place: u32,
}

/// A job from its start to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job {
    pub(super) site: u32,
    pub(super) start: f64,
    pub(super) end: f64,
    /// How long it ran, without its waits.
    pub(super) own: f64,
}

/// A wait from a suspension to the resumption.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    pub(super) kind: u8,
    pub(super) place: u32,
    pub(super) for_ns: f64,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) duration: f64,
    pub(super) names: Vec<String>,
    pub(super) places: Vec<String>,
    pub(super) sites: Vec<Site>,
    pub(super) tracks: Vec<Track>,
    /// By track, then by time.
    pub(super) runs: Vec<Run>,
    pub(super) gaps: Vec<Gap>,
    /// When each frame began, and its number.
    pub(super) frames: Vec<(f64, u32)>,
    pub(super) spans: Vec<SpanPiece>,
    /// By name: times and values.
    pub(super) values: Vec<(u32, Vec<(f64, f64)>)>,
    /// Those that ended in the recording.
    pub(super) jobs: Vec<Job>,
    pub(super) waits: Vec<Wait>,
    pub(super) steals: u64,
    /// Of the critical path: how long jobs ran on it, and how long what was queued or woken took to run.
    pub(super) critical_run: f64,
    pub(super) critical_latency: f64,
}

/// Texts by number.
#[derive(Default)]
struct Interned(HashMap<String, u32>);

impl Interned {
    fn add(&mut self, text: &str, all: &mut Vec<String>) -> u32 {
        if let Some(known) = self.0.get(text) {
            return *known;
        }
        all.push(text.to_owned());
        self.0.insert(text.to_owned(), all.len() as u32 - 1);
        all.len() as u32 - 1
    }
}

#[derive(Default)]
struct OnFiber {
    /// Jobs that it is inside of, the innermost last.
    jobs: Vec<Job>,
    priority: u8,
    /// Who has woken it last, and when; taken when it goes on.
    woken: Option<(u32, f64)>,
    /// Its run that ended with its last wait, and when.
    suspended: Option<(u32, f64)>,
    /// The thread of its run that goes on.
    runs_on: Option<usize>,
    /// When its last run ended.
    left_at: f64,
    /// Since when it is suspended, why and where.
    waits: Option<(f64, u8, u32)>,
    spans: Vec<u32>,
}

#[derive(Default)]
struct OnThread {
    /// The run that goes on.
    run: Option<u32>,
    /// The one before, if the thread has not slept since: what a job sets free when it has ended is its doing.
    last: Option<u32>,
    fiber: u32,
    /// Since when nothing runs.
    idle_since: f64,
    /// Its first event.
    first_at: f64,
    /// Since when it sleeps, and why.
    parked: Option<(f64, Idle)>,
    /// Whom it has stolen from last: that one's run, and when.
    stolen: Option<(u32, f64)>,
    /// Pieces of spans that are open, and since when.
    pieces: Vec<(u32, f64)>,
    /// Of a thread that is no worker.
    spans: Vec<u32>,
}

impl OnThread {
    fn run_or_last(&self) -> u32 {
        self.run.or(self.last).unwrap_or(NONE)
    }
}

struct Building<'a> {
    recording: &'a Recording,
    model: Model,
    names: Interned,
    places: Interned,
    sites: HashMap<u64, u32>,
    fibers: HashMap<u32, OnFiber>,
    threads: Vec<OnThread>,
    /// By block.
    queued: HashMap<u64, Queued>,
    values: HashMap<u32, usize>,
    /// By system and index: their threads.
    workers: HashMap<(u32, usize), usize>,
    /// Whether there may be queued jobs of which the start was overwritten.
    is_complete: bool,
    /// By system: how many jobs are queued and not started, and how many fibers wait.
    waiting: HashMap<u16, (usize, usize)>,
}

/// A job that is queued: in which run that was, when, and of which system it is.
struct Queued {
    run: u32,
    at: f64,
    system: u16,
}

impl Model {
    pub(super) fn of(recording: &Recording) -> Self {
        let tracks =
            recording.threads.iter().map(|thread| Track { label: thread.label.clone(), kind: thread.kind });
        let model = Model {
            duration: recording.duration().as_nanos() as f64,
            tracks: tracks.collect(),
            ..Model::default()
        };
        let mut building = Building {
            recording,
            model,
            names: Interned::default(),
            places: Interned::default(),
            sites: HashMap::new(),
            fibers: HashMap::new(),
            threads: recording.threads.iter().map(|_| OnThread::default()).collect(),
            queued: HashMap::new(),
            values: HashMap::new(),
            workers: HashMap::new(),
            is_complete: recording.lost_count() == 0,
            waiting: HashMap::new(),
        };
        for (index, thread) in recording.threads.iter().enumerate() {
            if let Some(worker) = thread.kind.worker() {
                building.workers.insert(worker, index);
            }
        }
        let mut order: Vec<(u64, u32, u32)> = Vec::with_capacity(recording.event_count() as usize);
        for (thread, events) in recording.threads.iter().map(|thread| &thread.events).enumerate() {
            order.extend(events.iter().enumerate().map(|(n, event)| (event[0], thread as u32, n as u32)));
        }
        order.sort_unstable();
        for (index, thread) in recording.threads.iter().enumerate() {
            building.threads[index].first_at =
                thread.events.first().map_or(0.0, |event| building.time_of(event));
        }
        for (_, thread, n) in order {
            building.add(thread as usize, recording.threads[thread as usize].events[n as usize]);
        }
        building.end()
    }

    /// Only workers have gaps.
    pub(super) fn worker_count(&self) -> usize {
        self.tracks.iter().filter(|track| matches!(track.kind, ThreadKind::Worker(..))).count()
    }

    pub(super) fn site_text(&self, site: u32) -> String {
        let Some(site) = self.sites.get(site as usize) else { return "a job that began before".into() };
        match (self.names.get(site.name as usize), self.places.get(site.place as usize)) {
            (Some(name), Some(place)) => format!("{name} ({place})"),
            (Some(name), None) => name.clone(),
            (None, Some(place)) => place.clone(),
            (None, None) => "unknown".into(),
        }
    }
}

impl Building<'_> {
    fn place(&mut self, word: u64) -> u32 {
        let Some(place) = self.recording.places.get(&word) else { return NONE };
        let text = format!("{}:{}:{}", place.file, place.line, place.column);
        self.places.add(&text, &mut self.model.places)
    }

    fn name(&mut self, word: u64) -> u32 {
        match self.recording.places.get(&word).and_then(|place| place.name.as_deref()) {
            Some(name) => self.names.add(name, &mut self.model.names),
            None => NONE,
        }
    }

    fn site(&mut self, word: u64) -> u32 {
        if let Some(known) = self.sites.get(&word) {
            return *known;
        }
        let site = Site { name: self.name(word), place: self.place(word) };
        self.model.sites.push(site);
        let index = self.model.sites.len() as u32 - 1;
        self.sites.insert(word, index);
        index
    }

    fn time_of(&self, event: &[u64; 4]) -> f64 {
        let clock = self.recording.clock;
        (event[0].saturating_sub(clock.first) as f64 * clock.ns_per_tick).min(self.model.duration)
    }

    fn add(&mut self, thread: usize, event: [u64; 4]) {
        let Some(kind) = Kind::of(&event) else { return };
        let at = self.time_of(&event);
        let (detail, system, fiber) =
            ((event[1] >> 8) as u8, (event[1] >> 16) as u16, (event[1] >> 32) as u32);
        match kind {
            Kind::Queued => {
                // One that is still queued is only moved, to another priority for one.
                if !self.is_complete || !self.queued.contains_key(&event[3]) {
                    self.unqueue(event[3]);
                    let run = self.threads[thread].run_or_last();
                    self.queued.insert(event[3], Queued { run, at, system });
                    self.waiting.entry(system).or_default().0 += 1;
                }
            }
            Kind::JobStart => self.start_job(thread, at, fiber, event, detail),
            Kind::JobEnd => self.end_job(thread, at, fiber, detail != 0),
            Kind::Suspend => {
                if self.suspend(thread, at, fiber, detail, event[2]) {
                    self.waiting.entry(system).or_default().1 += 1;
                }
            }
            Kind::Resume => {
                if self.resume(thread, at, fiber, event[2], detail) {
                    let waiting = &mut self.waiting.entry(system).or_default().1;
                    *waiting = waiting.saturating_sub(1);
                }
            }
            Kind::JobDropped => _ = self.unqueue(event[3]),
            Kind::Wake => {
                let run = self.threads[thread].run_or_last();
                self.fibers.entry(event[3] as u32).or_default().woken = Some((run, at));
            }
            Kind::Steal => {
                self.model.steals += event[2];
                let system = self.recording.threads[thread].kind.worker().map_or(0, |(system, _)| system);
                let victim = self.workers.get(&(system, event[3] as usize)).copied();
                let run = victim.and_then(|victim| self.threads[victim].run);
                self.threads[thread].stolen = run.map(|run| (run, at));
            }
            Kind::Park => {
                let why = match self.waiting.get(&system) {
                    Some((1.., _)) if self.is_complete => Idle::Queued,
                    Some((_, 1..)) => Idle::AllWait,
                    _ => Idle::NoWork,
                };
                self.lose_end(thread, at);
                self.idle_until(thread, at);
                self.threads[thread].parked = Some((at, why));
                self.threads[thread].last = None;
            }
            Kind::Unpark => self.wake_up(thread, at),
            Kind::Frame => self.model.frames.push((at, event[2] as u32)),
            Kind::SpanBegin => {
                let name = self.name(event[2]);
                self.spans(thread, fiber).push(name);
                self.threads[thread].pieces.push((name, at));
            }
            Kind::SpanEnd => {
                self.spans(thread, fiber).pop();
                self.close_piece(thread, at);
            }
            Kind::Value => {
                let name = self.name(event[2]);
                let values = &mut self.model.values;
                let index = *self.values.entry(name).or_insert_with(|| {
                    values.push((name, Vec::new()));
                    values.len() - 1
                });
                values[index].1.push((at, f64::from_bits(event[3])));
            }
        }
    }

    /// A block is queued no longer: in which run it was, and when.
    fn unqueue(&mut self, block: u64) -> Option<(u32, f64)> {
        let queued = self.queued.remove(&block)?;
        self.waiting.entry(queued.system).or_default().0 -= 1;
        Some((queued.run, queued.at))
    }

    // --- runs ------------------------------------------------------------------------------

    fn open(&mut self, thread: usize, at: f64, fiber: u32, begin: Begin, cause: Option<(u32, f64)>) {
        self.idle_until(thread, at);
        if let Some(other) = self.fibers.entry(fiber).or_default().runs_on.filter(|other| *other != thread) {
            // It has migrated, and the other thread's ring was read before that.
            self.close(other, at, fiber, Finish::AfterRecording);
        }
        let on_fiber = self.fibers.entry(fiber).or_default();
        on_fiber.runs_on = Some(thread);
        let (cause, cause_at) = cause.unwrap_or((NONE, f64::NAN));
        self.model.runs.push(Run {
            track: thread as u32,
            start: at,
            end: f64::NAN,
            fiber,
            site: on_fiber.jobs.last().map_or(NONE, |job| job.site),
            begin,
            finish: Finish::AfterRecording,
            priority: on_fiber.priority,
            wait: u8::MAX,
            wait_place: NONE,
            cause,
            cause_at,
            is_critical: false,
        });
        let spans = on_fiber.spans.iter().map(|name| (*name, at)).collect();
        let on_thread = &mut self.threads[thread];
        on_thread.pieces = spans;
        on_thread.run = Some(self.model.runs.len() as u32 - 1);
        on_thread.fiber = fiber;
    }

    /// Closes the run that goes on; makes one since the beginning if there is none because it began before.
    fn close(&mut self, thread: usize, at: f64, fiber: u32, finish: Finish) -> u32 {
        if self.threads[thread].run.is_none() {
            // Since when it can have run here.
            let left_at = self.fibers.entry(fiber).or_default().left_at;
            let since = self.threads[thread].idle_since.max(left_at);
            self.open(thread, since, fiber, Begin::BeforeRecording, None);
        }
        while !self.threads[thread].pieces.is_empty() {
            self.close_piece(thread, at);
        }
        let on_thread = &mut self.threads[thread];
        let index = on_thread.run.take().expect("just made");
        on_thread.last = Some(index);
        on_thread.idle_since = at;
        let run = &mut self.model.runs[index as usize];
        (run.end, run.finish) = (at.max(run.start), finish);
        let own = run.end - run.start;
        let on_fiber = self.fibers.entry(run.fiber).or_default();
        (on_fiber.left_at, on_fiber.runs_on) = (run.end, None);
        if let Some(job) = on_fiber.jobs.last_mut() {
            job.own += own;
        }
        index
    }

    fn start_job(&mut self, thread: usize, at: f64, fiber: u32, event: [u64; 4], detail: u8) {
        let mut cause = match event[3] {
            0 => self.threads[thread].stolen.take(),
            block => self.unqueue(block),
        };
        if detail & OUTERMOST != 0 {
            self.lose_end(thread, at);
            self.fibers.entry(fiber).or_default().jobs.clear();
        }
        if self.threads[thread].run.is_some() {
            // Whoever had queued it: it runs now because this one calls it.
            cause = Some((self.close(thread, at, fiber, Finish::Calls), at));
        }
        let site = self.site(event[2]);
        let on_fiber = self.fibers.entry(fiber).or_default();
        on_fiber.jobs.push(Job { site, start: at, end: at, own: 0.0 });
        on_fiber.priority = detail & !OUTERMOST;
        self.open(thread, at, fiber, Begin::Started, cause);
    }

    fn end_job(&mut self, thread: usize, at: f64, fiber: u32, has_panicked: bool) {
        let finish = if has_panicked { Finish::Panicked } else { Finish::Ended };
        let run = self.close(thread, at, fiber, finish);
        let on_fiber = self.fibers.entry(fiber).or_default();
        if let Some(job) = on_fiber.jobs.pop() {
            self.model.jobs.push(Job { end: at, ..job });
        }
        if on_fiber.jobs.is_empty() {
            // A guard may have been forgotten.
            on_fiber.spans.clear();
        } else {
            // Whoever called it goes on.
            self.open(thread, at, fiber, Begin::WentOn, Some((run, at)));
        }
    }

    /// Whether it was not known to wait.
    fn suspend(&mut self, thread: usize, at: f64, fiber: u32, wait: u8, place: u64) -> bool {
        let place = self.place(place);
        let index = self.close(thread, at, fiber, Finish::Waits);
        let run = &mut self.model.runs[index as usize];
        (run.wait, run.wait_place) = (wait, place);
        let on_fiber = self.fibers.entry(fiber).or_default();
        on_fiber.suspended = Some((index, at));
        on_fiber.waits.replace((at, wait, place)).is_none()
    }

    /// Whether it was known to wait.
    fn resume(&mut self, thread: usize, at: f64, fiber: u32, site: u64, priority: u8) -> bool {
        self.lose_end(thread, at);
        let site = self.site(site);
        let on_fiber = self.fibers.entry(fiber).or_default();
        on_fiber.priority = priority;
        if on_fiber.jobs.is_empty() {
            on_fiber.jobs.push(Job { site, start: at, end: at, own: 0.0 });
        }
        let waited = on_fiber.waits.take();
        if let Some((since, kind, place)) = waited {
            self.model.waits.push(Wait { kind, place, for_ns: at - since });
        }
        // It may have been woken by nobody: if it yielded.
        let woken = on_fiber.woken.take().or(on_fiber.suspended);
        self.open(thread, at, fiber, Begin::WentOn, woken);
        waited.is_some()
    }

    /// What the thread ran is over by now, and its end was lost, or not recorded because it began before the recording.
    fn lose_end(&mut self, thread: usize, at: f64) {
        if self.threads[thread].run.is_some() {
            let fiber = self.threads[thread].fiber;
            self.close(thread, at, fiber, Finish::AfterRecording);
            self.fibers.entry(fiber).or_default().jobs.clear();
        }
    }

    // --- what is not a run -----------------------------------------------------------------

    fn is_worker(&self, thread: usize) -> bool {
        self.recording.threads[thread].kind != ThreadKind::Outside
    }

    /// The thread has run nothing since its last run, and was awake.
    fn idle_until(&mut self, thread: usize, at: f64) {
        self.wake_up(thread, at);
        // What it did before its first event nobody knows: a job may have run that it began before the recording.
        let first = self.threads[thread].first_at;
        let since = self.threads[thread].idle_since.max(first);
        if self.threads[thread].run.is_none() && at > since && self.is_worker(thread) {
            self.model.gaps.push(Gap { track: thread as u32, start: since, end: at, cause: Idle::Searching });
            self.threads[thread].idle_since = at;
        }
    }

    fn wake_up(&mut self, thread: usize, at: f64) {
        if let Some((since, cause)) = self.threads[thread].parked.take() {
            self.model.gaps.push(Gap { track: thread as u32, start: since, end: at, cause });
            self.threads[thread].idle_since = at;
        }
    }

    /// The spans that are open: the running job's, or the thread's.
    fn spans(&mut self, thread: usize, fiber: u32) -> &mut Vec<u32> {
        match fiber {
            0 => &mut self.threads[thread].spans,
            _ => &mut self.fibers.entry(fiber).or_default().spans,
        }
    }

    fn close_piece(&mut self, thread: usize, at: f64) {
        let on_thread = &mut self.threads[thread];
        let Some((name, start)) = on_thread.pieces.pop() else { return };
        let depth = on_thread.pieces.len().min(255) as u8;
        let fiber = if on_thread.run.is_some() { on_thread.fiber } else { 0 };
        self.model.spans.push(SpanPiece { track: thread as u32, start, end: at, name, fiber, depth });
    }

    fn end(mut self) -> Model {
        let end = self.model.duration;
        for thread in 0..self.threads.len() {
            if self.threads[thread].run.is_some() {
                let fiber = self.threads[thread].fiber;
                self.close(thread, end, fiber, Finish::AfterRecording);
            } else {
                while !self.threads[thread].pieces.is_empty() {
                    self.close_piece(thread, end);
                }
                self.idle_until(thread, end);
            }
        }
        let mut model = self.model;
        model.sort();
        model.find_critical_path();
        model
    }
}

impl Model {
    /// By track, then by time; causes are numbered anew.
    fn sort(&mut self) {
        let mut order: Vec<u32> = (0..self.runs.len() as u32).collect();
        order.sort_by_key(|&index| self.runs[index as usize].track);
        let mut places = vec![NONE; order.len()];
        for (place, &index) in order.iter().enumerate() {
            places[index as usize] = place as u32;
        }
        let mut runs: Vec<Run> = order.iter().map(|&index| self.runs[index as usize].clone()).collect();
        for run in &mut runs {
            run.cause = places.get(run.cause as usize).copied().unwrap_or(NONE);
        }
        self.runs = runs;
        self.gaps.sort_by(|a, b| a.track.cmp(&b.track).then(a.start.total_cmp(&b.start)));
        self.spans.sort_by(|a, b| a.track.cmp(&b.track).then(a.start.total_cmp(&b.start)));
        self.frames.sort_by(|a, b| a.0.total_cmp(&b.0));
    }

    /// From the run that ended last back to what it was caused by, and so on.
    fn find_critical_path(&mut self) {
        let ended = self
            .runs
            .iter()
            .enumerate()
            .filter(|(_, run)| matches!(run.finish, Finish::Ended | Finish::Panicked));
        let Some((last, _)) = ended.max_by(|a, b| a.1.end.total_cmp(&b.1.end)) else { return };
        let (mut index, mut until) = (last, self.runs[last].end);
        // A cause is earlier, unless clocks differ.
        for _ in 0..self.runs.len() {
            let run = &mut self.runs[index];
            run.is_critical = true;
            self.critical_run += (until.min(run.end) - run.start).max(0.0);
            let (cause, cause_at) = (run.cause as usize, run.cause_at);
            if cause >= self.runs.len() || cause_at > until || (cause == index) {
                return;
            }
            self.critical_latency += (self.runs[index].start - cause_at).max(0.0);
            (index, until) = (cause, cause_at);
        }
    }
}
