//! A process without huge pages, for as long as a benchmark wants.

use std::io;

use nix::sys::prctl::{get_thp_disable, set_thp_disable};

/// While it lives, the kernel gives this process no huge pages, asked for or not. What is huge
/// already stays so.
#[derive(Debug)]
pub struct SmallPagesOnly {
    before: bool,
}

impl SmallPagesOnly {
    /// Switches them off, until it is dropped.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | `EINVAL` | a kernel without the switch | leave the question out |
    pub fn new() -> io::Result<Self> {
        let before = get_thp_disable()?;
        set_thp_disable(true)?;
        Ok(Self { before })
    }
}

impl Drop for SmallPagesOnly {
    fn drop(&mut self) {
        if let Err(error) = set_thp_disable(self.before) {
            eprintln!("bench: huge pages are still switched off: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_is_put_back() {
        let before = get_thp_disable().unwrap();
        let small = SmallPagesOnly::new().unwrap();
        assert!(get_thp_disable().unwrap());
        drop(small);
        assert_eq!(get_thp_disable().unwrap(), before);
    }
}
