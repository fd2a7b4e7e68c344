//! The defaults with a file, the environment and flags laid over them, and where each value came from.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::de::DeTable;
use toml::{Table, Value};

use super::path::{PREFIX, dotted, dotted_text, leaves, set, value_at, variable_name};
use super::problem::{Place, Problem};
use super::words::{describe, expected, kind, nearest, plain_words};

/// Maps that have entries by default. Their keys are tiers; only floors take `detector.*`. Every table that
/// is empty by default is a map too, of names of the operator's own.
const TIER_MAPS: &[(&str, bool)] = &[("risk.caps", false), ("decision.floors", true)];

/// The section whose values are secrets: they are left out of messages.
const SECRETS: &str = "kafka.properties";

/// A value given on the command line.
#[derive(Debug, Clone)]
pub(crate) struct Override {
    /// The flag as typed, for messages.
    flag: String,
    /// Dotted key, as TOML writes it.
    key: String,
    /// The value as typed.
    value: String,
}

impl Override {
    /// A flag of its own for one key, such as `--max-lateness 10m` for `time.max_lateness`.
    pub(crate) fn flag(flag: &str, key: &str, value: &str) -> Self {
        Self { flag: flag.to_owned(), key: key.to_owned(), value: value.to_owned() }
    }

    /// `--set key=value`. Without an equals sign the value is empty, which no key but a text accepts.
    pub(crate) fn set(assignment: &str) -> Self {
        // A quoted key of a map may hold an equals sign only after its quote is closed.
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        Self::flag(&format!("--set {}", key.trim()), key.trim(), value.trim())
    }
}

/// The configuration while it is put together.
pub(super) struct Document<'d> {
    defaults: &'d Table,
    merged: Table,
    /// By dotted path: the path itself and where its value was given.
    given: BTreeMap<String, (Vec<String>, Place)>,
    problems: Vec<Problem>,
}

/// Where the keys and values of a table being laid over the defaults stand.
#[derive(Clone, Copy)]
enum Places<'p> {
    /// In the file, each at a span of its own.
    File(&'p DeTable<'p>),
    /// All at one place.
    Same(&'p Place),
}

impl<'p> Places<'p> {
    fn key(self, key: &str) -> Place {
        match self {
            Self::Same(place) => place.clone(),
            Self::File(table) => {
                let found = table.iter().find(|(name, _)| name.get_ref() == key);
                found.map_or(Place::Nowhere, |(name, _)| Place::File(name.span()))
            }
        }
    }

    fn value(self, key: &str) -> Place {
        match self {
            Self::Same(place) => place.clone(),
            Self::File(table) => {
                let found = table.iter().find(|(name, _)| name.get_ref() == key);
                found.map_or(Place::Nowhere, |(_, value)| Place::File(value.span()))
            }
        }
    }

    fn below(self, key: &str) -> Self {
        let Self::File(table) = self else { return self };
        let found = table.iter().find(|(name, _)| name.get_ref() == key);
        found.and_then(|(_, value)| value.get_ref().as_table()).map_or(self, Places::File)
    }
}

impl<'d> Document<'d> {
    pub(super) fn new(defaults: &'d Table) -> Self {
        Self { defaults, merged: defaults.clone(), given: BTreeMap::new(), problems: Vec::new() }
    }

