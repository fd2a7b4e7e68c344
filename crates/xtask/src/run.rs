//! Starting other programs, always in the root of the workspace.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What every command of this tool gives: nothing, or why it failed, for a person to read.
pub(crate) type Outcome = Result<(), String>;

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    // The manifest lies in crates/xtask.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub(crate) fn target() -> PathBuf {
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
    root().join(folder)
}

/// Where this tool keeps the pinned tools that it installs, out of the way of the user's own.
pub(crate) fn tools() -> PathBuf {
    root().join("target").join("tools")
}

/// `cargo` of the pinned toolchain with these arguments.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut program = Program::new(&cargo.to_string_lossy());
    program.shown = "cargo".to_owned();
    program.args(arguments)
}

/// A program about to be run, and its command line as a person would type it.
pub(crate) struct Program {
    command: Command,
    shown: String,
}

impl Program {
    pub(crate) fn new(name: &str) -> Self {
        let mut command = Command::new(name);
        command.current_dir(root());
        Self { command, shown: name.to_owned() }
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        for argument in arguments {
            self.shown.push(' ');
            self.shown.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.shown = format!("{name}={value} {}", self.shown);
        self.command.env(name, value);
        self
    }

    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs it on this terminal; anything but exit code 0 is an error that names the command line.
    pub(crate) fn checked(mut self) -> Outcome {
        eprintln!("$ {}", self.shown);
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` failed ({status})", self.shown)),
            Err(error) => Err(format!("`{}` could not be started: {error}", self.shown)),
        }
    }

    /// Runs it silently and gives its standard output; failure carries its standard error.
    pub(crate) fn output(mut self) -> Result<String, String> {
        match self.command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(output) => Err(format!(
                "`{}` failed ({}):\n{}",
                self.shown,
                output.status,
                String::from_utf8_lossy(&output.stderr).trim_end()
            )),
            Err(error) => Err(format!("`{}` could not be started: {error}", self.shown)),
        }
    }

    /// Runs it silently for at most `limit`, then ends it. For what may hang without a network.
    pub(crate) fn within(mut self, limit: Duration) -> Outcome {
        let started = Instant::now();
        let mut child = self
            .command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("`{}` could not be started: {error}", self.shown))?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("`{}` failed ({status})", self.shown)),
                Ok(None) if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(100)),
                Ok(None) => {
                    // Whether it could be ended or had just ended by itself, it is over for us.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("`{}` did not finish in {} s", self.shown, limit.as_secs()));
                }
                Err(error) => return Err(format!("`{}`: {error}", self.shown)),
            }
        }
    }
}
