//! Unix: address space for stacks, its pages, and guards in it.
//!
//! A guard is a page whose every access is a fault. Lightweight guard regions (`MADV_GUARD_INSTALL`, Linux 6.13) are
//! marks in the page table: they need no mapping of their own, so a slab with a million guards is one mapping. Whether the
//! kernel has them is found out by trying, because a sandbox or an emulator may refuse them whatever the version says. Where it
//! has not, pages are protected, which costs two of the process's mappings for each guard (`vm.max_map_count`).

#![expect(unsafe_code, reason = "system calls on memory")]

#[cfg(not(shuttle))]
pub(crate) mod fault;

use super::StackGuards;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// How guards are made; 0 until the first was.
static GUARDS: AtomicU8 = AtomicU8::new(0);
const REGIONS: u8 = 1;
const PROTECTED: u8 = 2;

/// What is used, or will be as far as is known.
pub(crate) fn stack_guards() -> StackGuards {
    match GUARDS.load(Ordering::Relaxed) {
        REGIONS => StackGuards::Regions,
        _ => StackGuards::ProtectedPages,
    }
}

/// Bytes of a page.
pub(crate) fn page_bytes() -> usize {
    static PAGE: AtomicUsize = AtomicUsize::new(0);
    match PAGE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: the call takes an integer and touches no memory of ours.
            let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let bytes = usize::try_from(bytes).unwrap_or(4096);
            PAGE.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}

/// Reserves address space that can be read and written. Only pages that are touched cost memory, and no huge pages are
/// used for them: one would make a touched stack cost 2 MiB. Where all memory is to be locked (`mlockall(MCL_FUTURE)`) this is
/// exempt: the whole reservation would be filled at once.
pub(crate) fn reserve(bytes: usize) -> io::Result<usize> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON | libc::MAP_NORESERVE | libc::MAP_STACK;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range was just mapped. What cannot be accessed is not filled when it is locked, and is unlocked before it can
    // be.
    let opened = unsafe {
        libc::munlock(base, bytes);
        libc::mprotect(base, bytes, libc::PROT_READ | libc::PROT_WRITE)
    };
    if opened != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: mapped above, and nobody has seen it.
        unsafe { libc::munmap(base, bytes) };
        return Err(error);
    }
    #[cfg(target_os = "linux")]
    // SAFETY: the range was just mapped. A kernel without huge pages refuses, which is as good.
    unsafe {
        libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
    }
    Ok(base.expose_provenance())
}

/// How much more may be reserved, if that is limited and known: by `RLIMIT_AS`, `RLIMIT_DATA`, or a system that promises no more
/// memory than it has (`vm.overcommit_memory` of 2).
pub(crate) fn address_space_left() -> Option<usize> {
    fn limit_of(get: impl FnOnce(*mut libc::rlimit) -> libc::c_int) -> Option<usize> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let known = get(&raw mut limit) == 0 && limit.rlim_cur != libc::RLIM_INFINITY;
        known.then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
    }
    // SAFETY: the closures are called with a structure that is valid for the call.
    let space = limit_of(|limit| unsafe { libc::getrlimit(libc::RLIMIT_AS, limit) });
    // SAFETY: as above.
    let data = limit_of(|limit| unsafe { libc::getrlimit(libc::RLIMIT_DATA, limit) });
    let strict = std::fs::read("/proc/sys/vm/overcommit_memory").is_ok_and(|text| text.starts_with(b"2"));
    if space.is_none() && data.is_none() && !strict {
        return None;
    }
    // In pages: all of it, resident, shared, code, an unused field, data.
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let used = |field| {
        let pages: usize = text.split_whitespace().nth(field)?.parse().ok()?;
        Some(pages * page_bytes())
    };
    let space_left = space.and_then(|limit| Some(limit.saturating_sub(used(0)?)));
    let data_left = data.and_then(|limit| Some(limit.saturating_sub(used(5)?)));
    let promised_left = if strict { promised_left() } else { None };
    space_left.into_iter().chain(data_left).chain(promised_left).min()
}

/// How much memory the system may still promise.
fn promised_left() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1024)
    };
    Some(bytes("CommitLimit:")?.saturating_sub(bytes("Committed_AS:")?))
}

/// Gives address space back.
///
/// # Safety
///
/// The range was [reserved](reserve), and nobody uses it any more.
pub(crate) unsafe fn release(base: usize, bytes: usize) {
    // SAFETY: promised by the caller. An error would mean that there is nothing to give back.
    unsafe { libc::munmap(std::ptr::without_provenance_mut(base), bytes) };
}

