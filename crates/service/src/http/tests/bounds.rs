//! Clients that are slow, many or rude.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use super::super::Limits;
use super::client::{SOON, connect, get, post, raw, read};
use super::fake::{serve, small};

/// How long the slow are waited for here.
const WAIT: Duration = Duration::from_millis(300);

/// A request of which only the head comes.
const HEAD: &str = "POST /v1/transactions HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n";

/// Whether the server closes within a few times its patience.
fn is_cut(stream: &mut TcpStream, start: Instant) {
    let mut rest = Vec::new();
    // Closed in order or reset, as long as it is closed.
    let _ = stream.read_to_end(&mut rest);
    let took = start.elapsed();
    assert!(took >= WAIT / 2 && took < SOON / 2, "{took:?}");
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let (server, _fake) = serve(None, Limits { head_wait: WAIT, ..small() });
    let at = server.address();
    let start = Instant::now();
    let mut silent = connect(at);
    let mut started = connect(at);
    started.write_all(b"GET /healthz HTTP/1.1\r\nHost: w").unwrap();
    // A byte now and then does not help.
    let mut dripping = connect(at);
    dripping.write_all(b"GET /healthz HTTP/1.1\r\nX: ").unwrap();
    let mut drips = 0;
    while dripping.write_all(b"x").is_ok() && start.elapsed() < SOON {
        drips += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(drips < 200, "{drips}");
    for stream in [&mut silent, &mut started, &mut dripping] {
        is_cut(stream, start);
    }
    // Nor is the next request of a connection that was used.
    let mut used = connect(at);
    used.write_all(b"GET /healthz HTTP/1.1\r\nHost: w\r\n\r\n").unwrap();
    let start = Instant::now();
    is_cut(&mut used, start);
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (server, fake) = serve(None, Limits { body_wait: WAIT, ..small() });
    let mut stream = connect(server.address());
    stream.write_all(HEAD.as_bytes()).unwrap();
    for _ in 0..3 {
        stream.write_all(b"x").unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    let reply = read(&mut stream);
    assert_eq!((reply.status, reply.problem().as_str()), (408, "request_timeout"));
    // Nor one whose sender has gone.
    let mut gone = connect(server.address());
    gone.write_all(HEAD.as_bytes()).unwrap();
    drop(gone);
    std::thread::sleep(WAIT);
    assert_eq!(fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap().len(), 0);
}

#[test]
fn bodies_have_a_bound_together() {
    let (server, _fake) = serve(None, Limits { bodies_bytes: 2 << 10, ..small() });
    let at = server.address();
    let pay = || post(at, "/v1/transactions", "application/json", b"pay");
    let expecting = HEAD.replace("Host: w\r\n", "Host: w\r\nExpect: 100-continue\r\n");
    let mut both = [connect(at), connect(at)];
    for stream in &mut both {
        assert_eq!(pay().status, 200);
        stream.write_all(expecting.as_bytes()).unwrap();
        // Asked for the body, it holds its room.
        let mut answer = [0; 25];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    }
    let reply = pay();
    assert_eq!((reply.status, reply.problem().as_str()), (503, "busy"));
    // The two are served when their bodies come, and then there is room again.
    for stream in &mut both {
        stream.write_all(b"0123456789").unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    assert_eq!(pay().status, 200);
}

#[test]
fn requests_of_a_client_have_a_bound() {
    let limits = Limits { requests_per_second: NonZeroU32::MIN, ..small() };
    let (server, fake) = serve(Some("secret"), limits);
    let at = server.address();
    let pay = || post(at, "/v1/transactions", "application/json", b"pay");
    // Who has no token is counted too. Where the machine is slow, a second passes between two of them.
    let reply = (0..1_000).map(|_| pay()).find(|reply| reply.status != 401).unwrap();
    assert_eq!((reply.status, reply.problem().as_str()), (429, "too_many_requests"));
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap().len(), 0);
    // Health always answers, and metrics have a bound of their own.
    for _ in 0..5 {
        assert_eq!(get(at, "/healthz").status, 200);
    }
    assert_eq!(get(at, "/metrics").status, 401);
    // And so is everything for who waits as he is told.
    while pay().status != 401 {
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn connections_have_a_bound() {
    let (server, _fake) = serve(None, Limits { connections: 2, ..small() });
    let at = server.address();
    let mut first = connect(at);
    let second = connect(at);
    let mut third = connect(at);
    for stream in [&mut first, &mut third] {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").unwrap();
    }
    // The first is served, which makes a place for the third.
    assert_eq!(read(&mut first).status, 200);
    assert_eq!(read(&mut third).status, 200);
    let fourth = connect(at);
    let mut fifth = connect(at);
    fifth.write_all(b"GET /healthz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n").unwrap();
    fifth.set_read_timeout(Some(WAIT)).unwrap();
    assert!(fifth.read(&mut [0; 16]).is_err(), "served past the bound");
    fifth.set_read_timeout(Some(SOON)).unwrap();
    drop((second, fourth));
    assert_eq!(read(&mut fifth).status, 200);
}

#[test]
fn nonsense_harms_nobody() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET /%zz HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: w\r\nX: \x00\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/transactions HTTP/1.1\r\nHost: w\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut stream = connect(at);
        stream.write_all(nonsense).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 2") && !answer.starts_with(b"HTTP/1.1 5"), "{nonsense:?}");
    }
    // A head that is too long, and one of too many headers.
    let long = format!("GET /{} HTTP/1.1\r\nHost: w\r\n\r\n", "x".repeat(200_000));
    let reply = raw(at, long.as_bytes());
    assert!(reply.status == 414 || reply.status == 431, "{reply:?}");
    let many = format!("GET /healthz HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1_000));
    assert_eq!(raw(at, many.as_bytes()).status, 431);
    assert_eq!(get(at, "/healthz").status, 200);
}

#[test]
fn stopping_waits_for_what_is_being_answered() {
    let (server, fake) = serve(None, Limits { answer_wait: SOON, ..small() });
    let at = server.address();
    let takes = fake.takes.lock().unwrap().clone().unwrap();
    let asking = std::thread::spawn(move || post(at, "/v1/transactions", "application/json", b"silence"));
    while takes.silent.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let stopping = std::thread::spawn(move || server.stop(SOON));
    std::thread::sleep(WAIT);
    assert!(!stopping.is_finished());
    let answers = takes.silent.lock().unwrap().pop().unwrap();
    answers.send((0, weir_log::Answer::Decided(b"{}".to_vec()))).unwrap();
    assert_eq!(asking.join().unwrap().status, 200);
    assert!(stopping.join().unwrap());
}

#[test]
fn stopping_does_not_wait_for_ever() {
    let (server, fake) = serve(None, Limits { answer_wait: SOON, ..small() });
    let at = server.address();
    let mut stream = connect(at);
    stream.write_all(HEAD.replace(": 10", ": 7").as_bytes()).unwrap();
    stream.write_all(b"silence").unwrap();
    let takes = fake.takes.lock().unwrap().clone().unwrap();
    while takes.silent.lock().unwrap().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let start = Instant::now();
    assert!(!server.stop(WAIT));
    assert!(start.elapsed() < SOON / 2);
}

#[test]
fn an_address_in_use_is_an_error() {
    let (server, fake) = serve(None, small());
    let http = super::super::Http { listen: server.address(), token: None, limits: small() };
    assert!(http.start(fake).is_err());
}
