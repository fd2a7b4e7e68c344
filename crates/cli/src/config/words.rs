//! The words of the messages: what was meant, what was found, what is expected.

use toml::Value;
use weir_events::span::Span;

/// The name that was most likely meant: few edits away for its length.
pub(super) fn nearest<'n, N: AsRef<str> + ?Sized + 'n>(
    given: &str,
    names: impl Iterator<Item = &'n N>,
) -> Option<&'n str> {
    let given = given.to_lowercase();
    names
        .map(|name| (strsim::damerau_levenshtein(&given, name.as_ref()), name.as_ref()))
        .filter(|(edits, name)| *edits <= (name.len() / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// A message of serde in words that do not presuppose Rust.
pub(super) fn plain_words(message: &str) -> String {
    const WORDS: &[(&str, &str)] = &[
        ("expected u32", "expected a whole number from 0 to 4294967295"),
        ("expected usize", "expected a whole number that is not negative"),
        ("expected u64", "expected a whole number that is not negative"),
        ("expected i64", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("invalid type: sequence", "invalid type: a list"),
        ("invalid type: map", "invalid type: a table"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected a table"),
    ];
    WORDS.iter().fold(message.to_owned(), |text, (from, to)| text.replace(from, to))
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "the text",
        Value::Integer(_) => "the whole number",
        Value::Float(_) => "the number",
        Value::Boolean(_) => "the truth value",
        Value::Datetime(_) => "the date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A value in a message, at most a line of it.
pub(super) fn describe(value: &Value) -> String {
    const SHOWN_CHARS_MAX: usize = 60;
    let kind = kind(value);
    if matches!(value, Value::Array(_) | Value::Table(_)) {
        return kind.to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{kind} {}…", text.get(..end).unwrap_or_default()),
        None => format!("{kind} {text}"),
    }
}

/// What a key takes, with its default for an example.
pub(super) fn expected(default: &Value) -> String {
    match default {
        Value::String(text) if text.parse::<Span>().is_ok() => format!("a length of time such as {default}"),
        Value::String(text) if text.parse::<f64>().is_ok() => {
            format!("a decimal in quotes such as {default}")
        }
        Value::String(text) if text.is_empty() => "a text in quotes".to_owned(),
        Value::String(_) => format!("a text in quotes such as {default}"),
        Value::Integer(_) => format!("a whole number such as {default}"),
        Value::Float(_) => format!("a number such as {default}"),
        Value::Boolean(_) => "true or false".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}
