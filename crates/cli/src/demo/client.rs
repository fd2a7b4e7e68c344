//! A client of the demo's own service: HTTP/1.1 on one connection, which is kept.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::stop::Stop;

/// How often a wait for the service looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// Longest that the service may say nothing; longer than it may take for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the service answered.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A client, with its connection where there is one.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    stop: Stop,
    kept: Option<BufReader<Connection>>,
}

impl Client {
    pub(super) fn new(address: SocketAddr, stop: Stop) -> Self {
        Self { address, stop, kept: None }
    }

    /// Gets what is at a path.
    pub(super) fn get(&mut self, path: &str) -> io::Result<Response> {
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address), &[])
    }

    /// Posts a record per line.
    pub(super) fn post(&mut self, path: &str, lines: &[u8]) -> io::Result<Response> {
        let (host, length) = (self.address, lines.len());
        let kind = "Content-Type: application/x-ndjson";
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{kind}\r\nContent-Length: {length}\r\n\r\n");
        self.request(&head, lines)
    }

    fn request(&mut self, head: &str, body: &[u8]) -> io::Result<Response> {
        // The service closes a connection that was idle, as while this process was suspended. What it has taken
        // by then it takes again: a repeat gets the stored decision.
        if let Some(kept) = self.kept.take() {
            match self.talk(kept, head, body) {
                Err(error) if is_closed(error.kind()) && !self.stop.is_set() => {}
                talked => return talked,
            }
        }
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        self.talk(BufReader::new(Connection { stream, stop: self.stop.clone() }), head, body)
    }

    fn talk(&mut self, mut to: BufReader<Connection>, head: &str, body: &[u8]) -> io::Result<Response> {
        to.get_mut().stream.write_all(&[head.as_bytes(), body].concat())?;
        let response = read(&mut to)?;
        self.kept = Some(to);
        Ok(response)
    }
}

fn is_closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}

/// Reads a response.
fn read(from: &mut impl BufRead) -> io::Result<Response> {
    let status = line(from)?;
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(garbled)?;
    let (mut length, mut in_chunks) = (0, false);
    loop {
        let header = line(from)?.to_ascii_lowercase();
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().map_err(|_| garbled())?,
            Some(("transfer-encoding", value)) => in_chunks = value == "chunked",
            Some(_) => {}
            None => break,
        }
    }
    let mut body = Vec::new();
    if !in_chunks {
        exactly(from, length, &mut body)?;
        return Ok(Response { status, body });
    }
    loop {
        let length = u64::from_str_radix(line(from)?.trim(), 16).map_err(|_| garbled())?;
        exactly(from, length, &mut body)?;
        line(from)?;
        if length == 0 {
            return Ok(Response { status, body });
        }
    }
}

/// A line without its end.
fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn exactly(from: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = from.take(length).read_to_end(body)?;
    if read as u64 == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

fn garbled() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "the service's answer is not HTTP")
}

/// A connection that is waited at until there is something, or no reason to wait any more.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    stop: Stop,
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                // A signal is looked for like the lack of an answer.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => return read,
            }
            if self.stop.is_set() || Instant::now() >= until {
                return Err(io::Error::new(ErrorKind::TimedOut, "the service gave no answer"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> io::Result<(u16, String)> {
        let response = read(&mut text.as_bytes())?;
        Ok((response.status, String::from_utf8(response.body).unwrap()))
    }

    #[test]
    fn both_kinds_of_bodies_are_read() {
        let whole = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nabcde";
        assert_eq!(read_text(whole).unwrap(), (404, "abc".to_owned()));
        let chunks =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(read_text(chunks).unwrap(), (200, "ab\n0123456789".to_owned()));
    }

    #[test]
    fn what_ends_too_early_is_an_error() {
        for text in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", "what\r\n\r\n"] {
            assert!(read_text(text).is_err(), "{text}");
        }
    }
}
