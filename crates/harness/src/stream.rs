//! A generated stream, sent again and again: each round is later than the one before and has ids of its own.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use chrono::{Days, NaiveDate};

/// Fields that hold a time.
const TIMES: [&str; 5] = ["tx_time", "record_time", "valid_from", "valid_to", "updated_at"];

/// A file of one JSON object per line, in memory.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: Vec<String>,
}

impl Lines {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if lines.is_empty() {
            return Err(anyhow!("{} is empty", path.display()));
        }
        Ok(Self { lines })
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// A line.
    pub(crate) fn get(&self, at: usize) -> &str {
        &self.lines[at]
    }

    /// Every line.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// Days from the first `tx_time` to the last, and some more, so that rounds do not overlap.
    pub(crate) fn days(&self) -> u64 {
        let date = |line: &str| value(line, "tx_time").and_then(parse_date);
        let ends = date(&self.lines[0]).zip(self.lines.last().and_then(|line| date(line)));
        ends.map_or(30, |(first, last)| last.signed_duration_since(first).num_days().unsigned_abs() + 3)
    }
}

/// The text of a field whose value is a string without escapes.
pub(crate) fn value<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let start = line.find(&format!("\"{field}\":\""))? + field.len() + 4;
    line[start..].split('"').next()
}

/// The line with another value in a field that holds a string.
pub(crate) fn with_value(line: &str, field: &str, new: &str) -> String {
    let start = match line.find(&format!("\"{field}\":\"")) {
        Some(at) => at + field.len() + 4,
        None => return line.to_owned(),
    };
    let end = line[start..].find('"').map_or(line.len(), |length| start + length);
    format!("{}{new}{}", &line[..start], &line[end..])
}

/// A transaction or mandate as the given round has it.
pub(crate) fn in_round(line: &str, round: u64, days: u64) -> String {
    if round == 0 {
        return line.to_owned();
    }
    let mut text = line.to_owned();
    for field in TIMES {
        let later = value(&text, field).and_then(|time| {
            let date = parse_date(time)?.checked_add_days(Days::new(round * days))?;
            Some(format!("{}{}", date.format("%Y-%m-%d"), time.get(10..)?))
        });
        if let Some(later) = later {
            text = with_value(&text, field, &later);
        }
    }
    match value(&text, "tx_id") {
        Some(id) => {
            let id = format!("{id}_{round}");
            with_value(&text, "tx_id", &id)
        }
        None => text,
    }
}

fn parse_date(time: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(time.get(..10)?, "%Y-%m-%d").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"tx_id":"a","user_id":"u","tx_time":"2026-02-27T01:02:03.000004+02:00","x":1}"#;

    #[test]
    fn a_later_round_is_later_and_has_other_ids() {
        assert_eq!(in_round(LINE, 0, 9), LINE);
        let later = in_round(LINE, 2, 9);
        assert_eq!(
            later,
            r#"{"tx_id":"a_2","user_id":"u","tx_time":"2026-03-17T01:02:03.000004+02:00","x":1}"#
        );
    }

    #[test]
    fn values_are_found_and_replaced() {
        assert_eq!(value(LINE, "user_id"), Some("u"));
        assert_eq!(value(LINE, "agent_id"), None);
        assert_eq!(value(&with_value(LINE, "user_id", "other"), "user_id"), Some("other"));
    }
}
