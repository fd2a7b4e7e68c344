//! `cargo xtask kafka`: one Kafka broker for the tests, made of the files in `deploy/kafka`. It outlives this
//! tool; a state file under the target folder says where it is.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Subcommand;

use crate::run::{self, Outcome, Program};
use crate::setup;

/// Names a broker for the tests; set by the user, it is theirs and nothing is started.
pub(crate) const BOOTSTRAP: &str = "KAFKA_BOOTSTRAP";

/// The release in `deploy/kafka/pom.xml`. From 4.1 on, a broker that is restarted alone can leave transactions
/// hanging (KAFKA-20734).
pub(crate) const VERSION: &str = "4.0.2";
/// Pinned, because every Maven has another default.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
/// What the names of the brokers' folders start with; nothing else is ever removed.
const FOLDER: &str = "weir-kafka-";
/// Below the ports that the system gives to connecting sockets: those could take the port of a broker that
/// is down for a moment, even the sockets that look for it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const START: Duration = Duration::from_secs(90);
const STOP: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// What is tried again with other ports, and how often.
const CLASH: &str = "Address already in use";
const ATTEMPTS: usize = 5;

#[derive(Subcommand)]
pub(crate) enum Action {
    /// Start a broker unless one is up; the last line printed is its address
    Up,
    /// End the broker and remove its data
    Down,
    /// Let the broker shut down in order; its data stays
    Stop,
    /// End the broker at once (SIGKILL); its data stays
    Kill,
    /// Start a stopped or killed broker again, on the same data and ports
    Start,
    /// Let the broker stand still (SIGSTOP), as one does that is too busy to answer
    Pause,
    /// Let it go on (SIGCONT)
    Resume,
}

pub(crate) fn run(action: &Action) -> Outcome {
    match action {
        Action::Up => println!("{}", ensure()?.0),
        Action::Down => println!("{}", down()?),
        Action::Stop => println!("{}", locked(|| ours()?.end(&["TERM", "KILL"]))?),
        Action::Kill => println!("{}", locked(|| ours()?.end(&["KILL"]))?),
        Action::Start => println!("{}", locked(|| ours()?.start())?),
        Action::Pause => println!("{}", locked(|| ours()?.signal("STOP", "paused"))?),
        Action::Resume => println!("{}", locked(|| ours()?.signal("CONT", "resumed"))?),
    }
    Ok(())
}

/// Does `work` with the address of a broker, and takes the broker down again if it was brought up for this.
pub(crate) fn with_broker(work: impl FnOnce(&str) -> Outcome) -> Outcome {
    let (bootstrap, new) = ensure()?;
    let outcome = work(&bootstrap);
    if !new {
        return outcome;
    }
    // Whatever came of the work; but of two failures, that of the work is the one to show.
    let ended = down().map(|done| eprintln!("{done}"));
    outcome.and(ended)
}

/// The broker that the environment names.
pub(crate) fn given() -> Option<String> {
    std::env::var(BOOTSTRAP).ok().filter(|address| !address.is_empty())
}

pub(crate) fn has_jars() -> bool {
    libs().is_dir()
}

/// What `up` would fetch, fetched now.
pub(crate) fn fetch() -> Outcome {
    locked(jars)
}

/// Fetches the jars, once. A folder of that name is always whole: it is renamed last.
fn jars() -> Outcome {
    if has_jars() {
        return Ok(());
    }
    let half = folder().join(format!("libs-{VERSION}.tmp"));
    remove(&half)?;
    let to = format!("-DoutputDirectory={}", half.display());
    let mut mvn = Command::new("mvn");
    mvn.args(["-B", "-q", "-f"]).arg(source("pom.xml")).args([COPY_JARS, "-DincludeScope=runtime", &to]);
    setup::told(&mut mvn)?;
    fs::rename(&half, libs()).map_err(|error| named(&half, &error))
}

/// The address of a broker that is up, and whether it was started just now.
fn ensure() -> Result<(String, bool), String> {
    if let Some(bootstrap) = given() {
        reachable(&bootstrap)?;
        eprintln!("{BOOTSTRAP} is set: that broker is used as it is");
        return Ok((bootstrap, false));
    }
    locked(|| {
        if let Some(broker) = Broker::load()? {
            if broker.alive() {
                broker.answers(|| !broker.alive())?;
                eprintln!("a broker is up already, in {}", broker.dir.display());
                return Ok((broker.bootstrap, false));
            }
            eprintln!("{}", broker.remove()?);
        }
        setup::for_broker()?;
        jars()?;
        Ok((Broker::create()?.bootstrap, true))
    })
}

