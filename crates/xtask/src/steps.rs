//! A list of steps, each timed; all of them run, so that one failure does not hide the next.

use std::time::{Duration, Instant};

use crate::run::Outcome;

/// What a step gives: a remark for the table (may be empty), or why it failed.
pub(crate) type Finding = Result<String, String>;

struct Step {
    name: &'static str,
    took: Duration,
    finding: Finding,
}

/// The steps run so far.
pub(crate) struct Steps {
    started: Instant,
    done: Vec<Step>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), done: Vec::new() }
    }

    /// Runs one step and remembers how it went.
    pub(crate) fn step(&mut self, name: &'static str, work: impl FnOnce() -> Finding) {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let finding = work();
        if let Err(why) = &finding {
            eprintln!("{name}: {why}");
        }
        self.done.push(Step { name, took: started.elapsed(), finding });
    }

    /// Prints the table and gives the overall outcome.
    pub(crate) fn finish(self, what: &str) -> Outcome {
        println!();
        for step in &self.done {
            let (word, remark) = match &step.finding {
                Ok(remark) => ("ok", remark.as_str()),
                Err(_) => ("FAILED", ""),
            };
            println!(
                "{}",
                format!("{:<10} {word:<7} {:>8}  {remark}", step.name, seconds(step.took)).trim_end()
            );
        }
        let failed: Vec<&str> =
            self.done.iter().filter(|step| step.finding.is_err()).map(|step| step.name).collect();
        let took = seconds(self.started.elapsed());
        if failed.is_empty() {
            println!("{what}: all {} steps passed in {took}", self.done.len());
            return Ok(());
        }
        Err(format!("{what} failed after {took}: {}", failed.join(", ")))
    }
}

fn seconds(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        whole => format!("{} m {:02} s", whole / 60, whole % 60),
    }
}
