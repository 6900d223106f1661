//! The control state of floating-point arithmetic: rounding, flushing of denormals, which exceptions trap.
//!
//! A switch of stacks leaves it as it is, so what one job sets (`MXCSR` on x86-64, `FPCR` on AArch64) holds for whatever runs on the
//! worker next, until it is set again. A system can be built so that it belongs to the fiber
//! ([`Builder::isolate_float_control`](crate::Builder::isolate_float_control)): then a fiber reads its own before it suspends, and
//! when it is resumed and finds another one, puts its own back. Nothing is written as long as nobody changes anything.
//!
//! PERF: reading the register takes some nanoseconds of the 30 to 40 of a wait (bench `switch`), so it is not done unless asked for. What it
//! holds when a fiber is resumed is known without another read: what the fiber had that was suspended last on that worker.
//!
//! The x87 control word, which compilers do not use for `f32` and `f64` on x86-64, is not looked at.

#![expect(unsafe_code, reason = "registers that have no other name")]

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FloatControl(imp::Word);

impl FloatControl {
    /// That of the calling thread now.
    #[inline(always)]
    pub(crate) fn read() -> Self {
        Self(imp::read())
    }

    /// Makes this the calling thread's, if `now`, which is what that has, is another one.
    #[inline(always)]
    pub(crate) fn restore_from(self, now: Self) {
        if (now.0 ^ self.0) & imp::CONTROL != 0 {
            self.write();
        }
    }

    #[cold]
    #[inline(never)]
    fn write(self) {
        // SAFETY: to the code around a suspension nothing has changed: it had this state before. That somebody else has left another
        // one is what that other code answers for.
        unsafe { imp::write(self.0) };
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod imp {
    use std::arch::asm;

    pub(super) type Word = u32;

    /// All but the flags that say which exceptions there were.
    pub(super) const CONTROL: Word = !0x3f;

    #[inline(always)]
    pub(super) fn read() -> Word {
        let mut word = 0;
        // SAFETY: stores the register into `word` and does nothing else.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack, preserves_flags)) };
        word
    }

    /// # Safety
    ///
    /// The word was read from the register, and the surrounding code expects it there.
    #[inline(always)]
    pub(super) unsafe fn write(word: Word) {
        // SAFETY: promised by the caller.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack, readonly, preserves_flags)) };
    }
}

#[cfg(all(target_arch = "aarch64", not(miri)))]
mod imp {
    use std::arch::asm;

    pub(super) type Word = u64;

    /// The flags are in another register.
    pub(super) const CONTROL: Word = !0;

    #[inline(always)]
    pub(super) fn read() -> Word {
        let word;
        // SAFETY: reads a register.
        unsafe { asm!("mrs {}, fpcr", out(reg) word, options(nomem, nostack, preserves_flags)) };
        word
    }

    /// # Safety
    ///
    /// The word was read from the register, and the surrounding code expects it there.
    #[inline(always)]
    pub(super) unsafe fn write(word: Word) {
        // SAFETY: promised by the caller.
        unsafe { asm!("msr fpcr, {}", in(reg) word, options(nomem, nostack, preserves_flags)) };
    }
}

/// Elsewhere the control state is the worker's.
#[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
mod imp {
    pub(super) type Word = u32;
    pub(super) const CONTROL: Word = 0;

    #[inline(always)]
    pub(super) fn read() -> Word {
        0
    }

    /// # Safety
    ///
    /// None is needed: it does nothing.
    #[inline(always)]
    pub(super) unsafe fn write(_: Word) {}
}
