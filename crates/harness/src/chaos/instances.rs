//! The instances of `weir run`, as a supervisor keeps them: what ends is started again.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::process::Process;
use crate::random::Random;
use crate::site::Site;

/// How long an instance may take to stop.
const STOP: Duration = Duration::from_secs(10);
/// What an instance says when it ends on purpose, to be started again.
const MEANT: &str = "does not return";

/// Number of a process and its port; those that run now.
pub(crate) type Running = Arc<Mutex<Vec<(u32, u16)>>>;

/// One instance.
struct Instance {
    process: Process,
    port: u16,
}

/// All of them.
pub(crate) struct Instances {
    site: Site,
    all: Vec<Instance>,
    running: Running,
    started: usize,
    logs: Vec<PathBuf>,
}

/// What the logs say.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// Shards recovered.
    pub(crate) recoveries: u64,
    /// Of them from a snapshot.
    pub(crate) from_snapshots: u64,
    /// Seconds that the slowest took.
    pub(crate) slowest: f64,
    /// Commits that were tried again.
    pub(crate) retried: u64,
    /// What must not stand there.
    pub(crate) findings: Vec<String>,
}

impl Instances {
    /// None yet.
    pub(crate) fn new(site: Site) -> Self {
        Self { site, all: Vec::new(), running: Running::default(), started: 0, logs: Vec::new() }
    }

    /// The group that they are members of, by which their transactional ids begin.
    pub(crate) fn group(&self) -> &str {
        &self.site.prefix
    }

    /// Those that run, for others to look at.
    pub(crate) fn running(&self) -> Running {
        Arc::clone(&self.running)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    fn publish(&self) {
        let running = self.all.iter().map(|one| (one.process.pid(), one.port)).collect();
        *self.running.lock().unwrap() = running;
    }

    /// Starts one more.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.started += 1;
        let log = self.site.dir.join(format!("instance-{:03}.log", self.started));
        let (process, port) = self.site.start(&log)?;
        self.logs.push(log);
        self.all.push(Instance { process, port });
        self.publish();
        Ok(())
    }

    /// Kills a random one.
    pub(crate) fn kill(&mut self, random: &mut Random) -> u32 {
        let mut one = self.all.swap_remove(random.below(self.all.len()));
        one.process.kill();
        self.publish();
        one.process.pid()
    }

    /// Stops the oldest; gives what was wrong with how it ended.
    pub(crate) fn stop(&mut self) -> Result<Option<String>> {
        let one = self.all.remove(0);
        self.publish();
        stop(one)
    }

    /// Stops all of them at once.
    pub(crate) fn stop_all(&mut self) -> Result<Vec<String>> {
        let all = std::mem::take(&mut self.all);
        self.publish();
        let stopping: Vec<_> = all.into_iter().map(|one| std::thread::spawn(move || stop(one))).collect();
        let mut findings = Vec::new();
        for thread in stopping {
            findings.extend(thread.join().unwrap()?);
        }
        Ok(findings)
    }

    /// Sends a signal to the oldest.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.all.first().map_or(Ok(()), |one| one.process.signal(name))
    }

    /// Starts again what has ended by itself; gives what was wrong with that.
    pub(crate) fn restart_ended(&mut self) -> Result<Vec<String>> {
        let mut findings = Vec::new();
        let mut missing = 0;
        self.all.retain_mut(|one| {
            let Some(status) = one.process.ended() else { return true };
            missing += 1;
            let tail = one.process.tail(15);
            println!("an instance has ended by itself ({status}):\n{tail}");
            if !tail.contains(MEANT) {
                let log = one.process.log.display();
                findings.push(format!("an instance ended by itself ({status}): {log}"));
            }
            false
        });
        for _ in 0..missing {
            self.start()?;
        }
        Ok(findings)
    }

    /// Reads the logs of all that ever ran.
    pub(crate) fn logs(&self) -> Result<Logs> {
        let mut logs = Logs::default();
        for path in &self.logs {
            let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
            for line in text.lines() {
                logs.line(line, path);
            }
        }
        Ok(logs)
    }
}

impl Logs {
    fn line(&mut self, line: &str, path: &std::path::Path) {
        if line.contains("recovered partition=") {
            self.recoveries += 1;
            self.from_snapshots += u64::from(line.contains(" snapshot="));
            let seconds = line.split("seconds=").nth(1).and_then(|rest| rest.split(' ').next());
            let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(0.0);
            self.slowest = self.slowest.max(seconds);
        }
        self.retried += u64::from(line.contains("commit is tried again"));
        let alarming = ["panicked at", "shard halted", "snapshot not used", " ERROR "];
        // The client's own log is loud while the broker is away.
        let harmless = [MEANT, " ERROR librdkafka: "];
        if alarming.iter().any(|words| line.contains(words))
            && !harmless.iter().any(|words| line.contains(words))
        {
            let name = path.file_name().unwrap_or_default().display();
            self.findings.push(format!("{name}: {line}"));
        }
    }
}

fn stop(mut one: Instance) -> Result<Option<String>> {
    let log = one.process.log.display().to_string();
    let begun = Instant::now();
    Ok(match one.process.stop(STOP)? {
        Some((status, _)) if status.success() => None,
        Some((status, took)) => {
            Some(format!("SIGTERM ended an instance with {status} after {:.1} s: {log}", took.as_secs_f64()))
        }
        None => Some(format!(
            "an instance did not end within {:.1} s of SIGTERM: {log}",
            begun.elapsed().as_secs_f64()
        )),
    })
}
