//! `weir topics create`, and what `weir check` says of the brokers.

use weir_kafka::topics::{self, Outcome};

use super::kafka;
use crate::config::Config;
use crate::failure::Failure;
use crate::screen::Screen;

/// Makes the topics that are missing.
pub(crate) fn create(
    config: &Config,
    partitions: i32,
    replication: Option<i32>,
    screen: &Screen,
) -> Result<(), Failure> {
    let created = topics::create(&kafka(config), partitions, replication.unwrap_or(-1));
    let mut failed = 0;
    for (name, outcome) in created.map_err(|error| anyhow::anyhow!("{error}"))? {
        match outcome {
            Outcome::Created => screen.say(&format!("{name}: created, {partitions} partitions"))?,
            Outcome::Exists => {
                screen.say(&format!("{name}: is there already; `weir check` says whether it fits"))?
            }
            Outcome::Failed(why) => {
                failed += 1;
                screen.warn(&format!("{name}: not created: {why}"));
            }
        }
    }
    if failed > 0 { Err(anyhow::anyhow!("{failed} topics could not be created").into()) } else { Ok(()) }
}

/// Looks at brokers and topics and says what to do about what is wrong.
pub(crate) fn check(config: &Config, screen: &Screen) -> Result<(), Failure> {
    let mut wrong = 0;
    for finding in topics::check(&kafka(config)) {
        if finding.ok {
            let remark =
                if finding.remedy.is_empty() { String::new() } else { format!(" ({})", finding.remedy) };
            screen.say(&format!("{}{remark}", finding.what))?;
        } else {
            wrong += 1;
            screen.warn(&format!("{}; {}", finding.what, finding.remedy));
        }
    }
    if wrong > 0 {
        Err(anyhow::anyhow!("{wrong} findings, each with what to do about it above").into())
    } else {
        Ok(())
    }
}
