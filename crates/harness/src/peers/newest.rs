//! The mandates as every contender takes them the same way.
//!
//! Weir has a mandate come into force at its `updated_at`; the peers read all of them before they begin. So each
//! mandate is given in its newest version alone, in force from the beginning.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// The newest version of each mandate, without its `updated_at`; those that were deleted last are left out.
pub(super) fn of(mandates: &str) -> Result<String> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut newest: Vec<Map<String, Value>> = Vec::new();
    for (at, line) in mandates.lines().enumerate() {
        let mut mandate: Map<String, Value> =
            serde_json::from_str(line).with_context(|| format!("mandate {}", at + 1))?;
        mandate.remove("updated_at");
        let id = mandate.get("mandate_id").and_then(Value::as_str);
        let id = id.with_context(|| format!("mandate {} has no mandate_id", at + 1))?.to_owned();
        match places.get(&id) {
            Some(&place) => newest[place] = mandate,
            None => {
                places.insert(id, newest.len());
                newest.push(mandate);
            }
        }
    }
    newest.retain(|mandate| mandate.get("deleted") != Some(&Value::Bool(true)));
    newest.iter().map(|mandate| Ok(serde_json::to_string(mandate)? + "\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn the_last_version_of_each_mandate_stays_where_its_first_was() {
        let mandates = [
            r#"{"mandate_id":"a","max_amount":"1"}"#,
            r#"{"mandate_id":"b","max_amount":"2"}"#,
            r#"{"mandate_id":"c","max_amount":"3"}"#,
            r#"{"mandate_id":"a","max_amount":"4","updated_at":"2026-03-02T00:00:00Z"}"#,
            r#"{"mandate_id":"b","deleted":true}"#,
        ];
        let newest =
            "{\"mandate_id\":\"a\",\"max_amount\":\"4\"}\n{\"mandate_id\":\"c\",\"max_amount\":\"3\"}\n";
        assert_eq!(of(&mandates.join("\n")).unwrap(), newest);
    }

    #[test]
    fn a_line_that_is_no_mandate_is_named() {
        let error = of("{\"mandate_id\":\"a\"}\n{}").unwrap_err();
        assert_eq!(error.to_string(), "mandate 2 has no mandate_id");
    }
}
