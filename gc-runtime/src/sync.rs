//! What threads share: from the standard library and crossbeam, or, when page states, free chunks or
//! the portions of marking are model-checked, from loom.

#[cfg(loom)]
pub(crate) use self::modelled::*;
#[cfg(not(loom))]
pub(crate) use self::real::*;

#[cfg(not(loom))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use std::thread::yield_now;

    pub(crate) use crossbeam_deque::Injector;
}

#[cfg(loom)]
mod modelled {
    use std::collections::VecDeque;

    use crossbeam_deque::Steal;
    use loom::sync::Mutex;
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
    pub(crate) use loom::thread::yield_now;

    /// The queue of crossbeam, which loom cannot look into, as far as it is used.
    #[derive(Debug)]
    pub(crate) struct Injector<T>(Mutex<VecDeque<T>>);

    impl<T> Default for Injector<T> {
        fn default() -> Self {
            Self(Mutex::new(VecDeque::new()))
        }
    }

    impl<T> Injector<T> {
        pub(crate) fn push(&self, item: T) {
            self.0.lock().unwrap().push_back(item);
        }

        pub(crate) fn steal(&self) -> Steal<T> {
            self.0.lock().unwrap().pop_front().map_or(Steal::Empty, Steal::Success)
        }

        pub(crate) fn len(&self) -> usize {
            self.0.lock().unwrap().len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.len() == 0
        }
    }
}
