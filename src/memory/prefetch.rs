//! Hints to the processor about what memory will be needed soon. Any address will do, and nothing depends on them.

#![expect(unsafe_code, reason = "intrinsics and instructions without an intrinsic")]

/// This address will be read soon.
#[inline(always)]
pub(crate) fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch of an address that is not mapped does nothing, and every x86-64 processor has it.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}

/// This address will be written to soon: fetches its cache line for this processor alone, where [`prefetch`] would have it
/// shared, and the write would wait for that to end.
#[inline(always)]
pub(crate) fn prefetch_for_write(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: as above. Processors without this instruction treat it as one that does nothing; all that run 64-bit code do
    // the one or the other.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
