//! A dump whenever the process gets `SIGQUIT`, which terminals send for Ctrl-\.
//!
//! The handler writes a byte to a socket, which is all that is safe to do there; a thread that reads from it prints the dump.

#![expect(unsafe_code, reason = "a signal handler")]

use super::dump::dump_all;
use crate::error::complain;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Where the handler writes to; written once, before it is installed.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// From now on `SIGQUIT` (Ctrl-\ in a terminal, `kill -QUIT`) prints [`dump_all`] on standard error, and the process goes on: a look at a program that hangs.
///
/// The dump is printed by a thread of its own, `ramie-sigquit`, so it comes whatever the workers are doing. Signals that arrive while one is printed
/// make one more at the most.
///
/// The signal is ramie's then, for good: a handler that was there before is not called, and there is no way back. The usual effect of
/// the signal, to end the process with a core file, is left to `SIGABRT`. Further calls do nothing.
///
/// # Errors
///
/// If the operating system gives no socket, thread or handler; nothing has changed then.
///
/// # Examples
///
/// ```
/// fn main() -> std::io::Result<()> {
///     ramie::dump_on_sigquit()?;
///     // ...
///     Ok(())
/// }
/// ```
pub fn dump_on_sigquit() -> io::Result<()> {
    static INSTALLED: Mutex<bool> = Mutex::new(false);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if *installed {
        return Ok(());
    }
    let (wake, woken) = UnixStream::pair()?;
    // The handler must not block; if there is no room, the thread has enough to read.
    wake.set_nonblocking(true)?;
    // The thread ends with an error if the handler could not be installed, which closes the other end.
    std::thread::Builder::new().name("ramie-sigquit".into()).spawn(|| print_when_woken(woken))?;
    install(&wake)?;
    // Never closed: the handler stays.
    let _ = wake.into_raw_fd();
    *installed = true;
    Ok(())
}

fn install(wake: &UnixStream) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    WAKE.store(wake.as_raw_fd(), Ordering::Release);
    // SAFETY: zero is a valid `sigaction`, the structure is valid for the call, and the handler does only what is safe in one.
    let result = unsafe {
        let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
        action.sa_sigaction = on_quit as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGQUIT, &raw const action, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

extern "C" fn on_quit(_: libc::c_int) {
    // The code that was interrupted may be about to look at its error. There is no name for that place that is the same on all systems.
    let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
    let byte = 0_u8;
    // SAFETY: the call reads one byte that is there.
    unsafe { libc::write(WAKE.load(Ordering::Acquire), ptr::from_ref(&byte).cast(), 1) };
    set_error(error);
}

fn set_error(error: libc::c_int) {
    // SAFETY: each returns the address of the thread's own variable.
    unsafe {
        #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "redox"))]
        let place = libc::__errno_location();
        #[cfg(any(target_vendor = "apple", target_os = "freebsd"))]
        let place = libc::__error();
        #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
        let place = libc::__errno();
        #[cfg(not(any(
            target_os = "linux",
            target_os = "emscripten",
            target_os = "redox",
            target_vendor = "apple",
            target_os = "freebsd",
            target_os = "android",
            target_os = "netbsd",
            target_os = "openbsd"
        )))]
        let place: *mut libc::c_int = ptr::null_mut();
        if !place.is_null() {
            *place = error;
        }
    }
}

fn print_when_woken(mut woken: UnixStream) {
    let mut bytes = [0; 64];
    loop {
        match woken.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => complain!("ramie: SIGQUIT\n{}\n", dump_all()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