fn down() -> Result<String, String> {
    locked(|| match Broker::load()? {
        Some(broker) => broker.remove(),
        None => Ok("no broker is up".to_owned()),
    })
}

/// The broker of the state file, unless the environment names another one, which is not ours to stop.
fn ours() -> Result<Broker, String> {
    let broker = Broker::load()?.ok_or("there is no broker: cargo xtask kafka up")?;
    match given() {
        Some(other) if other != broker.bootstrap => {
            Err(format!("{BOOTSTRAP} names {other}; the broker of this workspace is {}", broker.bootstrap))
        }
        _ => Ok(broker),
    }
}

/// What the state file holds.
#[derive(Debug, PartialEq)]
struct Broker {
    /// Configuration, data and log.
    dir: PathBuf,
    /// Zero until it was started.
    pid: u32,
    bootstrap: String,
}

impl Broker {
    fn parse(text: &str) -> Option<Self> {
        let value = |key| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let (dir, pid) = (value("dir")?.into(), value("pid")?.parse().ok()?);
        Some(Self { dir, pid, bootstrap: value("bootstrap")?.to_owned() })
    }

    fn load() -> Result<Option<Self>, String> {
        match fs::read_to_string(state()) {
            Ok(text) => {
                let broken = || format!("{}: not a state file; remove it", state().display());
                Self::parse(&text).ok_or_else(broken).map(Some)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(named(&state(), &error)),
        }
    }

    fn save(&self) -> Outcome {
        let Self { dir, pid, bootstrap } = self;
        write(&state(), &format!("dir={}\npid={pid}\nbootstrap={bootstrap}\n", dir.display()))
    }

    /// A new broker; another process may take a port between the look at it and the start.
    fn create() -> Result<Self, String> {
        let mut attempt = 1;
        loop {
            let mut broker = Self::format()?;
            match broker.launch() {
                Ok(()) => return Ok(broker),
                Err(why) => {
                    let left = broker.remove().err().unwrap_or_default();
                    if attempt == ATTEMPTS || !why.contains(CLASH) || !left.is_empty() {
                        return Err(format!("{why}\n{left}"));
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// A folder of its own, readable by this user only, with configuration and formatted storage.
    fn format() -> Result<Self, String> {
        let id = cluster_id()?;
        let dir = std::env::temp_dir().join(format!("{FOLDER}{id}"));
        let (port, controller_port) = free_ports(&id)?;
        let broker = Self { dir: dir.clone(), pid: 0, bootstrap: format!("127.0.0.1:{port}") };
        // Before anything is there that `down` would have to find.
        broker.save()?;
        DirBuilder::new().mode(0o700).create(&dir).map_err(|error| named(&dir, &error))?;
        let template = source("server.properties");
        let template = fs::read_to_string(&template).map_err(|error| named(&template, &error))?;
        let (port, controller_port) = (port.to_string(), controller_port.to_string());
        let shown = dir.display().to_string();
        let values = [("port", &*port), ("controller_port", &controller_port), ("dir", &shown)];
        write(&broker.config(), &fill(&template, &values)?)?;
        let mut tool = broker.java(&["-Xmx64m", "-XX:TieredStopAtLevel=1"], "kafka.tools.StorageTool")?;
        tool.args(["format", "--cluster-id", &id, "--config"]).arg(broker.config());
        match tool.status() {
            Ok(status) if status.success() => Ok(broker),
            Ok(status) => {
                let why = broker.tail(&format!("its storage could not be formatted ({status})"));
                broker.remove()?;
                Err(why)
            }
            Err(error) => Err(format!("java: {error}")),
        }
    }

    fn start(mut self) -> Result<String, String> {
        if self.alive() {
            self.answers(|| !self.alive())?;
        } else {
            self.launch()?;
        }
        Ok(self.bootstrap)
    }

    /// Starts it in a process group of its own, so that Ctrl-C ends the tests and not the broker, and waits
    /// until it serves.
    fn launch(&mut self) -> Outcome {
        let mut java = self.java(&["-Xms256m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError"], "kafka.Kafka")?;
        java.arg(self.config()).process_group(0);
        let mut child = java.spawn().map_err(|error| format!("java: {error}"))?;
        self.pid = child.id();
        self.save()?;
        // Not `alive`: a process that has just begun has no command line yet.
        self.answers(|| !matches!(child.try_wait(), Ok(None)))
    }

    /// Waits until the broker lists itself as serving. Its port is open earlier than that.
    fn answers(&self, mut ended: impl FnMut() -> bool) -> Outcome {
        let started = Instant::now();
        while !serves(&self.bootstrap) {
            if ended() {
                return Err(self.tail("it ended"));
            }
            if started.elapsed() > START {
                return Err(self.tail(&format!("it does not serve after {} s", START.as_secs())));
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// A Java program of the jars, with its output in the broker's log.
    fn java(&self, flags: &[&str], class: &str) -> Result<Command, String> {
        let path = self.dir.join("broker.log");
        let log = File::options().create(true).append(true).open(&path);
        let log = log.and_then(|log| Ok((log.try_clone()?, log))).map_err(|error| named(&path, &error))?;
        let mut java = Command::new(setup::java().ok_or("no Java 17 or newer")?);
        java.current_dir(&self.dir).stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        java.arg("-XX:+UseSerialGC").args(flags);
        java.arg(format!("-Dlog4j2.configurationFile={}", source("log4j2.properties").display()));
        java.arg(format!("-Djava.io.tmpdir={}", self.dir.display()));
        java.arg("-cp").arg(libs().join("*")).arg(class);
        Ok(java)
    }

    fn config(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    /// Whether the process of that number is this broker, and no other that was given the number since.
    fn alive(&self) -> bool {
        let line = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("kafka.Kafka") && line.contains(&*self.dir.to_string_lossy())
    }

    /// Sends a signal that the broker survives.
    fn signal(&self, signal: &str, done: &str) -> Result<String, String> {
        if !self.alive() {
            return Err(format!("{} is not running", self.bootstrap));
        }
        send(signal, self.pid)?;
        Ok(format!("{} {done} (SIG{signal})", self.bootstrap))
    }

    /// Sends one signal after the other until the process is gone, and its port, which it gives back a little
    /// later.
    fn end(&self, signals: &[&str]) -> Result<String, String> {
        if !self.alive() {
            return Ok(format!("{} was not running", self.bootstrap));
        }
        for signal in signals {
            let sent = send(signal, self.pid);
            let started = Instant::now();
            while started.elapsed() < STOP {
                if !self.alive() && TcpStream::connect(&self.bootstrap).is_err() {
                    return Ok(format!("{} ended (SIG{signal})", self.bootstrap));
                }
                sleep(POLL);
            }
            sent?;
        }
        Err(format!("the broker, process {}, does not end", self.pid))
    }

    /// Ends it and removes all there is of it.
    fn remove(&self) -> Result<String, String> {
        let ended = self.end(&["TERM", "KILL"])?;
        if !self.dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER)) {
            return Err(format!("{}: names a folder that is no broker's", state().display()));
        }
        remove(&self.dir)?;
        fs::remove_file(state()).map_err(|error| named(&state(), &error))?;
        Ok(format!("{ended}; {} removed", self.dir.display()))
    }

    /// What went wrong, with the end of the broker's log.
    fn tail(&self, what: &str) -> String {
        let log = fs::read(self.dir.join("broker.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let mut lines: Vec<&str> = log.lines().rev().take(40).collect();
        lines.reverse();
        format!("the broker in {}: {what}; the end of its log:\n{}", self.dir.display(), lines.join("\n"))
    }
}

/// Sends a signal with the shell's own `kill`: the program of that name is not on every machine.
fn send(signal: &str, pid: u32) -> Outcome {
    Program::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).output().map(drop)
}

/// Whether the broker answers a request for its metadata with at least one broker that serves: itself.
fn serves(bootstrap: &str) -> bool {
    // Length, then key 3 (metadata), version 1, correlation 0, no client id, no topics.
    const REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
    let ask = || -> io::Result<[u8; 12]> {
        let address: SocketAddr = bootstrap.parse().map_err(io::Error::other)?;
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(&REQUEST)?;
        // Length, correlation, number of brokers.
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.ends_with(&[0, 0, 0, 1]))
}

/// All that can be asked of a broker that may want encryption: that one of its addresses can be reached.
fn reachable(bootstrap: &str) -> Outcome {
    let connects = |address| TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok();
    let mut hosts = bootstrap.split(',').filter_map(|host| host.trim().to_socket_addrs().ok()).flatten();
    if hosts.any(connects) {
        return Ok(());
    }
    Err(format!("{BOOTSTRAP}={bootstrap}: no connection; unset it to have a broker started"))
}

/// Replaces every `{name}` by its value.
fn fill(template: &str, values: &[(&str, &str)]) -> Result<String, String> {
    let filled = values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    match filled.lines().find(|line| line.contains(['{', '}'])) {
        Some(line) => Err(format!("the template has a place that nothing fills: {line}")),
        None => Ok(filled),
    }
}

/// 16 bytes in base64, as Kafka wants it. Hexadecimal digits are base64 too, and never start an option.
fn cluster_id() -> Result<String, String> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).take(21).collect();
    // The last character has four bits to spare, which are zero.
    Ok(format!("{digits}A"))
}

/// Two ports that nobody listens on, looked for from a random one.
fn free_ports(random: &str) -> Result<(u16, u16), String> {
    let first = random.get(..4).and_then(|digits| usize::from_str_radix(digits, 16).ok()).unwrap_or(0);
    let mut free = PORTS
        .cycle()
        .skip(first % PORTS.len())
        .take(PORTS.len())
        .filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().zip(free.next()).ok_or_else(|| "no free port on 127.0.0.1".to_owned())
}

/// One at a time, so that two who want a broker do not start two.
fn locked<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let path = folder().join("lock");
    let lock = fs::create_dir_all(folder()).and_then(|()| File::create(&path));
    // Released when the file is closed.
    let lock = lock.and_then(|lock| lock.lock().map(|()| lock)).map_err(|error| named(&path, &error))?;
    let done = work();
    drop(lock);
    done
}

fn folder() -> PathBuf {
    run::target().join("kafka")
}

fn libs() -> PathBuf {
    folder().join(format!("libs-{VERSION}"))
}

fn state() -> PathBuf {
    folder().join("broker.state")
}

fn source(name: impl AsRef<OsStr>) -> PathBuf {
    run::root().join("deploy").join("kafka").join(name.as_ref())
}

fn named(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| named(path, &error))
}

/// Removes a folder with all that is in it; none is fine.
fn remove(dir: &Path) -> Outcome {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(dir, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_filled_and_nothing_is_left_open() {
        let values = [("port", "1"), ("controller_port", "2"), ("dir", "/d")];
        let template = fs::read_to_string(source("server.properties")).unwrap();
        let filled = fill(&template, &values).unwrap();
        assert!(
            filled.contains("\nlisteners=PLAINTEXT://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n"),
            "{filled}"
        );
        assert!(filled.contains("\nlog.dirs=/d/data\n"), "{filled}");
        assert!(fill(&template, &values[..2]).unwrap_err().contains("log.dirs={dir}/data"));
    }

    #[test]
    fn a_state_file_needs_all_three_lines() {
        let whole = "dir=/tmp/weir-kafka-a=b\npid=12\nbootstrap=127.0.0.1:20001\n";
        let dir = PathBuf::from("/tmp/weir-kafka-a=b");
        let broker = Broker { dir, pid: 12, bootstrap: "127.0.0.1:20001".to_owned() };
        assert_eq!(Broker::parse(whole), Some(broker));
        for line in whole.lines() {
            assert_eq!(Broker::parse(&whole.replace(line, "")), None, "without {line}");
        }
        assert_eq!(Broker::parse(&whole.replace("12", "-1")), None);
    }

    #[test]
    fn the_release_is_the_one_that_maven_fetches() {
        let pom = fs::read_to_string(source("pom.xml")).unwrap();
        assert!(pom.contains(&format!("<kafka.version>{VERSION}</kafka.version>")));
    }

    #[test]
    fn a_cluster_id_is_22_characters_of_base64() {
        let id = cluster_id().unwrap();
        assert!(id.len() == 22 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
    }
}
