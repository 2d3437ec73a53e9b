//! Opening a userfaultfd: two doors, one handshake, and an answer that says what was got.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use userfaultfd::Uffd;

use crate::features::Features;
use crate::sys::uapi;
use crate::sys::{self, DeviceError, UffdIoctl, from_device, from_syscall};

/// Whether reading events waits for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "O_NONBLOCK")]
pub enum Blocking {
    /// Reading waits. `poll` on such a descriptor only ever says "error".
    Block,
    /// Reading returns at once; `poll` waits.
    #[default]
    Poll,
}

/// Whether a program started by `execve` inherits the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[doc(alias = "O_CLOEXEC")]
pub enum OnExec {
    /// It does not.
    #[default]
    Close,
    /// It does.
    Keep,
}

/// Whose faults the descriptor handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum FaultScope {
    /// Those of user code and those of the kernel in a system call.
    UserAndKernel,
    /// Those of user code. A system call that meets a missing page fails with `EFAULT`.
    #[doc(alias = "UFFD_USER_MODE_ONLY")]
    UserOnly,
}

impl fmt::Display for FaultScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UserAndKernel => "user and kernel mode faults",
            Self::UserOnly => "user mode faults only",
        })
    }
}

/// By which door the descriptor came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum OpenedVia {
    /// `/dev/userfaultfd`; the file's permissions decide.
    Device,
    /// `userfaultfd(2)`; privilege and `vm.unprivileged_userfaultfd` decide.
    SystemCall,
}

impl fmt::Display for OpenedVia {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "/dev/userfaultfd",
            Self::SystemCall => "userfaultfd(2)",
        })
    }
}

/// What to ask for.
///
/// # Examples
///
/// ```no_run
/// use uffd_move::{Features, OpenOptions};
///
/// let opened = OpenOptions::new()
///     .require(Features::SIGBUS)
///     .wish(Features::MOVE | Features::EXACT_ADDRESS)
///     .open()?;
/// println!("{} by {}, features {:?}", opened.scope, opened.via, opened.features);
/// # Ok::<(), uffd_move::OpenError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    required: Features,
    wished: Features,
    blocking: Blocking,
    on_exec: OnExec,
    widest: FaultScope,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// No feature, [`Blocking::Poll`], [`OnExec::Close`], the widest [`FaultScope`] to be had.
    pub fn new() -> Self {
        Self {
            required: Features::empty(),
            wished: Features::empty(),
            blocking: Blocking::default(),
            on_exec: OnExec::default(),
            widest: FaultScope::UserAndKernel,
        }
    }

    /// Fails to open if the kernel lacks one of `features`.
    #[must_use]
    pub fn require(mut self, features: Features) -> Self {
        self.required |= features;
        self
    }

    /// Asks for those of `features` that the kernel has.
    #[must_use]
    pub fn wish(mut self, features: Features) -> Self {
        self.wished |= features;
        self
    }

    /// Whether reading events waits.
    #[must_use]
    pub fn blocking(mut self, blocking: Blocking) -> Self {
        self.blocking = blocking;
        self
    }

    /// What happens to the descriptor on `execve`.
    #[must_use]
    pub fn on_exec(mut self, on_exec: OnExec) -> Self {
        self.on_exec = on_exec;
        self
    }

    /// Takes no wider scope than `scope`, even if it could be had.
    #[must_use]
    pub fn widest_scope(mut self, scope: FaultScope) -> Self {
        self.widest = scope;
        self
    }

    /// Opens a userfaultfd and does the handshake.
    ///
    /// The device is tried first. If it is not there, or not for us, the system call is; first the
    /// privileged form, then user mode only.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | [`OpenError::Refused`] | neither door opens; the two answers say why | permit the device, or `vm.unprivileged_userfaultfd`, or lift the seccomp filter |
    /// | [`OpenError::MissingFeatures`] | the kernel lacks a required feature | do without it |
    /// | [`OpenError::Handshake`] | the kernel refused the handshake | `EPERM`: [`Features::EVENT_FORK`] needs `CAP_SYS_PTRACE` |
    ///
    /// # References
    ///
    /// `userfaultfd(2)`, `UFFDIO_API(2const)`
    pub fn open(&self) -> Result<Opened, OpenError> {
        // A handshake is once per descriptor, and asking for a feature that is not there fails it.
        // So learn what there is on a throw-away descriptor.
        let (probe, ..) = self.descriptor()?;
        let (offered, _) = handshake(&probe, Features::empty())?;
        drop(probe);

        let missing = self.required.difference(offered);
        if !missing.is_empty() {
            return Err(OpenError::MissingFeatures { missing, offered });
        }
        let wanted = self.required | (self.wished & offered);
        let (fd, via, scope) = self.descriptor()?;
        let (offered, ioctls) = handshake(&fd, wanted)?;
        tracing::debug!(%via, %scope, ?wanted, "userfaultfd opened");
        Ok(Opened { uffd: sys::into_uffd(fd), features: wanted, offered, ioctls, via, scope })
    }

    fn descriptor(&self) -> Result<(OwnedFd, OpenedVia, FaultScope), OpenError> {
        let blocking = match self.blocking {
            Blocking::Block => 0,
            Blocking::Poll => libc::O_NONBLOCK,
        };
        let on_exec = match self.on_exec {
            OnExec::Close => libc::O_CLOEXEC,
            OnExec::Keep => 0,
        };
        let flags = blocking | on_exec;
        let user_only = flags | uapi::UFFD_USER_MODE_ONLY;

        let device_flags = match self.widest {
            FaultScope::UserAndKernel => flags,
            FaultScope::UserOnly => user_only,
        };
        let device = match from_device(device_flags) {
            Ok(fd) => return Ok((fd, OpenedVia::Device, self.widest)),
            Err(error) => error,
        };
        let syscall = match self.widest {
            FaultScope::UserAndKernel => {
                from_syscall(flags).map(|fd| (fd, FaultScope::UserAndKernel)).or_else(|first| {
                    // The answer to the plain form says why; before 5.11 the flag is EINVAL.
                    from_syscall(user_only)
                        .map(|fd| (fd, FaultScope::UserOnly))
                        .map_err(|second| if second == Errno::EINVAL { first } else { second })
                })
            }
            FaultScope::UserOnly => {
                from_syscall(user_only).map(|fd| (fd, FaultScope::UserOnly)).or_else(|first| {
                    match first {
                        // Before 5.11 there is no such flag, and no privilege is needed.
                        Errno::EINVAL => {
                            from_syscall(flags).map(|fd| (fd, FaultScope::UserAndKernel))
                        }
                        other => Err(other),
                    }
                })
            }
        };
        match syscall {
            Ok((fd, scope)) => Ok((fd, OpenedVia::SystemCall, scope)),
            Err(syscall) => Err(OpenError::Refused { device: device.into(), syscall }),
        }
    }
}

