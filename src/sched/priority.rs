//! Priorities: which of the jobs that could run goes first.

/// How urgent a job is. Children inherit their parent's priority unless they are given another.
///
/// High, Normal and Low jobs share the workers. A worker that has a choice takes the more urgent job; to start it
/// never stops one that runs. A running job lets more urgent work go first wherever it calls [`join`](crate::join()),
/// [`scope`](crate::scope()), between the chunks of a [parallel loop](crate::par()), and at
/// [`yield_if_urgent`](crate::yield_if_urgent). So long Low jobs should pass one of these about every 250 us.
///
/// Nothing starves: every so many jobs a worker takes one of the less urgent ones (see `src/sched/README.md`).
///
/// Work that cannot be split so finely is for [`Background`](Self::Background), on threads of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Priority {
    /// On threads of their own, which the operating system runs only while their CPU would be idle; see
    /// [`Builder::background_threads`](crate::Builder::background_threads). In a system without such threads it means
    /// [`Low`](Self::Low).
    Background = 0,
    /// When there is nothing else to do.
    Low = 1,
    /// What jobs have that nobody gave a priority.
    #[default]
    Normal = 2,
    /// Before all others.
    High = 3,
}

/// How many priorities there are.
pub(crate) const COUNT: usize = 4;

impl Priority {
    /// Those whose jobs share the workers, the most urgent first.
    #[cfg(not(loom))]
    pub(crate) const SHARED: [Priority; COUNT - 1] = [Priority::High, Priority::Normal, Priority::Low];

    /// All, the most urgent first.
    #[cfg(not(loom))]
    pub(crate) const DESCENDING: [Priority; COUNT] =
        [Priority::High, Priority::Normal, Priority::Low, Priority::Background];

    #[inline]
    pub(crate) fn from_bits(bits: u32) -> Self {
        match bits {
            0 => Priority::Background,
            1 => Priority::Low,
            2 => Priority::Normal,
            _ => Priority::High,
        }
    }
}
