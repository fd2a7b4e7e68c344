//! Looks at the instances from outside while they are tormented: memory, lag, what the metrics tell.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::instances::Running;
use crate::kafka::Observer;
use crate::process::rss_peak_kib;
use crate::site::Site;

/// How long an answer may take.
const WAIT: Duration = Duration::from_secs(2);
/// Most readers that are left unread.
const FOLLOWERS: usize = 4;

/// What was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    /// Most memory of any instance.
    pub(crate) rss_peak_kib: u64,
    /// Greatest number of records between the group's positions and the ends.
    pub(crate) lag_max: u64,
    /// Greatest lag that an instance told of.
    pub(crate) lag_told: u64,
    /// How often metrics could be read.
    pub(crate) metrics_read: u64,
    /// Connections that follow the decisions and read nothing.
    pub(crate) followers: u64,
}

/// Positions by partition.
type Positions = Arc<Mutex<Vec<i64>>>;

/// Two threads that look.
pub(crate) struct Monitor {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    /// What the group had committed of each partition when last asked.
    committed: Positions,
    threads: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Starts to look.
    pub(crate) fn start(site: &Site, running: Running) -> Result<Self> {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Seen::default())));
        let committed = Positions::default();
        let topic = site.topic("transactions");
        let observer = Observer::new(&site.brokers, &site.prefix, &topic, site.partitions)?;
        let group = {
            let (stop, seen, committed) = (Arc::clone(&stop), Arc::clone(&seen), Arc::clone(&committed));
            thread::spawn(move || watch_group(&observer, &stop, &seen, &committed))
        };
        let processes = {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            thread::spawn(move || watch_processes(&running, &stop, &seen))
        };
        Ok(Self { stop, seen, committed, threads: vec![group, processes] })
    }

    /// Records that the group had committed when last asked.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.lock().unwrap().iter().sum::<i64>().unsigned_abs()
    }

    /// Position that the group had committed of a partition when last asked.
    pub(crate) fn position(&self, partition: i32) -> i64 {
        let at = usize::try_from(partition).unwrap_or(usize::MAX);
        self.committed.lock().unwrap().get(at).copied().unwrap_or(0)
    }

    /// The greatest lag so far.
    pub(crate) fn lag_max(&self) -> u64 {
        self.seen.lock().unwrap().lag_max
    }

    /// Ends it and tells what was seen.
    pub(crate) fn finish(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        *self.seen.lock().unwrap()
    }
}

fn watch_group(observer: &Observer, stop: &AtomicBool, seen: &Mutex<Seen>, committed: &Mutex<Vec<i64>>) {
    while !stop.load(Ordering::Relaxed) {
        // The broker may be away.
        let asked = observer.positions(WAIT).and_then(|positions| Ok((positions, observer.ends(WAIT)?)));
        if let Ok((positions, ends)) = asked {
            let sum = |numbers: &[i64]| numbers.iter().sum::<i64>().unsigned_abs();
            let (position, end) = (sum(&positions), sum(&ends));
            *committed.lock().unwrap() = positions;
            let mut seen = seen.lock().unwrap();
            seen.lag_max = seen.lag_max.max(end.saturating_sub(position));
        }
        sleep(Duration::from_millis(250));
    }
}

fn watch_processes(running: &Running, stop: &AtomicBool, seen: &Mutex<Seen>) {
    // Kept open and never read: what is sent to them must not pile up.
    let mut followers: Vec<TcpStream> = Vec::new();
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let now = running.lock().unwrap().clone();
        for (pid, _) in &now {
            let peak = rss_peak_kib(*pid).unwrap_or(0);
            let mut seen = seen.lock().unwrap();
            seen.rss_peak_kib = seen.rss_peak_kib.max(peak);
        }
        if looked.elapsed() > Duration::from_secs(1) {
            looked = Instant::now();
            for (_, port) in &now {
                look_at(*port, seen, &mut followers);
            }
        }
        sleep(Duration::from_millis(100));
    }
}

/// Reads an instance's metrics, and leaves a reader with it that does not read.
fn look_at(port: u16, seen: &Mutex<Seen>, followers: &mut Vec<TcpStream>) {
    let Some(text) = get(port, "/metrics") else { return };
    let lag: f64 = samples(&text, "weir_lag_records").sum();
    let follower = follow(port);
    let mut seen = seen.lock().unwrap();
    seen.metrics_read += 1;
    seen.lag_told = seen.lag_told.max(lag as u64);
    if let Some(follower) = follower {
        seen.followers += 1;
        if followers.len() == FOLLOWERS {
            followers.remove(0);
        }
        followers.push(follower);
    }
}

/// Values of a metric.
pub(crate) fn samples<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse().ok()
    })
}

/// A connection that follows the decisions, of which no more is read than that it was accepted.
fn follow(port: u16) -> Option<TcpStream> {
    let mut stream = request(port, "/v1/decisions")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).ok()?;
    (status == *b"HTTP/1.1 200").then_some(stream)
}

fn request(port: u16, path: &str) -> Option<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(1))).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    Some(stream)
}

/// The answer to a request, head and all.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut text = Vec::new();
    request(port, path)?.take(4 << 20).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.starts_with("HTTP/1.1 200").then_some(text)
}
