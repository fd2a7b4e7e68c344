//! Running the binary and looking at what it left.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// `weir` with nothing of this process's environment that could configure it.
pub(crate) fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_"));
    ours.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// What a run printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    /// The run, which must have ended with this code.
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// The run, whose message must hold each of these.
    #[track_caller]
    pub(crate) fn told(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.err.contains(part), "no '{part}' in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// Runs `weir` with these arguments.
pub(crate) fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    weir().args(args).output().unwrap().into()
}

/// Runs `weir` with text on its standard input.
pub(crate) fn run_with_stdin(args: &[&str], input: &[u8]) -> Ran {
    run_piped(weir().args(args), input)
}

/// Runs a command with text on its standard input, through a pipe.
pub(crate) fn run_piped(command: &mut Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It may end before it has read everything.
        scope.spawn(move || stdin.write_all(input).err());
        child.wait_with_output().unwrap().into()
    })
}

/// A folder of a test's own.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.text(name)
    }

    /// Generates a stream into `stream`, with more arguments.
    pub(crate) fn generate(&self, transactions: u32, more: &[&str]) -> Stream {
        let (out, count) = (self.text("stream"), transactions.to_string());
        run([&["generate", "--quiet", "--out", &out, "--transactions", &count], more].concat()).ended(0);
        let file = |name: &str| format!("{out}/{name}.ndjson");
        Stream { transactions: file("transactions"), mandates: file("mandates"), labels: file("labels") }
    }
}

/// Files of a generated stream.
pub(crate) struct Stream {
    pub(crate) transactions: String,
    pub(crate) mandates: String,
    pub(crate) labels: String,
}

/// Replays into a folder, with more arguments.
pub(crate) fn replay(transactions: &str, mandates: Option<&str>, out: &str, more: &[&str]) -> Ran {
    let mandates = mandates.map(|mandates| ["--mandates", mandates]);
    let inputs = ["replay", "--quiet", "--transactions", transactions, "--out", out];
    run([&inputs[..], mandates.as_ref().map_or(&[], |pair| &pair[..]), more].concat())
}

/// A file of the fixtures.
pub(crate) fn fixture(name: &str) -> String {
    format!("{}/../../fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn reference_transactions() -> String {
    fixture("reference/transactions.ndjson")
}

pub(crate) fn reference_mandates() -> String {
    fixture("reference/mandates.ndjson")
}

/// A plain payment: `tx_{number}`, of agent and user `number % 7`, at a time.
pub(crate) fn payment(number: u32, time: &str) -> String {
    let who = number % 7;
    format!(
        "{{\"tx_id\":\"tx_{number}\",\"agent_id\":\"agt_{who}\",\"user_id\":\"usr_{who}\",\
         \"merchant\":\"shop.example\",\"amount\":\"12.50\",\"tx_time\":\"{time}\"}}\n"
    )
}

/// The records of an NDJSON file.
pub(crate) fn records(path: impl AsRef<Path>) -> Vec<Value> {
    let text = fs::read_to_string(path.as_ref()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(crate) fn summary(out: &str) -> Value {
    serde_json::from_slice(&fs::read(format!("{out}/summary.json")).unwrap()).unwrap()
}

/// Every file of a replay's output by name, the summary without what the clock says.
pub(crate) fn outputs(out: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for folder in ["", "views"] {
        for entry in fs::read_dir(Path::new(out).join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                let name = format!("{folder}/{}", entry.file_name().to_str().unwrap());
                files.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut summary = summary(out);
    for timing in ["seconds", "records_per_second"] {
        assert!(summary.as_object_mut().unwrap().remove(timing).is_some());
    }
    files.insert("/summary.json".to_owned(), summary.to_string().into_bytes());
    files
}

/// Two replays gave the same bytes in every file.
#[track_caller]
pub(crate) fn assert_same(one: &str, other: &str) {
    assert_same_but(one, other, &[]);
}

/// Two replays gave the same bytes in every file but those named.
#[track_caller]
pub(crate) fn assert_same_but(one: &str, other: &str, except: &[&str]) {
    let (mut one, mut other) = (outputs(one), outputs(other));
    for name in except {
        assert!(one.remove(*name).is_some() && other.remove(*name).is_some(), "{name}");
    }
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        assert!(bytes == other[&name], "{name} differs");
    }
}

/// Records in = decisions + duplicates + rejects, by the summary and by the files. Gives the summary.
#[track_caller]
pub(crate) fn assert_accounted(out: &str, transactions: u64, mandates: u64) -> Value {
    let summary = summary(out);
    let count = |group: &str, name: &str| summary[group][name].as_u64().unwrap();
    let lines = |name: &str| records(format!("{out}/{name}.ndjson")).len() as u64;
    let of = |name: &str| count("transactions", name);
    assert_eq!(of("records"), transactions, "{summary}");
    assert_eq!(of("records"), of("decisions") + of("duplicates") + of("rejects"), "{summary}");
    assert_eq!(count("mandates", "records"), mandates, "{summary}");
    assert_eq!(lines("decisions"), of("decisions"));
    assert_eq!(lines("rejects"), of("rejects") + count("mandates", "rejects"));
    let by_code: u64 = summary["rejects"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(lines("rejects"), by_code);
    let by_action: u64 = summary["actions"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(lines("decisions"), by_action);
    summary
}

/// Nothing is in a folder, or it is not there.
#[track_caller]
pub(crate) fn assert_nothing(out: &str) {
    if let Ok(entries) = fs::read_dir(out) {
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert!(names.is_empty(), "{out} holds {names:?}");
    }
}
