//! Where a job was spawned, and its name, in one word.
//!
//! Dumps read this word of fibers and blocks that belong to other threads. An unnamed job's word
//! is a `&'static Location`; a named one's is a pointer, with the lowest bit set, to a [`NamedSite`], of which one
//! is made per place and name and kept for ever. Either way the reader follows a static reference.

#![expect(unsafe_code, reason = "a tagged pointer to statics")]

use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

const NAMED_TAG: usize = 1;
const BUCKET_COUNT: usize = 1024;

static BUCKETS: [AtomicPtr<NamedSite>; BUCKET_COUNT] =
    [const { AtomicPtr::new(ptr::null_mut()) }; BUCKET_COUNT];

/// A place and a name; lives for ever.
struct NamedSite {
    location: &'static Location<'static>,
    name: &'static str,
    /// The next in the bucket; never changes once the site is published.
    next: *mut NamedSite,
}

/// Where debuggers find a named job's place and name; see `debugger.rs`.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(super) struct NamedLayout {
    pub(super) tag: usize,
    pub(super) location: usize,
    pub(super) name: usize,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(super) const NAMED_LAYOUT: NamedLayout = NamedLayout {
    tag: NAMED_TAG,
    location: std::mem::offset_of!(NamedSite, location),
    name: std::mem::offset_of!(NamedSite, name),
};

/// See the [module](self). May be null: no job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SiteRef(*mut ());

impl SiteRef {
    pub(crate) const NONE: SiteRef = SiteRef(ptr::null_mut());

    #[inline]
    pub(crate) fn unnamed(location: &'static Location<'static>) -> Self {
        SiteRef(ptr::from_ref(location).cast_mut().cast())
    }

    /// Costs a look-up in a table; the first use of a name at a place allocates.
    pub(crate) fn named(location: &'static Location<'static>, name: &'static str) -> Self {
        let key = ptr::from_ref(location).addr() ^ name.as_ptr().addr().rotate_left(17) ^ name.len();
        let bucket = &BUCKETS[key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (usize::BITS - 10)];
        // ORDERING: Acquire pairs with the Release below.
        let mut head = bucket.load(Ordering::Acquire);
        let mut fresh: *mut NamedSite = ptr::null_mut();
        loop {
            let mut site = head;
            // SAFETY: published sites live for ever and do not change.
            while let Some(known) = unsafe { site.as_ref() } {
                if ptr::eq(known.location, location) && ptr::eq(known.name, name) {
                    if !fresh.is_null() {
                        // SAFETY: made below and not published.
                        drop(unsafe { Box::from_raw(fresh) });
                    }
                    return Self::tagged(site);
                }
                site = known.next;
            }
            if fresh.is_null() {
                fresh = Box::into_raw(Box::new(NamedSite { location, name, next: head }));
            }
            // SAFETY: not published yet.
            unsafe { (*fresh).next = head };
            match bucket.compare_exchange(head, fresh, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return Self::tagged(fresh),
                Err(now) => head = now,
            }
        }
    }

    fn tagged(site: *mut NamedSite) -> Self {
        SiteRef(site.map_addr(|addr| addr | NAMED_TAG).cast())
    }

    #[inline]
    pub(crate) fn into_raw(self) -> *mut () {
        self.0
    }

    /// # Safety
    ///
    /// `raw` is null or came from [`into_raw`](Self::into_raw).
    #[inline]
    pub(crate) unsafe fn from_raw(raw: *mut ()) -> Self {
        SiteRef(raw)
    }

    fn as_named(self) -> Option<&'static NamedSite> {
        if self.0.addr() & NAMED_TAG == 0 {
            return None;
        }
        // SAFETY: tagged words point to published sites, which live for ever.
        Some(unsafe { &*self.0.map_addr(|addr| addr & !NAMED_TAG).cast::<NamedSite>() })
    }

    pub(crate) fn name(self) -> Option<&'static str> {
        self.as_named().map(|site| site.name)
    }

    pub(crate) fn location(self) -> Option<&'static Location<'static>> {
        match self.as_named() {
            Some(site) => Some(site.location),
            // SAFETY: untagged words are null or a location.
            None => unsafe { self.0.cast::<Location<'static>>().as_ref() },
        }
    }
}

impl std::fmt::Display for SiteRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name(), self.location()) {
            (Some(name), Some(location)) => write!(f, "job '{name}' spawned at {location}"),
            (None, Some(location)) => write!(f, "job spawned at {location}"),
            _ => f.write_str("no job"),
        }
    }
}