/// Makes the pages that begin at these addresses guards. Says how many were made, in order, and if those are not all
/// why the next one was not.
///
/// # Safety
///
/// The pages are in [reserved](reserve) space, and nobody uses them.
pub(crate) unsafe fn guard(pages: &[usize]) -> (usize, io::Result<()>) {
    let mut done = 0;
    #[cfg(target_os = "linux")]
    if GUARDS.load(Ordering::Relaxed) != PROTECTED {
        // SAFETY: promised by the caller.
        let (count, result) = unsafe { super::linux::guards::install(pages) };
        // Some emulators and sandboxes say yes to everything: what was not tried out does not count.
        let real =
            GUARDS.load(Ordering::Relaxed) == REGIONS || super::linux::guards::is_real(&pages[..count]);
        done = if real { count } else { 0 };
        match result {
            Ok(()) if real => {
                GUARDS.store(REGIONS, Ordering::Relaxed);
                return (done, Ok(()));
            }
            // The kernel knows them but has no memory for the page tables.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => return (done, Err(error)),
            // Unknown to the kernel, refused, or pretended.
            _ => {}
        }
    }
    GUARDS.store(PROTECTED, Ordering::Relaxed);
    for &page in &pages[done..] {
        // SAFETY: promised by the caller.
        if let Err(error) = unsafe { protect(page) } {
            return (done, Err(error));
        }
        done += 1;
    }
    (done, Ok(()))
}

/// # Safety
///
/// As for [`guard`].
unsafe fn protect(page: usize) -> io::Result<()> {
    /// Protected pages there are in all.
    static PROTECTED_COUNT: AtomicUsize = AtomicUsize::new(0);
    // The rest of the process needs mappings too, and a failed allocation would be its end.
    if PROTECTED_COUNT.fetch_add(1, Ordering::Relaxed) >= protected_max() {
        PROTECTED_COUNT.fetch_sub(1, Ordering::Relaxed);
        return Err(io::Error::new(
            io::ErrorKind::OutOfMemory,
            "protected pages need two mappings for each stack, and nearly all that vm.max_map_count allows are in use",
        ));
    }
    // SAFETY: promised by the caller.
    let result =
        unsafe { libc::mprotect(std::ptr::without_provenance_mut(page), page_bytes(), libc::PROT_NONE) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    PROTECTED_COUNT.fetch_sub(1, Ordering::Relaxed);
    Err(error)
}

/// How many pages may be protected.
fn protected_max() -> usize {
    /// Mappings left to the rest of the process.
    const SPARE_MAPPINGS: usize = 4096;
    const MAPPINGS_DEFAULT: usize = 65_530;
    static MAX: AtomicUsize = AtomicUsize::new(0);
    let mut max = MAX.load(Ordering::Relaxed);
    if max == 0 {
        let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
        let mappings = text.trim().parse().unwrap_or(MAPPINGS_DEFAULT);
        max = (mappings.saturating_sub(SPARE_MAPPINGS) / 2).max(16);
        MAX.store(max, Ordering::Relaxed);
    }
    max
}

/// Gives the memory of these ranges back; they read as zero afterwards, and guards in them stay.
///
/// # Safety
///
/// The ranges are in [reserved](reserve) space, and nobody needs what is in them.
pub(crate) unsafe fn discard(ranges: &[(usize, usize)]) {
    #[cfg(target_os = "linux")]
    // SAFETY: promised by the caller.
    let done = unsafe { super::linux::guards::discard(ranges) };
    #[cfg(not(target_os = "linux"))]
    let done = 0;
    for &(base, bytes) in &ranges[done..] {
        // SAFETY: promised by the caller. Should the kernel refuse, the memory is kept.
        unsafe {
            #[cfg(target_os = "linux")]
            libc::madvise(std::ptr::without_provenance_mut(base), bytes, libc::MADV_DONTNEED);
            #[cfg(not(target_os = "linux"))]
            libc::madvise(std::ptr::without_provenance_mut(base), bytes, libc::MADV_FREE);
        }
    }
}

/// Sets a byte for each page of the range; odd if the page is in memory. False if the system does not tell.
pub(crate) fn resident(base: usize, bytes: usize, pages: &mut [u8]) -> bool {
    assert!(pages.len() >= bytes.div_ceil(page_bytes()));
    // SAFETY: the kernel reads nothing behind the first address, and writes a byte for each page, for which there is room.
    unsafe { libc::mincore(std::ptr::without_provenance_mut(base), bytes, pages.as_mut_ptr().cast()) == 0 }
}
