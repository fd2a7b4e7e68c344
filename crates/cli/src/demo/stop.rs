//! Whoever has seen enough stops the demo, at any moment.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Whether the demo was told to stop, and by which signal; 0: it was not.
///
/// A signal ends nothing by itself: the service has to be stopped and the folder removed first.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop(Arc<AtomicU8>);

impl Stop {
    /// From now on Ctrl-C, SIGTERM and a terminal that is closed are told here.
    pub(super) fn on_signals() -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build().context("no signals")?;
        let within = runtime.enter();
        let listen = |kind| signal(kind).context("no signals");
        let mut hangup = listen(SignalKind::hangup())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        drop(within);
        let stop = Self::default();
        let told = stop.clone();
        let wait = async move {
            let kind = tokio::select! {
                _ = hangup.recv() => SignalKind::hangup(),
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            told.set(kind);
        };
        let waiting = thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait));
        waiting.context("no thread")?;
        Ok(stop)
    }

    fn set(&self, kind: SignalKind) {
        self.0.store(u8::try_from(kind.as_raw_value()).unwrap_or(u8::MAX), Ordering::Release);
    }

    /// Whether the demo was told to stop.
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// What shells take for the end by this signal; `None` where there was none.
    pub(super) fn exit_code(&self) -> Option<ExitCode> {
        match self.0.load(Ordering::Acquire) {
            0 => None,
            signal => Some(ExitCode::from(signal.saturating_add(128))),
        }
    }
}
