//! A client that sends exactly what a test says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything here takes.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// An answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a problem document, whose shape is checked.
    pub(super) fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap();
        assert_eq!(problem["type"], format!("urn:weir:problem:{code}"));
        assert_eq!(problem["status"], self.status);
        assert!(
            problem["title"].as_str().unwrap().len() >= 4 && problem["detail"].as_str().unwrap().len() >= 4
        );
        code.to_owned()
    }
}

pub(super) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

/// Sends a request as it stands and reads the answer until the server closes.
pub(super) fn raw(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = connect(address);
    // The server may answer and close before all was sent.
    let _ = stream.write_all(request);
    read(&mut stream)
}

/// Reads an answer to its end, which is the connection's.
pub(super) fn read(stream: &mut TcpStream) -> Reply {
    let mut all = Vec::new();
    let mut piece = [0; 4_096];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(length) => all.extend_from_slice(&piece[..length]),
        }
    }
    let middle = all.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(middle) = middle else { panic!("no answer: {:?}", String::from_utf8_lossy(&all)) };
    let head = String::from_utf8(all[..middle].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut reply = Reply { status, head, body: all[middle + 4..].to_vec() };
    if reply.header("transfer-encoding") == Some("chunked") {
        reply.body = unchunked(&reply.body);
    }
    reply
}

/// The body that chunks make.
pub(super) fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        let from = end + 2;
        if length == 0 || bytes.len() < from + length {
            break;
        }
        body.extend_from_slice(&bytes[from..from + length]);
        bytes = &bytes[from + length + 2..];
    }
    body
}

/// A request with headers and without a body.
pub(super) fn with(address: SocketAddr, method: &str, path: &str, headers: &str) -> Reply {
    raw(
        address,
        format!("{method} {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
    )
}

pub(super) fn get(address: SocketAddr, path: &str) -> Reply {
    with(address, "GET", path, "")
}

pub(super) fn post(address: SocketAddr, path: &str, media: &str, body: &[u8]) -> Reply {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\nContent-Type: {media}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    raw(address, &[head.as_bytes(), body].concat())
}
