//! The command line.

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

const ABOUT: &str = "Weir: streaming fraud detection for payments made by software agents";

const AFTER: &str = "\
Try it:
  weir generate --out stream --transactions 100000 --seed 7
  weir replay --transactions stream/transactions.ndjson \\
      --mandates stream/mandates.ndjson --out decided
  weir evaluate --decisions decided/decisions.ndjson --labels stream/labels.ndjson

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.
Every key of the configuration can be set as WEIR_SECTION__KEY, and NO_COLOR is respected.";

/// The command line of `weir`.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about = ABOUT, after_help = AFTER, max_term_width = 100)]
pub(crate) struct Args {
    /// Print nothing but errors, warnings and what was asked for by name
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch it work: a service of its own, and a synthetic stream with attacks that nothing announces
    Demo(DemoArgs),
    /// Serve: decide what a log gives, Kafka's or this machine's own
    Run(RunArgs),
    /// Decide a recorded stream: transactions and mandates in, decisions, profiles and views out
    Replay(ReplayArgs),
    /// Make a labelled synthetic stream of honest and fraudulent payments
    Generate(GenerateArgs),
    /// Measure decisions against labels: caught, blocked, time to detection, honest payments touched
    Evaluate(EvaluateArgs),
    /// Validate the configuration, reach the brokers, look at the topics, and say what to fix
    Check(CheckArgs),
    /// Make the topics as Weir needs them
    #[command(subcommand)]
    Topics(TopicsCommand),
    /// Record one partition as it was decided, to replay it elsewhere
    Record(RecordArgs),
    /// Print the completion script of a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// Where the configuration comes from.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML); every key has a default, see weir.default.toml
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Set one key of the configuration, such as detectors.burst.min_count=6
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Form of the output files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object per line
    Ndjson,
    /// Typed columns, compressed
    Parquet,
}

const REPLAY_AFTER: &str = "\
Files are NDJSON or Parquet, plain, gzip or zstd, told by their content; - is standard input.
Mandates are in force before the first transaction unless they carry updated_at.

Into the output directory: decisions, rejects, alerts and risk-scores, the views under views/, and
last of all summary.json, so that a directory without it is no whole replay.

Exits with 1, the output whole, when more than 1 % of the transactions were late or too old: the file
is then not in the order of arrival (see --sort) or spread wider than --max-lateness.";

#[derive(Debug, clap::Args)]
#[command(after_help = REPLAY_AFTER)]
pub(crate) struct ReplayArgs {
    /// Recorded transactions, in the order of arrival
    #[arg(long, value_name = "FILE", required_unless_present = "recording")]
    transactions: Option<PathBuf>,
    /// A partition as `weir record` wrote it, instead of transactions and mandates: gives its decisions byte for
    /// byte, under the configuration that they were made under
    #[arg(long, value_name = "FILE", conflicts_with_all = ["transactions", "mandates", "config", "set", "max_lateness", "sort", "threads", "verify"])]
    pub(crate) recording: Option<PathBuf>,
    /// Recorded mandates
    #[arg(long, value_name = "FILE")]
    pub(crate) mandates: Option<PathBuf>,
    /// Output directory: created, and refused when it holds anything but a replay's output
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// How far behind the latest payment another may come (time.max_lateness)
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_lateness: Option<String>,
    /// Sort by tx_time first, for an export that is not in the order of arrival
    #[arg(long)]
    pub(crate) sort: bool,
    /// Threads to decide on; the output does not depend on it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: u16,
    /// Form of the output files
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    pub(crate) format: Format,
    /// Fail when a record was rejected
    #[arg(long)]
    pub(crate) strict: bool,
    /// Recompute every view from its SQL and fail on any difference
    #[arg(long)]
    pub(crate) verify: bool,
}

impl ReplayArgs {
    /// The file of transactions, without which the command line is refused unless there is a recording.
    pub(crate) fn transactions(&self) -> &Path {
        self.transactions.as_deref().unwrap_or(Path::new("-"))
    }
}

/// How hard attacks are to tell from habits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DifficultyArg {
    Easy,
    Medium,
    Hard,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    /// Output directory: transactions.ndjson, mandates.ndjson and labels.ndjson
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Number of distinct transactions
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub(crate) transactions: u64,
    /// The same seed gives the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How much attacks and habits overlap
    #[arg(long, value_enum, default_value_t = DifficultyArg::Medium)]
    pub(crate) difficulty: DifficultyArg,
    /// Share of the transactions that are fraudulent, 0 to 0.5
    #[arg(long, value_name = "P")]
    pub(crate) fraud_share: Option<f64>,
    /// Share of the transactions that arrive more than five minutes late, 0 to 0.5
    #[arg(long, value_name = "P")]
    pub(crate) late_share: Option<f64>,
    /// Share of the transactions that are sent again, 0 to 0.5
    #[arg(long, value_name = "P")]
    pub(crate) repeat_share: Option<f64>,
    /// Number of agents at the start
    #[arg(long, value_name = "N")]
    pub(crate) agents: Option<u64>,
    /// Length of event time in days
    #[arg(long, value_name = "N")]
    pub(crate) days: Option<u32>,
    /// Only these attacks and habits, by name
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvaluateArgs {
    /// Decisions, as replay writes them (NDJSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) decisions: PathBuf,
    /// Labels, as generate writes them (NDJSON)
    #[arg(long, value_name = "FILE")]
    pub(crate) labels: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

const DEMO_AFTER: &str = "\
Starts the service on the embedded log in a temporary folder, sends it a labelled synthetic stream over HTTP, shows
what it decides, and at the end compares that with the labels. Nothing needs to be installed, nothing is left behind.";

#[derive(Debug, clap::Args)]
#[command(after_help = DEMO_AFTER)]
pub(crate) struct DemoArgs {
    /// Number of distinct transactions
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    pub(crate) transactions: u64,
    /// The same seed gives the same stream and the same decisions
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(crate) seed: u64,
    /// Transactions per second
    #[arg(long, value_name = "R", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
    /// Print lines even on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// Keep the folder: the stream, the decisions and the service's data
    #[arg(long)]
    pub(crate) keep: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object per line
    Json,
}

const RUN_AFTER: &str = "\
With log = \"kafka\" (the default) it consumes weir.transactions and weir.mandates and commits decisions, risk
profiles, alerts and rejects in Kafka transactions; run as many instances as there are partitions.
With log = \"embedded\" it takes both over HTTP and keeps everything in data_dir, for one machine.

Ends within 10 s of SIGTERM or Ctrl-C; can be killed at any moment without losing or doubling a decision.";

#[derive(Debug, clap::Args)]
#[command(after_help = RUN_AFTER)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Brokers to start from (kafka.brokers)
    #[arg(long, value_name = "HOST:PORT,…")]
    pub(crate) brokers: Option<String>,
    /// Address and port of the HTTP interface (http.listen)
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<String>,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub(crate) log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace, or a filter such as weir_service=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "WEIR_LOG_LEVEL")]
    pub(crate) log_level: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    /// Make the topics that are missing, with equal partition counts, compaction and retention as Weir needs them
    Create {
        #[command(flatten)]
        config: ConfigArgs,
        /// Partitions of each topic: the most instances that can share the work; cannot be changed later
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=100_000))]
        partitions: i32,
        /// Copies of each partition; the brokers' default where it is not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
        replication: Option<i32>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Which partition
    #[arg(long, value_name = "P")]
    pub(crate) partition: i32,
    /// File to write; refused where there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Look at the configuration alone, without reaching the brokers
    #[arg(long)]
    pub(crate) offline: bool,
}
