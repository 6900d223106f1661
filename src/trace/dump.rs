//! Dumps: every job that runs or waits, for people to read.

use super::backtrace::{Backtraces, StackFrame};
use super::site::SiteRef;
use super::stats::StackStats;
use crate::fiber::{Fiber, FiberState, WaitKind};
use crate::memory::slots;
use crate::sched::priority::Priority;
use crate::system::core::SystemCore;
use crate::system::for_each_system;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a fiber in a dump is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FiberActivity {
    /// Its job runs now.
    Running,
    /// Its job waits.
    Waiting,
    /// Its job was woken and waits for its worker.
    Ready,
}

/// One job that runs or waits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FiberInfo {
    /// The fiber's number in the process.
    pub fiber: u32,
    /// The number of the system that it belongs to.
    pub system: u32,
    /// The worker that it belongs to.
    pub worker: usize,
    /// What it is doing.
    pub activity: FiberActivity,
    /// The job's name, if it has one.
    pub job_name: Option<&'static str>,
    /// Its priority.
    pub priority: Priority,
    /// Where the job was spawned.
    pub spawned_at: Option<&'static Location<'static>>,
    /// What it waits for, in words; empty while it runs.
    pub waits_for: String,
    /// Where it waits.
    pub waits_at: Option<&'static Location<'static>>,
    /// For how long it has been waiting. The clock is read every few suspensions of a worker, so a wait that
    /// began after a long job may look older by that job's duration.
    pub age: Option<Duration>,
    /// Where in its code it waits, innermost first, without ramie's own stack frames at both ends; for a job on a large stack, the
    /// part on that one. Empty while it runs, without the feature `backtrace`, and on other systems than Linux on x86-64. Also if it could
    /// not be had: when its worker resumed or suspended something, be it another fiber, at every attempt.
    pub backtrace: Arc<[StackFrame]>,
}

impl FiberInfo {
    /// What is known of the fiber of this number, if it runs or waits.
    pub(super) fn of_id(id: u32) -> Option<Self> {
        let mut found = None;
        slots::for_each::<Fiber>(|fiber| {
            if fiber.node().id() == id {
                found = Self::of(fiber);
            }
        });
        found
    }

    fn of(fiber: &Fiber) -> Option<Self> {
        let state = fiber.state.get();
        let site = fiber.site();
        let activity = match state {
            FiberState::Vacant | FiberState::Idle => return None,
            FiberState::Running => FiberActivity::Running,
            FiberState::Suspending | FiberState::Suspended => FiberActivity::Waiting,
            FiberState::Ready => FiberActivity::Ready,
        };
        // A fiber that runs no job looks for one.
        if site == SiteRef::NONE {
            return None;
        }
        let owner = fiber.owner();
        let (kind, object, waits_at, since_ns) = fiber.wait();
        let waits = activity != FiberActivity::Running;
        let now_ns = super::process_epoch().at.elapsed().as_nanos() as u64;
        Some(Self {
            fiber: fiber.node().id(),
            system: owner.system.load(Ordering::Relaxed),
            worker: owner.index.load(Ordering::Relaxed) as usize,
            activity,
            job_name: site.name(),
            priority: fiber.priority(),
            spawned_at: site.location(),
            waits_for: if waits { describe(kind, object) } else { String::new() },
            waits_at: if waits { waits_at } else { None },
            age: waits.then(|| Duration::from_nanos(now_ns.saturating_sub(since_ns))),
            backtrace: Arc::default(),
        })
    }
}

fn describe(kind: WaitKind, object: u32) -> String {
    kind.description().replace('#', &object.to_string())
}

/// The same in one or two words.
pub(crate) fn short_name(kind: WaitKind) -> &'static str {
    match kind {
        WaitKind::Nothing => "nothing",
        WaitKind::Counter | WaitKind::CounterTarget => "counter",
        WaitKind::Scope => "scope",
        WaitKind::Join => "join or loop",
        WaitKind::Handle => "job's result",
        WaitKind::Batch => "batch",
        WaitKind::Yield => "yielded",
        WaitKind::GaveWay => "gave way",
        WaitKind::Mutex => "mutex",
        WaitKind::Read => "lock to read",
        WaitKind::Write => "lock to write",
        WaitKind::Condvar => "condition variable",
        WaitKind::Semaphore => "semaphore",
        WaitKind::Barrier => "barrier",
        WaitKind::Event => "event",
        WaitKind::Latch => "latch",
        WaitKind::Once => "once",
        WaitKind::Future => "future",
        WaitKind::Sleep => "sleep",
        WaitKind::Blocking => "blocking call",
        WaitKind::Send => "room in a channel",
        WaitKind::Receive => "message",
        WaitKind::Cancellation => "cancellation",
    }
}

