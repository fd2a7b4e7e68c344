//! Processes of others: started with a log of their own, looked at through /proc, ended.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// A process that this one started. It does not outlive its owner.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Where its output goes.
    pub(crate) log: PathBuf,
}

impl Process {
    /// Starts a program with its output in `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot create {}", log.display()))?;
        let both = file.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(both).spawn();
        let child = child.with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Ends it at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name. Through the shell: its `kill` is everywhere.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status()?;
        if !sent.success() {
            bail!("SIG{name} could not be sent to process {}", self.pid());
        }
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits; `None` when it has not ended within the limit.
    pub(crate) fn stop(&mut self, limit: Duration) -> Result<Option<(ExitStatus, Duration)>> {
        let begun = Instant::now();
        self.signal("TERM")?;
        while begun.elapsed() < limit {
            if let Some(status) = self.ended() {
                return Ok(Some((status, begun.elapsed())));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(None)
    }

    /// Waits for its end; `None` when it has not ended within the limit, and is killed.
    pub(crate) fn used(&mut self, limit: Duration) -> Result<Option<Used>> {
        let begun = Instant::now();
        let mut used = Used::default();
        while begun.elapsed() < limit {
            // What a process took stands in /proc until its parent has asked how it ended; its memory does not.
            used.rss_peak_kib = used.rss_peak_kib.max(self.rss_peak_kib());
            used.cpu_seconds = used.cpu_seconds.max(self.cpu_seconds());
            if is_over(self.pid()) {
                used.cpu_seconds = used.cpu_seconds.max(self.cpu_seconds());
                used.wall_seconds = begun.elapsed().as_secs_f64();
                let status = self.child.wait()?;
                if !status.success() {
                    bail!("it failed ({status}):\n{}", self.tail(20));
                }
                return Ok(Some(used));
            }
            sleep(Duration::from_millis(5));
        }
        self.kill();
        Ok(None)
    }

    /// Processor time so far, in seconds.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.pid()).unwrap_or(0.0)
    }

    /// The most memory that it ever held, in KiB.
    pub(crate) fn rss_peak_kib(&self) -> u64 {
        rss_peak_kib(self.pid()).unwrap_or(0)
    }

    /// The end of its log.
    pub(crate) fn tail(&self, lines: usize) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut last: Vec<&str> = text.lines().rev().take(lines).collect();
        last.reverse();
        last.join("\n")
    }
}

/// What a process took from its start to its end.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub(crate) wall_seconds: f64,
    /// User and system.
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_peak_kib: u64,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Processor time of a process, in seconds; the clock of /proc ticks 100 times a second on every Linux.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(f64::from(ticks(11)? + ticks(12)?) / 100.0)
}

/// Whether a process has ended, with its parent not yet told.
fn is_over(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// The most memory that a process ever held, in KiB.
pub(crate) fn rss_peak_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs a program to its end; its output goes into the error when it fails, else it is given.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{shown} failed ({})\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}
