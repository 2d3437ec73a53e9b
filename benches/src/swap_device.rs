//! A swap device in compressed memory (zram), for as long as a benchmark runs.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The device.
const NAME: &str = "zram0";

/// A swap device that nobody else uses; taken down when it is dropped.
#[derive(Debug)]
pub struct SwapDevice(());

impl SwapDevice {
    /// Sets up a device of `mib` MiB, if there is no swap at all and nobody uses the device.
    ///
    /// # Errors
    ///
    /// | outcome | meaning | what to do |
    /// |---|---|---|
    /// | the reason | no rights, no zram, or swap that is somebody else's | measure elsewhere |
    pub fn new(mib: u64) -> Result<Self, String> {
        let swaps = fs::read_to_string("/proc/swaps").map_err(|error| error.to_string())?;
        if swaps.lines().count() > 1 {
            return Err("there is swap already, and it is not ours".to_owned());
        }
        if !Path::new("/sys/block").join(NAME).exists() {
            // Where it is a module; a failure shows below.
            let _ = run("modprobe", &["zram"]);
        }
        let size = fs::read_to_string(setting("disksize"))
            .map_err(|error| format!("no {NAME}: {error}"))?;
        if size.trim() != "0" {
            return Err(format!("{NAME} is in use"));
        }
        fs::write(setting("disksize"), format!("{mib}M"))
            .map_err(|error| format!("setting up {NAME}: {error}"))?;
        // From here on dropping takes it down again.
        let device = Self(());
        let path = format!("/dev/{NAME}");
        run("mkswap", &[&path])?;
        run("swapon", &[&path])?;
        Ok(device)
    }
}

impl Drop for SwapDevice {
    fn drop(&mut self) {
        let off = run("swapoff", &[&format!("/dev/{NAME}")]);
        let reset = fs::write(setting("reset"), "1");
        if let (Err(error), Err(_)) = (off, reset) {
            eprintln!("bench: {NAME} is still there: {error}");
        }
    }
}

fn setting(name: &str) -> String {
    format!("/sys/block/{NAME}/{name}")
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program}: {}", text.trim()))
}
