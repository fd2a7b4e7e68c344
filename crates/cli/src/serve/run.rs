//! `weir run`: the service.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use weir_log::Submit;
use weir_service::http::{Http, Limits, Server};
use weir_service::metrics::Metrics;
use weir_service::{Instance, ServiceError, Told};

use super::{As, Opened, open, settings, start_logging};
use crate::args::RunArgs;
use crate::config::{Config, Override};
use crate::configured;
use crate::failure::Failure;

/// Longest that a stop may take; what is not committed then is left to recovery.
const STOP_WITHIN: Duration = Duration::from_millis(9_500);

/// How long open requests are waited for at a stop.
const HTTP_STOP_WITHIN: Duration = Duration::from_secs(1);
/// Longest token that is read from a file.
const TOKEN_BYTES_MAX: usize = 4096;

/// Serves until it is told to stop.
pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let brokers = args.brokers.iter().map(|given| Override::flag("--brokers", "kafka.brokers", given));
    let listen = args.listen.iter().map(|given| Override::flag("--listen", "http.listen", given));
    let config = configured(&args.config, brokers.chain(listen).collect())?;
    start_logging(args.log_format, &args.log_level)?;
    let mut signals = Signals::new()?;
    // A log that is away is waited for, and a signal ends that.
    let (tell, started) = oneshot::channel();
    let start = move || {
        // Nobody listens any more once a signal has come.
        let _ = tell.send(Service::start(&config));
    };
    thread::Builder::new().name("start".to_owned()).spawn(start).context("no thread")?;
    let Some(started) = signals.unless_told_to_stop(started)? else {
        tracing::info!("stopped before the start was done");
        return Ok(());
    };
    let service = started.context("the start panicked")??;
    signals.wait(&service)?;
    service.stop()
}

/// The signals by which a process is told to stop.
struct Signals {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    fn new() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no runtime")?;
        let handled = |kind| {
            let _within = runtime.enter();
            signal(kind).context("no signals")
        };
        let (terminate, interrupt) = (handled(SignalKind::terminate())?, handled(SignalKind::interrupt())?);
        Ok(Self { runtime, terminate, interrupt })
    }

    /// What `work` comes to; `None` when a signal comes first.
    fn unless_told_to_stop<W: Future>(&mut self, work: W) -> Result<Option<W::Output>, Failure> {
        let Self { runtime, terminate, interrupt } = self;
        Ok(runtime.block_on(async {
            tokio::select! {
                done = work => Some(done),
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
            }
        }))
    }

    /// Returns when the process is told to stop, or the service has stopped by itself.
    fn wait(&mut self, service: &Service) -> Result<(), Failure> {
        let finished = async {
            while !service.serving.is_finished() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        self.unless_told_to_stop(finished).map(drop)
    }
}

/// A running service: an instance and what it is reached by.
pub(crate) struct Service {
    instance: Arc<Instance>,
    serving: JoinHandle<Result<(), ServiceError>>,
    http: Server,
}

impl Service {
    /// Starts to serve the log that the configuration names.
    pub(crate) fn start(config: &Config) -> Result<Self, Failure> {
        let Opened { log, embedded } = open(config, As::Member)?;
        let metrics = Arc::new(Metrics::new());
        let instance = Instance::new(log, settings(config), metrics).context("cannot start")?;
        if let Some(log) = &embedded {
            let (registry, counted) = (Arc::clone(instance.registry()), Arc::clone(instance.metrics()));
            log.set_mandate_hook(Box::new(move |record| match registry.put(0, record.borrow()) {
                Ok(Ok(mandate_id)) => Ok(mandate_id),
                Ok(Err(bad)) => {
                    counted.mandate_rejected(bad.fault.code);
                    Err(String::from_utf8_lossy(&bad.json).into_owned())
                }
                Err(full) => Err(full.to_string()),
            }));
        }
        let http = Http {
            listen: config.service.http.listen,
            token: token(&config.service.http.token_file)?,
            limits: Limits {
                requests_per_second: config.service.http.max_requests_per_second,
                ..Limits::default()
            },
        };
        let submit = embedded.map(|log| Arc::new(log) as Arc<dyn Submit>);
        let told = Told { instance: Arc::clone(&instance), submit };
        let listen = http.listen;
        let http = http.start(Arc::new(told)).with_context(|| format!("cannot listen on {listen}"))?;
        let own = Arc::clone(&instance);
        let serving = thread::Builder::new().name("instance".to_owned()).spawn(move || own.run());
        tracing::info!(http = %http.address(), "started");
        Ok(Self { instance, serving: serving.context("no thread")?, http })
    }

    /// Where the HTTP interface listens.
    pub(crate) fn http_address(&self) -> SocketAddr {
        self.http.address()
    }

    /// Finishes what was begun and leaves the log.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        tracing::info!("stopping");
        let begun = Instant::now();
        self.instance.stop();
        // Those who wait for an answer get it, if it is committed in time.
        let _ = self.http.stop(HTTP_STOP_WITHIN);
        while !self.serving.is_finished() {
            if begun.elapsed() > STOP_WITHIN {
                // Everything committed is safe, and the rest is recovered by whoever comes next.
                tracing::warn!("not finished in time; left to recovery");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        let served = self.serving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        served.context("the service has stopped")?;
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "stopped");
        Ok(())
    }
}

/// The bearer token in a file: its first line. An empty name is no token.
fn token(file: &str) -> Result<Option<String>, Failure> {
    if file.is_empty() {
        return Ok(None);
    }
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read http.token_file {file}"))?;
    let token = text.lines().next().unwrap_or_default().trim();
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX {
        return Err(Failure::Usage(format!("http.token_file {file}: its first line must be a token")));
    }
    Ok(Some(token.to_owned()))
}
