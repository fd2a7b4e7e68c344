//! The server: connections in, within their bounds, until it is stopped.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, Sleep, sleep};

use super::routes::{App, Client};
use super::{Backend, Http, Limits};
use crate::metrics::Metrics;

/// Threads that serve requests; what blocks has others.
const WORKERS: usize = 2;
/// Most headers of a request, and bytes of its head.
const HEADERS_MAX: usize = 64;
/// As above.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Pause when no connection can be accepted, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long what blocks may go on when the server has stopped.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    within: Arc<Mutex<Duration>>,
    stopped: Mutex<Receiver<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, ends the streams of those who follow, and waits for requests that are being
    /// answered. False: not all were within that time, and those were cut off.
    pub fn stop(&self, within: Duration) -> bool {
        *self.within.lock().unwrap_or_else(PoisonError::into_inner) = within;
        self.stop.send_replace(true);
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.recv_timeout(within + LAST_WAIT).is_ok()
    }
}

impl Http {
    /// Starts to listen and to serve, on threads of its own.
    ///
    /// # Errors
    /// When the address cannot be listened on, or a thread not be started.
    pub fn start(self, backend: Arc<dyn Backend>) -> io::Result<Server> {
        let listener = StdListener::bind(self.listen)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stops) = watch::channel(false);
        let app = App::new(&self, backend, stops.clone())?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_name("weir-http")
            .enable_io()
            .enable_time()
            .build()?;
        let within = Arc::new(Mutex::new(Duration::ZERO));
        let (tell, stopped) = channel();
        let (limits, wait) = (self.limits, Arc::clone(&within));
        thread::Builder::new().name("weir-http".to_owned()).spawn(move || {
            let connections = Connections { metrics: Arc::clone(&app.metrics), router: app.router(), limits };
            let whole = runtime.block_on(async move {
                // It is not known to this runtime before it is told.
                let listener = TcpListener::from_std(listener)?;
                Ok::<_, io::Error>(connections.serve(listener, stops, &wait).await)
            });
            match whole {
                Ok(whole) => {
                    runtime.shutdown_timeout(LAST_WAIT);
                    if whole {
                        let _ = tell.send(());
                    }
                }
                Err(error) => tracing::error!(%error, "the HTTP server could not be started"),
            }
        })?;
        Ok(Server { address, stop, within, stopped: Mutex::new(stopped) })
    }
}

/// What every connection is served with.
struct Connections {
    router: Router,
    limits: Limits,
    metrics: Arc<Metrics>,
}

impl Connections {
    /// Accepts and serves connections until the server is stopped. True: all were served to their end.
    async fn serve(
        self,
        listener: TcpListener,
        mut stop: watch::Receiver<bool>,
        within: &Mutex<Duration>,
    ) -> bool {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        loop {
            let accepted = tokio::select! {
                accepted = self.accept(&listener, &places) => accepted,
                // The sender is dropped with the server, which means the same.
                _ = stop.wait_for(|&stop| stop) => break,
            };
            let Some((stream, client, place)) = accepted else { continue };
            let connection = self.connection(stream, client);
            let connection = graceful.watch(connection);
            let metrics = Arc::clone(&self.metrics);
            tokio::spawn(async move {
                metrics.connections().inc();
                // A client that breaks off, is too slow or talks nonsense has harmed nobody else.
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
                metrics.connections().dec();
                drop(place);
            });
        }
        drop(listener);
        let within = *within.lock().unwrap_or_else(PoisonError::into_inner);
        tokio::time::timeout(within, graceful.shutdown()).await.is_ok()
    }

    /// The next connection, when there is a place for it.
    async fn accept(
        &self,
        listener: &TcpListener,
        places: &Arc<Semaphore>,
    ) -> Option<(TcpStream, Client, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((stream, client)) => {
                // Answers are small and wait for nothing.
                let _ = stream.set_nodelay(true);
                Some((stream, Client(client.ip()), place))
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
                None
            }
        }
    }

    /// A connection, with its bounds.
    fn connection(
        &self,
        stream: TcpStream,
        client: Client,
    ) -> http1::Connection<TokioIo<Patient>, TowerToHyperService<Router>> {
        let io = TokioIo::new(Patient::new(stream, self.limits.write_wait));
        let service = TowerToHyperService::new(self.router.clone().layer(Extension(client)));
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_wait)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(io, service)
    }
}

/// A connection that fails when the client takes nothing of what is written to it for some time.
struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while a write waits for the client.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, waiting: None }
    }

    /// Passes on how a write went, unless it has waited too long.
    fn bounded<T>(&mut self, context: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.waiting = None;
            return wrote;
        }
        let patience = self.patience;
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.bounded(context, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.bounded(context, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
