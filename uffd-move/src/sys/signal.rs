//! The process's handler for SIGBUS and SIGSEGV: ours first, then whoever was there before.

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use nix::errno::Errno;

use super::route_table::{FaultSignal, SignalFault, Verdict, serve};

/// The handler that was there before ours.
struct Previous {
    // Leaked: a handler may hold the pointer at any time.
    action: AtomicPtr<libc::sigaction>,
    // It asked for one call only, and has had it.
    spent: AtomicBool,
}

impl Previous {
    const fn none() -> Self {
        Self { action: AtomicPtr::new(ptr::null_mut()), spent: AtomicBool::new(false) }
    }
}

static BEFORE_BUS: Previous = Previous::none();
static BEFORE_SEGV: Previous = Previous::none();

impl FaultSignal {
    fn number(self) -> i32 {
        match self {
            Self::Bus => libc::SIGBUS,
            Self::Segv => libc::SIGSEGV,
        }
    }

    fn previous(self) -> &'static Previous {
        match self {
            Self::Bus => &BEFORE_BUS,
            Self::Segv => &BEFORE_SEGV,
        }
    }

    /// Whether the kernel raised the signal because memory that is there could not be accessed
    /// now. Anything else (unmapped memory, misalignment, a memory error, `kill`) is not ours.
    fn is_fault_of_ours(self, code: i32) -> bool {
        match self {
            Self::Bus => code == libc::BUS_ADRERR,
            Self::Segv => code == SEGV_ACCERR,
        }
    }
}

// As in <asm-generic/siginfo.h>; the libc crate does not have it.
const SEGV_ACCERR: i32 = 2;

extern "C" fn on_signal(number: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let errno = Errno::last_raw();
    let signal = if number == libc::SIGBUS { FaultSignal::Bus } else { FaultSignal::Segv };
    // SAFETY: the kernel calls an SA_SIGINFO handler with a valid siginfo.
    let info_ref = unsafe { &*info };
    let code = info_ref.si_code;
    let mut verdict = Verdict::NotMine;
    if signal.is_fault_of_ours(code) {
        // SAFETY: with these codes the kernel has filled in the address.
        let addr = unsafe { info_ref.si_addr() }.addr();
        verdict = serve(SignalFault { addr, signal, code });
    }
    if verdict == Verdict::NotMine {
        chain(signal, code, info, context);
    }
    Errno::set_raw(errno);
}

/// Installs our handler for `signal`, once in the life of the process. The caller holds the lock
/// of the route table.
pub(super) fn install(signal: FaultSignal) -> Result<(), Errno> {
    let previous = signal.previous();
    if !previous.action.load(Ordering::SeqCst).is_null() {
        return Ok(());
    }
    // Our handler may run as soon as it is installed, and must find the previous one. So ask
    // first, and correct it if another thread was quicker.
    let before = exchange(signal, None)?;
    previous.action.store(Box::into_raw(Box::new(before)), Ordering::SeqCst);
    let handler: SigInfoHandler = on_signal;
    // SA_NODEFER: a handler may touch a page that is missing in turn.
    let flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER | libc::SA_RESTART;
    match exchange(signal, Some(&action(handler as libc::sighandler_t, flags))) {
        Ok(replaced) => {
            if replaced.sa_sigaction != before.sa_sigaction {
                previous.action.store(Box::into_raw(Box::new(replaced)), Ordering::SeqCst);
            }
            Ok(())
        }
        Err(errno) => {
            previous.action.store(ptr::null_mut(), Ordering::SeqCst);
            Err(errno)
        }
    }
}

type SigInfoHandler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
type PlainHandler = extern "C" fn(i32);

fn action(handler: libc::sighandler_t, flags: i32) -> libc::sigaction {
    // SAFETY: zero is a valid value of every field: SIG_DFL, no flags, empty mask, no restorer.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    action
}

/// Sets the action of `signal` if there is a new one, and returns what it was.
fn exchange(signal: FaultSignal, new: Option<&libc::sigaction>) -> Result<libc::sigaction, Errno> {
    let mut old = action(libc::SIG_DFL, 0);
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or a filled-in action whose handler is ours or the default, `old` has
    // room for one.
    Errno::result(unsafe { libc::sigaction(signal.number(), new, &raw mut old) })?;
    Ok(old)
}

/// Does what would have happened without us.
fn chain(signal: FaultSignal, code: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let previous = signal.previous();
    // SAFETY: null or leaked, hence alive.
    let Some(action) = (unsafe { previous.action.load(Ordering::SeqCst).as_ref() }) else {
        // `install` stores it before our handler can run. The default is the safe answer.
        return die(signal, code);
    };
    let one_shot = action.sa_flags & libc::SA_RESETHAND != 0;
    match action.sa_sigaction {
        libc::SIG_DFL => die(signal, code),
        // The kernel does not let a thread ignore its own fault: it would fault for ever.
        libc::SIG_IGN if code > 0 => die(signal, code),
        libc::SIG_IGN => {}
        _ if one_shot && previous.spent.swap(true, Ordering::SeqCst) => die(signal, code),
        _ => call(signal, action, info, context),
    }
}

/// Gives the default action back. A fault happens again when we return, and then kills; a signal
/// that somebody sent must be sent again.
fn die(signal: FaultSignal, code: i32) {
    let default = action(libc::SIG_DFL, 0);
    let _ = exchange(signal, Some(&default));
    if code <= 0 {
        // SAFETY: raising a signal touches no memory of ours.
        unsafe { libc::raise(signal.number()) };
    }
}

/// Calls the previous handler the way the kernel would: with its mask, and blocked against itself
/// unless it asked not to be. (What cannot be had any more is another stack.)
fn call(
    signal: FaultSignal,
    previous: &libc::sigaction,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let mut mask = previous.sa_mask;
    if previous.sa_flags & libc::SA_NODEFER == 0 {
        // SAFETY: `mask` is a signal set.
        unsafe { libc::sigaddset(&raw mut mask, signal.number()) };
    }
    let mut before = mask;
    // SAFETY: both are signal sets, one to read, one to write. It is async-signal-safe.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, &raw mut before) };
    if previous.sa_flags & libc::SA_SIGINFO == 0 {
        // SAFETY: neither SIG_DFL nor SIG_IGN, and without SA_SIGINFO: a function of this type.
        let handler: PlainHandler = unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal.number());
    } else {
        // SAFETY: with SA_SIGINFO it is a function of this type.
        let handler: SigInfoHandler = unsafe { std::mem::transmute(previous.sa_sigaction) };
        handler(signal.number(), info, context);
    }
    // SAFETY: `before` is the set that was in force.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
}
