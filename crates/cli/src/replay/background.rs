//! A file written by a thread of its own, so that deciding does not wait for the disk.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// Bytes handed over at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that may wait; past it the writer of records waits instead.
const CHUNKS_WAITING: usize = 4;

/// A [`Write`] whose bytes are written in the background. An error shows at a later write, at the
/// latest in [`Background::finish`].
#[derive(Debug)]
pub(super) struct Background {
    chunk: Vec<u8>,
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Background {
    pub(super) fn new(file: File) -> Self {
        let (full, waiting) = sync_channel(CHUNKS_WAITING);
        let (used, empty) = channel();
        let thread = thread::spawn(move || write_all(file, &waiting, &used));
        Self { chunk: Vec::with_capacity(CHUNK_BYTES), full: Some(full), empty, thread: Some(thread) }
    }

    /// Takes all of `bytes` without a copy and leaves an empty vector in its place.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        if !self.chunk.is_empty() {
            self.hand_over()?;
        }
        std::mem::swap(&mut self.chunk, bytes);
        self.hand_over()
    }

    /// Waits until everything is written.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let handed = if self.chunk.is_empty() { Ok(()) } else { self.hand_over() };
        self.full = None;
        handed.and(self.outcome())
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK_BYTES));
        let chunk = std::mem::replace(&mut self.chunk, next);
        let sent = self.full.as_ref().is_some_and(|full| full.send(chunk).is_ok());
        // The thread ends early only when it failed.
        if sent { Ok(()) } else { self.outcome().and(Err(io::ErrorKind::BrokenPipe.into())) }
    }

    fn outcome(&mut self) -> io::Result<()> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Write for Background {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.full = None;
        // Whoever wanted the outcome has called `finish`.
        let _ = self.outcome();
    }
}

fn write_all(mut file: File, waiting: &Receiver<Vec<u8>>, used: &Sender<Vec<u8>>) -> io::Result<()> {
    for mut chunk in waiting {
        file.write_all(&chunk)?;
        chunk.clear();
        // Nobody takes it back once the writer of records is gone.
        let _ = used.send(chunk);
    }
    Ok(())
}
