//! Notices a case that hangs.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::seed::Seed;

/// No case takes this long, even on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(300);

/// A thread that ends the process when a case takes too long.
#[derive(Debug)]
pub(crate) struct Watch {
    tell: Option<Sender<Option<Seed>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(crate) fn start(name: &str) -> Self {
        let (tell, told) = mpsc::channel::<Option<Seed>>();
        let name = name.to_owned();
        let thread = std::thread::spawn(move || {
            let mut playing = None;
            loop {
                match told.recv_timeout(PATIENCE) {
                    Ok(seed) => playing = seed,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        if let Some(seed) = playing {
                            eprintln!(
                                "fuzz: {name}: the case with seed {seed} hangs; again: \
                                 ./x fuzz {name} --seed {seed}"
                            );
                            std::process::abort();
                        }
                    }
                }
            }
        });
        Self { tell: Some(tell), thread: Some(thread) }
    }

    pub(crate) fn begin(&self, seed: Seed) {
        self.send(Some(seed));
    }

    pub(crate) fn end(&self) {
        self.send(None);
    }

    fn send(&self, seed: Option<Seed>) {
        if let Some(tell) = &self.tell {
            // The thread lives as long as this.
            let _ = tell.send(seed);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.tell.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
