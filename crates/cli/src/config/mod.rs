//! The configuration: defaults, one TOML file, the environment, flags, each over what stands before it.
//!
//! There is one schema and nobody writes it down: it is the default configuration itself, as TOML. A key
//! exists if the defaults have it, a value has the type of its default, and an empty table of the defaults
//! takes keys of the operator's choice. A new detector's parameters need no line here.

mod document;
mod path;
mod problem;
mod service;
#[cfg(test)]
mod tests;
mod words;

use std::path::Path;

use serde::Serialize;

use document::Document;
pub(crate) use document::Override;
pub(crate) use problem::Problems;
use problem::{Place, Problem};
pub(crate) use service::{Log as LogKind, Partitioner as PartitionerKind, Service, Start as StartAt};

/// The whole configuration of the command.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Config {
    /// What decisions depend on, and what `config_digest` covers.
    #[serde(flatten)]
    pub(crate) engine: weir_engine::Config,
    /// Where records come from and go to.
    #[serde(flatten)]
    pub(crate) service: Service,
}

/// The environment as [`load`] takes it. Values that are not UTF-8 are read with replacement characters, so
/// that they are refused by name instead of passed over.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
        .collect()
}

/// Loads the configuration: the defaults, then `file`, then the variables `WEIR_SECTION__KEY` of
/// `environment`, then `overrides` in their order.
///
/// # Errors
/// Every problem found, each with its place. Nothing is loaded in part.
pub(crate) fn load(
    file: Option<&Path>,
    environment: &[(String, String)],
    overrides: &[Override],
) -> Result<Config, Problems> {
    let (name, text) = match file.map(|path| (path.display().to_string(), read(path))) {
        None => (String::new(), String::new()),
        Some((name, Ok(text))) => (name, text),
        Some((_, Err(problem))) => return Err(Problems::without_file(problem)),
    };
    parse(&text, environment, overrides).map_err(|problems| Problems { name, text, problems })
}

fn read(path: &Path) -> Result<String, Problem> {
    let named = |what: String, help: &str| Problem::new(Place::Nowhere, what).help(help.to_owned());
    let shown = path.display();
    match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes)
            .map_err(|_| named(format!("{shown} is not UTF-8 text"), "the configuration is a TOML file")),
        Err(error) if path.is_dir() => Err(named(
            format!("{shown} is a directory ({error})"),
            "give the path of a TOML file; weir.default.toml documents every key",
        )),
        Err(error) => Err(named(
            format!("cannot read the configuration file {shown}: {error}"),
            "every key has a default, so the file may be left out",
        )),
    }
}

fn parse(
    text: &str,
    environment: &[(String, String)],
    overrides: &[Override],
) -> Result<Config, Vec<Problem>> {
    let engine = defaults(&weir_engine::Config::default())?;
    let service = defaults(&Service::default())?;
    let mut all = engine.clone();
    all.extend(service.clone());

    let mut document = Document::new(&all);
    document.overlay_file(text);
    document.overlay_environment(environment);
    for given in overrides {
        document.overlay_override(given);
    }
    let engine: Option<weir_engine::Config> = document.typed(&engine);
    let service: Option<Service> = document.typed(&service);
    let (Some(engine), Some(service)) = (engine, service) else {
        return Err(document.into_problems());
    };

    // Only values that can be read can be judged.
    if document.is_sound() {
        for (key, message) in engine.check().into_iter().chain(service.problems()) {
            document.reject(&key, &message);
        }
    }
    if document.is_sound() {
        return Ok(Config { engine, service });
    }
    Err(document.into_problems())
}

/// Default values as a TOML table.
fn defaults(value: &impl Serialize) -> Result<toml::Table, Vec<Problem>> {
    toml::Table::try_from(value).map_err(|error| {
        vec![Problem::new(Place::Nowhere, format!("the defaults cannot be written: {error}"))]
    })
}
