//! Faults: a handler for `SIGSEGV` and `SIGBUS` that asks whether a stack has overflowed, and hands everything else on to the
//! handler that was there before.
//!
//! A fault on an overflowed stack can only be handled on another stack. Rust's runtime gives every thread that it starts
//! an alternate one; threads of other languages' programs may have none, so workers see to it that they have.

#![expect(unsafe_code, reason = "signal handlers")]

use super::{page_bytes, release, reserve};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Once;

/// An access that could not be carried out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The address that was accessed.
    pub(crate) address: usize,
    /// The stack pointer of the code that did it, where that is known.
    pub(crate) stack_pointer: Option<usize>,
}

/// Called in a signal handler: may use what is safe to use there, and returns unless it knows the fault.
pub(crate) type Look = fn(Fault);

const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// The handlers that were there before, in the order of [`SIGNALS`].
struct Before(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS.len()]>);

// SAFETY: written once, before the handler that reads it is installed.
unsafe impl Sync for Before {}

static BEFORE: Before = Before(UnsafeCell::new([const { MaybeUninit::uninit() }; SIGNALS.len()]));
static LOOK: std::sync::OnceLock<Look> = std::sync::OnceLock::new();

/// Installs the handler, once for the process.
pub(crate) fn install(look: Look) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = LOOK.set(look);
        for (index, &signal) in SIGNALS.iter().enumerate() {
            // SAFETY: `Once` makes this the only writer, and nobody reads before the handler is installed. All structures
            // are valid for the calls, and zero is a valid `sigaction`.
            unsafe {
                let before = &raw mut (*BEFORE.0.get())[index];
                if libc::sigaction(signal, ptr::null(), before.cast()) != 0 {
                    continue;
                }
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = on_fault as *const () as libc::sighandler_t;
                let before = (*before).assume_init_ref();
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & libc::SA_NODEFER;
                action.sa_mask = before.sa_mask;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    });
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes valid structures; it tells of an address unless somebody has sent the signal.
    unsafe {
        if let (Some(look), false) = (LOOK.get(), was_sent(info)) {
            look(Fault { address: (*info).si_addr().addr(), stack_pointer: stack_pointer_of(context) });
        }
    }
    // SAFETY: this is the handler, with the arguments that it was called with.
    unsafe { hand_on(signal, info, context) };
}

/// Whether the signal was sent by somebody, rather than raised by an access.
///
/// # Safety
///
/// `info` is what the kernel passed to the handler.
unsafe fn was_sent(info: *mut libc::siginfo_t) -> bool {
    // SAFETY: promised by the caller.
    unsafe { (*info).si_code <= 0 }
}

/// Does what would have been done without this handler.
///
/// # Safety
///
/// Called by the handler with its own arguments.
unsafe fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let index = SIGNALS.iter().position(|&known| known == signal).unwrap_or(0);
    // SAFETY: initialised before this handler was installed, and not changed since.
    unsafe {
        let before = (*BEFORE.0.get())[index].assume_init_ref();
        match before.sa_sigaction {
            libc::SIG_IGN if was_sent(info) => {}
            // The access is repeated when this returns, and has its usual effect then. To ignore a fault is not possible.
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
                if was_sent(info) {
                    // Nothing will be repeated.
                    libc::raise(signal);
                }
            }
            handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                type WithInfo = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
                let handler: WithInfo =
                    std::mem::transmute::<*const (), WithInfo>(ptr::with_exposed_provenance(handler));
                handler(signal, info, context);
            }
            handler => {
                type Plain = unsafe extern "C" fn(libc::c_int);
                let handler: Plain =
                    std::mem::transmute::<*const (), Plain>(ptr::with_exposed_provenance(handler));
                handler(signal);
            }
        }
    }
}

/// # Safety
///
/// `context` is what the kernel passed to the handler.
unsafe fn stack_pointer_of(context: *mut libc::c_void) -> Option<usize> {
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    // SAFETY: promised by the caller.
    return unsafe {
        let context = &*context.cast::<libc::ucontext_t>();
        usize::try_from(context.uc_mcontext.gregs[libc::REG_RSP as usize]).ok()
    };
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    // SAFETY: promised by the caller.
    return unsafe { usize::try_from((*context.cast::<libc::ucontext_t>()).uc_mcontext.sp).ok() };
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    {
        let _ = context;
        None
    }
}

/// An alternate stack for the handlers of a thread that had none; must be dropped on that thread.
#[derive(Debug)]
pub(crate) struct AlternateStack {
    base: usize,
    bytes: usize,
}

impl AlternateStack {
    /// Gives the calling thread one, unless it has one or there is no memory for it.
    pub(crate) fn for_this_thread() -> Option<Self> {
        const BYTES: usize = 64 * 1024;
        // SAFETY: zero is a valid `stack_t`, and the call only writes it.
        let current = unsafe {
            let mut current: libc::stack_t = MaybeUninit::zeroed().assume_init();
            (libc::sigaltstack(ptr::null(), &raw mut current) == 0).then_some(current)
        }?;
        if current.ss_flags & libc::SS_DISABLE == 0 {
            return None;
        }
        let bytes = BYTES.next_multiple_of(page_bytes());
        let base = reserve(bytes).ok()?;
        // SAFETY: zero is a valid `stack_t`; the range was just reserved, and stays until it is no longer the alternate
        // stack.
        unsafe {
            let mut ours: libc::stack_t = MaybeUninit::zeroed().assume_init();
            ours.ss_sp = ptr::without_provenance_mut(base);
            ours.ss_size = bytes;
            if libc::sigaltstack(&raw const ours, ptr::null_mut()) != 0 {
                release(base, bytes);
                return None;
            }
        }
        Some(Self { base, bytes })
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: dropped on the thread that it was made for, outside of any handler.
        unsafe {
            let mut none: libc::stack_t = MaybeUninit::zeroed().assume_init();
            none.ss_flags = libc::SS_DISABLE;
            // Some systems look at the size all the same.
            none.ss_size = self.bytes;
            let mut current: libc::stack_t = MaybeUninit::zeroed().assume_init();
            libc::sigaltstack(&raw const none, &raw mut current);
            if current.ss_sp.addr() == self.base {
                release(self.base, self.bytes);
            } else if current.ss_flags & libc::SS_DISABLE == 0 {
                // Somebody has replaced it: theirs stays.
                libc::sigaltstack(&raw const current, ptr::null_mut());
            }
        }
    }
}

/// Writes to standard error, in a signal handler.
pub(crate) fn write_error(text: &[u8]) {
    let mut left = text;
    while !left.is_empty() {
        // SAFETY: the range is valid, and the call only reads it.
        let written = unsafe { libc::write(libc::STDERR_FILENO, left.as_ptr().cast(), left.len()) };
        match usize::try_from(written) {
            Ok(written @ 1..) => left = &left[written.min(left.len())..],
            _ => return,
        }
    }
}