    pub(super) fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    /// What is wrong, in the order of the file, then of the environment, then of the flags.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by(|a, b| a.place().cmp(b.place()));
        self.problems
    }

    /// Lays the text of the file over the defaults.
    pub(super) fn overlay_file(&mut self, text: &str) {
        // Parsed twice: once for the places, once for plain values.
        match (DeTable::parse(text), Table::from_str(text)) {
            (Ok(places), Ok(values)) => {
                self.overlay(&values, self.defaults, &[], Places::File(places.get_ref()));
            }
            (Err(error), _) | (_, Err(error)) => {
                let place = error.span().map_or(Place::Nowhere, Place::File);
                let problem = Problem::new(place, "the file is not valid TOML".to_owned());
                self.problems.push(problem.label(error.message().replace('\n', ", ")));
            }
        }
    }

    /// Lays the variables that are configuration keys over what is there.
    ///
    /// A name with `__` is ours, so one that fits no key is refused. Of the others only the top-level keys
    /// are, and what a slip makes of a key: a cluster sets names such as `WEIR_SERVICE_HOST` by itself.
    pub(super) fn overlay_environment(&mut self, environment: &[(String, String)]) {
        let mut ours: Vec<&(String, String)> =
            environment.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        let names = self.variable_names();
        for (name, value) in ours {
            let place = Place::Environment(name.clone());
            let path = self.variable_path(name);
            if name.contains("__") || path.first().is_some_and(|key| self.defaults.contains_key(key)) {
                self.overlay_text(&path, value, &place);
            } else if let Some(meant) = names.iter().find(|known| is_slip(name, known)) {
                let problem = Problem::new(place, "unknown key".to_owned());
                self.problems.push(problem.label(format!("did you mean `{meant}`?")));
            }
        }
    }

    /// Lays one flag over what is there.
    pub(super) fn overlay_override(&mut self, given: &Override) {
        let place = Place::Flag(given.flag.clone());
        match dotted(&given.key) {
            Some(path) => self.overlay_text(&path, &given.value, &place),
            None => self.problems.push(
                Problem::new(place, format!("`{}` is not a key", given.key))
                    .help("write --set section.key=value".to_owned()),
            ),
        }
    }

    /// Lays a value given as text over what is there.
    fn overlay_text(&mut self, path: &[String], text: &str, place: &Place) {
        let value = read_text(text, value_at(self.defaults, path));
        let nested = path
            .iter()
            .rev()
            .fold(value, |value, key| Value::Table(Table::from_iter([(key.clone(), value)])));
        if let Value::Table(table) = nested {
            self.overlay(&table, self.defaults, &[], Places::Same(place));
        }
    }

    fn overlay(&mut self, values: &Table, defaults: &Table, at: &[String], places: Places<'_>) {
        for (key, value) in values {
            let mut path = at.to_vec();
            path.push(key.clone());
            match (defaults.get(key), value) {
                (None, _) => self.refuse_key(&path, defaults, places.key(key)),
                (Some(Value::Table(map)), Value::Table(entries)) if is_map(&path, map) => {
                    self.overlay_map(entries, &path, places.below(key));
                }
                (Some(Value::Table(defaults)), Value::Table(values)) => {
                    self.overlay(values, defaults, &path, places.below(key));
                }
                (Some(Value::Float(_)), Value::Integer(whole)) => {
                    #[allow(clippy::cast_precision_loss, reason = "a float is what the key takes")]
                    self.put(path, Value::Float(*whole as f64), places.value(key));
                }
                (Some(default), value) if default.same_type(value) => {
                    self.put(path, value.clone(), places.value(key));
                }
                (Some(default), value) => self.refuse_type(&path, default, value, places.value(key)),
            }
        }
    }

    /// Lays the entries of a map over what is there, one by one.
    fn overlay_map(&mut self, entries: &Table, map: &[String], places: Places<'_>) {
        let tiers = tier_keys(map);
        for (entry, value) in entries {
            let path = [map, std::slice::from_ref(entry)].concat();
            match (value, &tiers) {
                // The operator wrote `burst.rate = …`, which in TOML is `rate` in the table `burst`. No map
                // holds tables.
                (Value::Table(below), _) => {
                    let rest =
                        leaves(below).first().map_or(String::new(), |rest| format!(".{}", dotted_text(rest)));
                    let title = format!("wrong value for `{}`", dotted_text(&path));
                    let problem = Problem::new(places.key(entry), title).label("found a table".to_owned());
                    let help = format!("a name that holds a dot stands in quotes: \"{entry}{rest}\"");
                    self.problems.push(problem.help(help));
                }
                (_, Some(tiers)) if !tiers.contains(entry) => {
                    self.refuse_tier(entry, map, tiers, places.key(entry))
                }
                _ if dotted_text(map) == SECRETS => self.put(path, as_text(value), places.value(entry)),
                _ => self.put(path, value.clone(), places.value(entry)),
            }
        }
    }

    fn refuse_tier(&mut self, name: &str, map: &[String], tiers: &[String], place: Place) {
        let detector_of = |tier: &str| tier.split('.').next().unwrap_or_default().to_owned();
        let detector = detector_of(name);
        let same: Vec<String> = tiers
            .iter()
            .filter(|tier| detector_of(tier) == detector)
            .map(|tier| format!("`{tier}`"))
            .collect();
        let label = match nearest(name, tiers.iter()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if same.is_empty() => "no detector has such a name".to_owned(),
            None => "the detector has no such tier".to_owned(),
        };
        let title = format!("unknown tier `{name}` in [{}]", dotted_text(map));
        let mut problem = Problem::new(place, title).label(label);
        if !same.is_empty() {
            problem = problem.help(format!("the tiers of {detector} are {}", same.join(", ")));
        }
        self.problems.push(problem);
    }

    fn put(&mut self, path: Vec<String>, value: Value, place: Place) {
        set(&mut self.merged, &path, Some(value));
        self.given.insert(dotted_text(&path), (path, place));
    }

    fn refuse_key(&mut self, path: &[String], siblings: &Table, place: Place) {
        let Some((key, section)) = path.split_last() else {
            return;
        };
        let spelled = |key: &str| match &place {
            Place::Environment(_) => variable_name(&[section, &[key.to_owned()]].concat()),
            _ => key.to_owned(),
        };
        let label = match nearest(key, siblings.keys()) {
            Some(meant) => format!("did you mean `{}`?", spelled(meant)),
            None => match self.elsewhere(key) {
                Some(path) => format!("`{key}` is a key of [{path}]"),
                None => "no key has such a name".to_owned(),
            },
        };
        let mut keys: Vec<String> = siblings.keys().map(|key| format!("`{}`", spelled(key))).collect();
        keys.sort();
        let (title, holder) = match section {
            [] => (format!("unknown key `{key}`"), "at the top level".to_owned()),
            _ => (
                format!("unknown key `{key}` in [{}]", dotted_text(section)),
                format!("in [{}]", dotted_text(section)),
            ),
        };
        let help = format!("the keys {holder} are {}", keys.join(", "));
        self.problems.push(Problem::new(place, title).label(label).help(help));
    }

    /// The section that has a key of this name, if there is one such section.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let mut found = leaves(self.defaults)
            .into_iter()
            .filter(|path| path.len() > 1 && path.last().is_some_and(|last| last == key));
        let (first, second) = (found.next()?, found.next());
        let section = first.split_last().map(|(_, section)| dotted_text(section));
        section.filter(|_| second.is_none())
    }

    fn refuse_type(&mut self, path: &[String], default: &Value, value: &Value, place: Place) {
        let key = dotted_text(path);
        let found = if key.starts_with(SECRETS) { kind(value).to_owned() } else { describe(value) };
        let label = format!("found {found}, expected {}", expected(default));
        self.problems.push(Problem::new(place, format!("wrong type for `{key}`")).label(label));
    }

    /// The part of the configuration that `part` is the default of, as its type. Every value that the type
    /// refuses becomes a problem and is replaced by its default, so that one pass finds them all.
    pub(super) fn typed<T: DeserializeOwned>(&mut self, part: &Table) -> Option<T> {
        loop {
            let table: Table =
                part.keys().filter_map(|key| Some((key.clone(), self.merged.get(key)?.clone()))).collect();
            let error = match serde_path_to_error::deserialize(Value::Table(table)) {
                Ok(typed) => return Some(typed),
                Err(error) => error,
            };
            let key = error.path().to_string();
            let message = plain_words(error.into_inner().message().trim_end());
            let path = self.reject(&key, &message)?;
            let default = value_at(self.defaults, &path).cloned();
            set(&mut self.merged, &path, default);
            self.given.remove(&dotted_text(&path));
        }
    }

    /// Notes that the value at `key`, or an entry of it, is wrong, and gives the path of the value that was
    /// given; `None` if it is a default.
    pub(super) fn reject(&mut self, key: &str, message: &str) -> Option<Vec<String>> {
        let given = self.given_at(key).cloned();
        let (path, place) = given.clone().unwrap_or((Vec::new(), Place::Nowhere));
        let label = self.explain(&path, message);
        self.problems.push(Problem::new(place, format!("wrong value for `{key}`")).label(label));
        given.map(|(path, _)| path)
    }

    /// A message with what helps on: the alternative that was meant, or else the default.
    fn explain(&self, path: &[String], message: &str) -> String {
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        let meant = match quoted.split_first() {
            Some((given, known)) if message.starts_with("unknown ") => nearest(given, known.iter().copied()),
            _ => None,
        };
        match (meant, value_at(self.defaults, path)) {
            (Some(meant), _) => format!("{message}; did you mean `{meant}`?"),
            (None, Some(default)) if !message.contains("such as") && !matches!(default, Value::Table(_)) => {
                format!("{message} (the default is {default})")
            }
            _ => message.to_owned(),
        }
    }

    /// What was given for `key`, or for the nearest thing around or below it.
    fn given_at(&self, key: &str) -> Option<&(Vec<String>, Place)> {
        let mut around = key;
        loop {
            if let Some(given) = self.given.get(around) {
                return Some(given);
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = around.get(..end)?,
                None => break,
            }
        }
        let below = format!("{key}.");
        self.given
            .range(below.clone()..)
            .next()
            .filter(|(path, _)| path.starts_with(&below))
            .map(|(_, given)| given)
    }

    /// The variable of every key.
    fn variable_names(&self) -> Vec<String> {
        leaves(self.defaults).iter().map(|path| variable_name(path)).collect()
    }

    /// The key that a variable names. Its parts are keys in lower case, except for entries of a map, which
    /// are the operator's own and keep their case.
    fn variable_path(&self, name: &str) -> Vec<String> {
        let mut table = Some(self.defaults);
        let mut path: Vec<String> = Vec::new();
        for part in name.strip_prefix(PREFIX).unwrap_or(name).split("__") {
            let open = table.is_some_and(|table| !path.is_empty() && is_map(&path, table));
            path.push(if open { part.to_owned() } else { part.to_lowercase() });
            table = value_at(self.defaults, &path).and_then(Value::as_table);
        }
        path
    }
}