/// A string in JSON.
fn json_text(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c < ' ' => json.push_str(&format!("\\u{:04x}", c as u32)),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

impl FiberInfo {
    fn to_json(&self) -> String {
        let activity = match self.activity {
            FiberActivity::Running => "running",
            FiberActivity::Waiting => "waiting",
            FiberActivity::Ready => "ready",
        };
        let place = |place: &'static Location<'static>| json_text(&place.to_string());
        let waits_for = Some(&self.waits_for).filter(|text| !text.is_empty());
        let frames =
            self.backtrace.iter().map(|frame| json_text(&frame.to_string())).collect::<Vec<_>>().join(",");
        let known = [
            ("job_name", self.job_name.map(json_text)),
            ("spawned_at", self.spawned_at.map(place)),
            ("waits_for", waits_for.map(|text| json_text(text))),
            ("waits_at", self.waits_at.map(place)),
            ("age_ns", self.age.map(|age| age.as_nanos().to_string())),
            ("backtrace", (!frames.is_empty()).then(|| format!("[{frames}]"))),
        ];
        let mut json = format!(
            "{{\"fiber\":{},\"system\":{},\"worker\":{},\"activity\":\"{activity}\",\"priority\":\"{:?}\"",
            self.fiber, self.system, self.worker, self.priority
        );
        for (name, value) in known {
            if let Some(value) = value {
                json.push_str(&format!(",\"{name}\":{value}"));
            }
        }
        json.push('}');
        json
    }
}

impl fmt::Display for FiberInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "system {} worker {} fiber {}: ", self.system, self.worker, self.fiber)?;
        match self.job_name {
            Some(name) => write!(f, "job '{name}'")?,
            None => f.write_str("job")?,
        }
        if self.priority != Priority::Normal {
            write!(f, " ({:?})", self.priority)?;
        }
        if let Some(location) = self.spawned_at {
            write!(f, " spawned at {location}")?;
        }
        match self.activity {
            FiberActivity::Running => return f.write_str(", running"),
            FiberActivity::Waiting => write!(f, ", waits for {}", self.waits_for)?,
            FiberActivity::Ready => write!(f, ", ready again after waiting for {}", self.waits_for)?,
        }
        if let Some(location) = self.waits_at {
            write!(f, " at {location}")?;
        }
        if let Some(age) = self.age {
            write!(f, " since {age:.1?}")?;
        }
        for frame in &*self.backtrace {
            write!(f, "\n    {frame}")?;
        }
        Ok(())
    }
}

/// Every job that runs or waits; made by [`JobSystem::dump`](crate::JobSystem::dump) and [`dump_all`].
///
/// The `Display` form has a line per job, and below it, indented, the stack frames of its backtrace, if it has one. Of jobs that were spawned in the same place
/// and wait in the same place it has three, and how many more there are; all of them in the form `{:#}`. What is rare comes first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FiberDump {
    /// The jobs, in no particular order.
    pub fibers: Vec<FiberInfo>,
    /// Jobs submitted and not ended, queued ones included, and whether each worker sleeps: a line per system.
    pub systems: Vec<String>,
    /// The stacks of the process, for each size.
    pub stacks: Vec<StackStats>,
}

impl FiberDump {
    pub(crate) fn empty() -> Self {
        Self { fibers: Vec::new(), systems: Vec::new(), stacks: Vec::new() }
    }

    pub(crate) fn of(core: &SystemCore) -> Self {
        let mut dump = Self::empty();
        dump.add_fibers(|info| info.system == core.index, &mut Backtraces::new());
        dump.add_system(core);
        dump.stacks = StackStats::of_all();
        dump
    }

    /// Whether a job of this system runs or waits.
    pub(crate) fn has_fibers(core: &SystemCore) -> bool {
        let mut found = false;
        for_each_job(|_, info| found |= info.system == core.index);
        found
    }

