//! A place for Weir to run: a folder, a configuration, topics and a group that nobody else has.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{self, Process};

/// Topics of Weir: the key in the configuration, which is also the end of the name.
pub(crate) const TOPICS: [&str; 7] =
    ["transactions", "mandates", "decisions", "risk_scores", "alerts", "rejects", "journal"];

/// What a configuration says besides names.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// How often a snapshot is written.
    pub(crate) snapshots_every: &'static str,
    /// librdkafka properties.
    pub(crate) properties: &'static [(&'static str, &'static str)],
    /// Whether decisions carry headers.
    pub(crate) headers: bool,
}

/// The place.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// Everything of it that is a file.
    pub(crate) dir: PathBuf,
    /// The program.
    pub(crate) weir: PathBuf,
    /// The broker.
    pub(crate) brokers: String,
    /// What names of topics begin with, and the group's name.
    pub(crate) prefix: String,
    /// What names of the input topics begin with.
    pub(crate) input: String,
    /// Partitions of every topic.
    pub(crate) partitions: i32,
}

impl Site {
    /// Name of a topic.
    pub(crate) fn topic(&self, name: &str) -> String {
        let prefix = if matches!(name, "transactions" | "mandates") { &self.input } else { &self.prefix };
        format!("{prefix}.{}", name.replace('_', "-"))
    }

    /// Where the configuration lies.
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.join("weir.toml")
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, options: &Options) -> Result<()> {
        fs::create_dir_all(&self.dir).with_context(|| format!("cannot create {}", self.dir.display()))?;
        let dir = self.dir.display();
        let property = |(name, value): &(&str, &str)| format!("{name:?} = {value:?}");
        let properties: Vec<String> = options.properties.iter().map(property).collect();
        let topics: Vec<String> =
            TOPICS.iter().map(|name| format!("{name} = {:?}\n", self.topic(name))).collect();
        let text = format!(
            "data_dir = \"{dir}/data\"\n[kafka]\nbrokers = {:?}\ngroup_id = {:?}\nheaders = {}\n\
             properties = {{ {} }}\n[kafka.topics]\n{}[snapshots]\nurl = \"file:{dir}/snapshots\"\nevery = {:?}\n",
            self.brokers,
            self.prefix,
            options.headers,
            properties.join(", "),
            topics.concat(),
            options.snapshots_every,
        );
        fs::write(self.config(), text).with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// A command of Weir with this configuration.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.weir);
        command.args(words).arg("--config").arg(self.config());
        command.env("NO_COLOR", "1");
        command
    }

    /// Makes the topics, as an operator would.
    pub(crate) fn create_topics(&self) -> Result<()> {
        let mut create = self.command(&["topics", "create"]);
        process::output(create.args(["--partitions", &self.partitions.to_string()])).map(drop)
    }

    /// Starts an instance; its HTTP interface is at the port.
    pub(crate) fn start(&self, log: &Path) -> Result<(Process, u16)> {
        let port = free_port()?;
        let mut run = self.command(&["run"]);
        run.args(["--listen", &format!("127.0.0.1:{port}")]);
        Ok((Process::start(&mut run, log)?, port))
    }
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