/// Whether `name` is `known` with one underscore for two, or with one letter wrong.
fn is_slip(name: &str, known: &str) -> bool {
    known.replace("__", "_") == name || strsim::damerau_levenshtein(name, known) == 1
}

/// A value from the environment or the command line. What the key takes decides: text is taken as it
/// stands unless it is quoted, everything else is TOML.
fn read_text(text: &str, default: Option<&Value>) -> Value {
    let as_it_stands = || Value::String(text.to_owned());
    match (Value::from_str(text), default) {
        (Ok(value), Some(default)) if !default.is_str() => value,
        // An entry of a map, or a text: a number is meant as its digits, `EUR=1.08` without quotes.
        (Ok(value @ (Value::String(_) | Value::Array(_) | Value::Table(_))), _) => value,
        _ => as_it_stands(),
    }
}

/// A scalar as librdkafka takes it: text.
fn as_text(value: &Value) -> Value {
    match value {
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Value::String(value.to_string()),
        other => other.clone(),
    }
}

/// Whether a table of the defaults takes entries of the operator's choice.
fn is_map(path: &[String], default: &Table) -> bool {
    default.is_empty() || tier_keys(path).is_some()
}

/// The keys of a map of tiers; `None` for everything else.
fn tier_keys(path: &[String]) -> Option<Vec<String>> {
    let path = dotted_text(path);
    let (_, wildcards) = TIER_MAPS.iter().find(|(map, _)| *map == path)?;
    Some(weir_engine::config::tier_keys().filter(|key| *wildcards || !key.ends_with(".*")).collect())
}
