//! A running service, and a client for it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// `weir` with nothing of this process's environment that could configure it.
pub(crate) fn weir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let ours = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WEIR_"));
    ours.for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.stdin(Stdio::null());
    command
}

/// Runs `weir` to its end, which must be a good one.
#[track_caller]
pub(crate) fn run(args: &[&str]) -> String {
    let output = weir().args(args).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "weir {args:?}: {out}\n{err}");
    out.into_owned()
}

/// Tells a process to stop.
#[track_caller]
pub(crate) fn terminate(child: &Child) {
    let pid = child.id();
    assert!(Command::new("sh").args(["-c", &format!("kill -TERM {pid}")]).status().unwrap().success());
}

/// A folder with a configuration for the embedded log.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new(more: &str) -> Self {
        let home = Self(TempDir::new().unwrap());
        let data = home.path("data");
        let text = format!(
            "log = \"embedded\"\ndata_dir = {data:?}\n[snapshots]\nurl = \"file:{}\"\nevery = \"300ms\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n{more}",
            home.path("snapshots").display()
        );
        std::fs::write(home.path("weir.toml"), text).unwrap();
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Starts the service and waits until it is ready.
    pub(crate) fn start(&self) -> Running {
        let mut child = weir()
            .args(["run", "--log-format", "json", "--config"])
            .arg(self.path("weir.toml"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut before = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0, "the service ended: {before}");
            let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = told["fields"]["http"].as_str() {
                break address.to_owned();
            }
            before.push_str(&line);
        };
        // Its log has to be read, or it would wait for a reader.
        let rest = std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = log.read_to_string(&mut rest);
            rest
        });
        let running = Running { child, address, log: Some(rest) };
        running.wait_until_ready();
        running
    }
}

/// A service that was started.
pub(crate) struct Running {
    child: Child,
    pub(crate) address: String,
    log: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn wait_until_ready(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = ask(&self.address, "GET", "/readyz", "", &[]);
            if answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                return;
            }
            assert!(Instant::now() < until, "not ready: {answer:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub(crate) fn post(&self, path: &str, lines: &str) -> Vec<String> {
        let answer = ask(&self.address, "POST", path, "application/x-ndjson", lines.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.lines().map(str::to_owned).collect()
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        ask(&self.address, "GET", path, "", &[]).unwrap()
    }

    /// Ends it without a word.
    pub(crate) fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.log.take().unwrap().join().unwrap()
    }

    /// Asks it to stop, which it must within ten seconds, and well.
    pub(crate) fn stop(mut self) -> String {
        let begun = Instant::now();
        terminate(&self.child);
        let status = self.child.wait().unwrap();
        let log = self.log.take().unwrap().join().unwrap();
        assert!(status.success(), "{status}: {log}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{log}");
        log
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Killed or stopped already, unless the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Sends a request and reads the answer to its end.
pub(crate) fn ask(
    address: &str,
    method: &str,
    path: &str,
    content_type: &str,
    body: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let content =
        if content_type.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{content}content-length: {length}\r\n\r\n"
    )?;
    stream.write_all(body)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    parsed(&String::from_utf8_lossy(&text)).ok_or_else(|| std::io::Error::other("the answer was cut off"))
}

fn parsed(text: &str) -> Option<Answer> {
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { unchunked(rest)? } else { rest.to_owned() };
    Some(Answer { status, body })
}

/// A chunked body, if it is whole.
fn unchunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

/// The decisions that the service has ever made, in order, read as events until `count` are there.
pub(crate) fn decisions(address: &str, count: usize) -> Vec<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET /v1/decisions?from=0 HTTP/1.1\r\nhost: {address}\r\n\r\n").unwrap();
    let mut found = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(decision) = line.strip_prefix("data:") {
            found.push(decision.trim().to_owned());
            if found.len() == count {
                break;
            }
        }
    }
    found
}

/// Generates a stream; gives transactions and mandates without `updated_at`, so that they are all in force before
/// the first transaction.
pub(crate) fn stream(folder: &Path, transactions: u32, seed: u32) -> (Vec<String>, Vec<String>) {
    let out = folder.to_str().unwrap();
    let (count, seed) = (transactions.to_string(), seed.to_string());
    run(&["generate", "--quiet", "--out", out, "--transactions", &count, "--seed", &seed]);
    let lines = |name: &str| -> Vec<String> {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    let mandates = lines("mandates.ndjson").into_iter().map(|line| {
        let mut mandate: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
        mandate.remove("updated_at");
        serde_json::to_string(&mandate).unwrap()
    });
    (lines("transactions.ndjson"), mandates.collect())
}