    /// The same in JSON (RFC 8259), for programs: an object with the arrays `fibers` and `systems`. What is not known is left out. Times are in
    /// nanoseconds.
    ///
    /// ```
    /// assert!(ramie::dump_all().to_json().starts_with("{\"systems\":["));
    /// ```
    pub fn to_json(&self) -> String {
        let systems: Vec<String> = self.systems.iter().map(|system| json_text(system)).collect();
        let fibers: Vec<String> = self.fibers.iter().map(FiberInfo::to_json).collect();
        format!("{{\"systems\":[{}],\"fibers\":[{}]}}", systems.join(","), fibers.join(","))
    }

    /// Whether no job runs or waits.
    pub fn is_empty(&self) -> bool {
        self.fibers.is_empty()
    }

    /// The jobs that were spawned in the same place and wait in the same place together, the smallest groups first: what is rare tells most. Who does not wait
    /// is alone.
    pub fn by_place(&self) -> Vec<Vec<&FiberInfo>> {
        let mut groups: Vec<Vec<&FiberInfo>> = Vec::new();
        let mut known = HashMap::new();
        for fiber in &self.fibers {
            if fiber.activity != FiberActivity::Waiting {
                groups.push(vec![fiber]);
                continue;
            }
            let place = (fiber.system, fiber.job_name, fiber.spawned_at, fiber.waits_at);
            let group = *known.entry(place).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(group) => group.push(fiber),
                None => groups.push(vec![fiber]),
            }
        }
        groups.sort_by_key(Vec::len);
        groups
    }

    fn add_fibers(&mut self, wanted: impl Fn(&FiberInfo) -> bool, backtraces: &mut Backtraces) {
        for_each_job(|fiber, mut info| {
            if wanted(&info) {
                if info.activity != FiberActivity::Running {
                    info.backtrace = backtraces.of(fiber);
                }
                self.fibers.push(info);
            }
        });
    }

    fn add_system(&mut self, core: &SystemCore) {
        let outstanding = core.submitted().saturating_sub(core.finished());
        let queued: usize = core.remotes.iter().map(|remote| remote.queued_count()).sum();
        let seed = core.config.deterministic.map_or(String::new(), |seed| format!(", deterministic({seed})"));
        let background = core.background.as_ref().map_or(String::new(), |background| {
            let count = core.remotes.len() - core.workers();
            format!(", {count} for Background jobs of which {} sleep", background.sleeping_count())
        });
        self.systems.push(format!(
            "system {}: {:?}, {} workers of which {} sleep{background}, {outstanding} jobs not ended, {queued} in deques, injector {}{seed}",
            core.index,
            core.phase(),
            core.workers(),
            core.sleep.sleeping_count(),
            if core.nothing_injected() { "empty" } else { "not empty" },
        ));
    }
}

impl fmt::Display for FiberDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for system in &self.systems {
            writeln!(f, "{system}")?;
        }
        for stacks in self.stacks.iter().filter(|stacks| stacks.count > 0) {
            writeln!(f, "{stacks}")?;
        }
        if self.fibers.is_empty() {
            return f.write_str("no job runs or waits");
        }
        let shown = if f.alternate() { usize::MAX } else { SHOWN_IN_SAME_PLACE };
        for (index, group) in self.by_place().into_iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", group[0])?;
            group.iter().take(shown).skip(1).try_for_each(|fiber| write!(f, "\n{fiber}"))?;
            if group.len() > shown {
                write!(f, "\n  and {} more in the same place", group.len() - shown)?;
            }
        }
        Ok(())
    }
}

/// Of so many jobs that wait in the same place a text has a line each.
const SHOWN_IN_SAME_PLACE: usize = 3;

fn for_each_job(mut f: impl FnMut(&'static Fiber, FiberInfo)) {
    slots::for_each::<Fiber>(|fiber| {
        if let Some(info) = FiberInfo::of(fiber) {
            f(fiber, info);
        }
    });
}

/// A dump of all systems of the process. For watchdogs: it stops nobody and takes no lock that a job could hold.
pub fn dump_all() -> FiberDump {
    let mut dump = FiberDump::empty();
    for_each_system(|core| dump.add_system(core));
    dump.add_fibers(|_| true, &mut Backtraces::new());
    dump.stacks = StackStats::of_all();
    dump
}