/// Opens a userfaultfd with `options`; the same as [`OpenOptions::open`].
///
/// # Errors
///
/// See [`OpenOptions::open`].
pub fn open(options: &OpenOptions) -> Result<Opened, OpenError> {
    options.open()
}

/// An open userfaultfd, after the handshake, and what is known of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The handle, as the `userfaultfd` crate has it.
    pub uffd: Uffd,
    /// The features that are on: the required ones, and those of the wished that there are.
    pub features: Features,
    /// All features that this kernel has.
    pub offered: Features,
    /// Requests that the descriptor accepts (bit numbers as in the header).
    pub ioctls: u64,
    /// By which door it came.
    pub via: OpenedVia,
    /// Whose faults it handles.
    pub scope: FaultScope,
}

/// Why there is no userfaultfd.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Neither the device nor the system call gave a descriptor.
    #[error("no userfaultfd: /dev/userfaultfd: {device}; userfaultfd(2): {syscall}")]
    Refused {
        /// What the device said.
        device: io::Error,
        /// What the system call said, in the least privileged form that the kernel knows.
        #[source]
        syscall: Errno,
    },
    /// The kernel does not have a required feature.
    #[error("this kernel lacks the userfaultfd features {missing:?} (it has {offered:?})")]
    MissingFeatures {
        /// Those required and not there.
        missing: Features,
        /// All that are there.
        offered: Features,
    },
    /// The handshake failed.
    #[error("userfaultfd handshake failed")]
    Handshake {
        /// What the kernel answered.
        #[source]
        errno: Errno,
    },
}

impl From<DeviceError> for io::Error {
    fn from(error: DeviceError) -> Self {
        match error {
            DeviceError::Open(error) => error,
            DeviceError::New(errno) => errno.into(),
        }
    }
}

fn handshake<K: UffdIoctl>(uffd: &K, features: Features) -> Result<(Features, u64), OpenError> {
    let mut api = uapi::uffdio_api { api: uapi::UFFD_API, features: features.bits(), ioctls: 0 };
    sys::handshake(uffd, &mut api).map_err(|errno| OpenError::Handshake { errno })?;
    Ok((Features::from_bits_retain(api.features), api.ioctls))
}
