//! Decisions as they are made.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::client::{SOON, connect, get, unchunked, with};
use super::fake::{serve, small};

/// A client that follows.
struct Following {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Following {
    fn start(at: SocketAddr, query: &str, headers: &str) -> Self {
        let mut stream = connect(at);
        write!(stream, "GET /v1/decisions{query} HTTP/1.1\r\nHost: weir\r\n{headers}\r\n").unwrap();
        Self { stream, bytes: Vec::new() }
    }

    /// Everything so far, once it holds `text`.
    fn until(&mut self, text: &str) -> String {
        let mut piece = [0; 4_096];
        loop {
            let all = self.all();
            if all.contains(text) {
                return all;
            }
            let length = self.stream.read(&mut piece).unwrap();
            assert!(length > 0, "the stream ended without {text}: {all}");
            self.bytes.extend_from_slice(&piece[..length]);
        }
    }

    fn all(&self) -> String {
        let middle = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(middle) = middle else { return String::new() };
        let head = String::from_utf8_lossy(&self.bytes[..middle]);
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream"),
            "{head}"
        );
        String::from_utf8(unchunked(&self.bytes[middle + 4..])).unwrap()
    }

    /// Whether the server ends the stream.
    fn ends(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok()
    }
}

fn followers(at: SocketAddr) -> String {
    let metrics = get(at, "/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix("weir_http_followers "));
    line.unwrap().to_owned()
}

fn await_followers(at: SocketAddr, expected: &str) {
    let end = Instant::now() + SOON;
    while followers(at) != expected {
        assert!(Instant::now() < end, "{} followers", followers(at));
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_follower_is_told_from_where_it_says() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    fake.log.decide(0, "{\"n\":0}");
    fake.log.decide(1, "{\"n\":1}");
    // From now on, with the position to come back to before anything was told.
    let mut now = Following::start(at, "", "");
    now.until("retry: 1000\nid: 3,3\n\n");
    fake.log.decide(1, "{\"n\":2}");
    fake.log.decide(0, "{\"n\":3}");
    let told = now.until("\"n\":3");
    let events = told.strip_prefix("retry: 1000\nid: 3,3\n\n").unwrap().replace(":\n\n", "");
    assert_eq!(events, "id: 3,4\ndata: {\"n\":2}\n\nid: 4,4\ndata: {\"n\":3}\n\n");

    // Cut off after any event, the next one follows.
    let mut again = Following::start(at, "?from=2,2", "Last-Event-ID: 3,4\r\n");
    let told = again.until("\"n\":3");
    let told = told.replace(":\n\n", "");
    assert!(told.ends_with("id: 3,4\n\nid: 4,4\ndata: {\"n\":3}\n\n"), "{told}");
    let mut all = Following::start(at, "?from=2%2C2", "");
    let told = all.until("\"n\":3");
    for event in ["id: 3,2\ndata: {\"n\":0}\n", "id: 3,3\ndata: {\"n\":1}\n", "id: 3,4\n", "id: 4,4\n"] {
        assert!(told.contains(event), "{told}");
    }
    // While there is nothing to tell, that the server is there.
    all.until("\"n\":3}\n\n:\n\n:\n\n");
    await_followers(at, "3");
    drop((now, again, all));
    await_followers(at, "0");
}

#[test]
fn a_position_that_is_none_is_a_problem() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    for position in ["x", "1,", ",1", "-1,2", "1;2", "1,2,3", "1", "9223372036854775808,1", "1.5,2", "%00"] {
        let reply = get(at, &format!("/v1/decisions?from={position}"));
        assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_position"), "{position}");
    }
    let long = vec!["2"; 20_000].join(",");
    assert_eq!(get(at, &format!("/v1/decisions?from={long}")).status, 400);
    let reply = get(at, "/v1/decisions?from=2,2&from=3,3");
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_position"));
    let reply = with(at, "GET", "/v1/decisions", "Last-Event-ID: \u{fe}\r\n");
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_position"));
    let reply = get(at, "/v1/decisions?from=2,1");
    assert_eq!((reply.status, reply.problem().as_str()), (410, "pruned"));
    assert!(reply.text().contains("partition 1"));
    let reply = with(at, "GET", "/v1/decisions?from=2,2", "Last-Event-ID: 0,0\r\n");
    assert_eq!(reply.status, 410);
}

#[test]
fn followers_have_a_bound() {
    let (server, _fake) = serve(None, super::super::Limits { followers: 2, ..small() });
    let at = server.address();
    let mut both = [Following::start(at, "", ""), Following::start(at, "", "")];
    both.iter_mut().for_each(|one| drop(one.until("id: ")));
    let reply = get(at, "/v1/decisions");
    assert_eq!((reply.status, reply.problem().as_str()), (503, "busy"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    drop(both);
    await_followers(at, "0");
    Following::start(at, "", "").until("id: ");
}

#[test]
fn a_follower_that_takes_nothing_is_cut_off() {
    let limits = super::super::Limits { write_wait: Duration::from_millis(200), ..small() };
    let (server, fake) = serve(None, limits);
    let at = server.address();
    let mut lazy = Following::start(at, "", "");
    lazy.until("id: ");
    await_followers(at, "1");
    // More than the buffers between the two hold.
    let decision = format!("\"{}\"", "x".repeat(1 << 20));
    for _ in 0..40 {
        fake.log.decide(0, &decision);
    }
    await_followers(at, "0");
}

#[test]
fn stopping_ends_the_streams() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    let mut one = Following::start(at, "", "");
    one.until("id: ");
    let start = Instant::now();
    assert!(server.stop(SOON));
    assert!(start.elapsed() < SOON / 2);
    assert!(one.ends());
    assert!(TcpStream::connect(at).is_err());
}
