//! Transactions and mandates.

use serde_json::{Value, json};
use weir_events::RejectCode;
use weir_log::{Kind, LogError};

use super::client::{Reply, post, raw, with};
use super::fake::{serve, small};

const ONE: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const PAY: &str = "/v1/transactions";

fn rows(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(LINES)), "{reply:?}");
    assert!(reply.body.is_empty() || reply.body.ends_with(b"\n"));
    reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_record_gets_its_decision_or_a_problem() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    let reply = post(at, PAY, ONE, b"pay 1");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(ONE)));
    assert_eq!(reply.json(), json!({ "decided": "pay 1" }));
    let reply = post(at, "/v1/mandates", "Application/JSON; charset=utf-8", b"{}");
    assert_eq!((reply.status, reply.json()), (200, json!({ "accepted": true })));
    // What is no record at all is for the log to reject: nothing vanishes here.
    post(at, PAY, ONE, b"");
    post(at, PAY, ONE, b"\xff\x00 line\nline");
    let taken = std::mem::take(&mut *fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap());
    assert_eq!(
        taken,
        [
            (Kind::Transactions, b"pay 1".to_vec()),
            (Kind::Mandates, b"{}".to_vec()),
            (Kind::Transactions, Vec::new()),
            (Kind::Transactions, b"\xff\x00 line\nline".to_vec()),
        ]
    );

    for code in RejectCode::ALL {
        let reply = post(at, PAY, ONE, format!("reject {}", code.name()).as_bytes());
        let expected = match code.name() {
            "invalid_json" | "not_an_object" | "duplicate_field" | "empty_record" => 400,
            "duplicate_conflict" => 409,
            "too_large" => 413,
            _ => 422,
        };
        assert_eq!((reply.status, reply.problem().as_str()), (expected, code.name()));
        let problem = reply.json();
        assert_eq!((&problem["field"], &problem["detail"]), (&json!("amount"), &json!("no good")));
    }
    let reply = post(at, PAY, ONE, b"reject of_a_later_release");
    assert_eq!((reply.status, reply.problem().as_str()), (422, "of_a_later_release"));
    let reply = post(at, PAY, ONE, b"plain this is not JSON");
    assert_eq!((reply.status, reply.problem().as_str()), (422, "invalid_record"));
    assert_eq!(reply.json()["detail"], "this is not JSON");
    let reply = post(at, PAY, ONE, b"forgotten");
    assert_eq!((reply.status, reply.problem().as_str()), (410, "decision_pruned"));
    let reply = post(at, PAY, ONE, b"unavailable");
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
    assert_eq!(
        (reply.header("retry-after"), &reply.json()["detail"]),
        (Some("1"), &json!("the disk is full"))
    );
    // Answers that never come, known at once or not.
    let reply = post(at, PAY, ONE, b"lost");
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
}

#[test]
fn who_gets_no_answer_is_told_so_and_others_after_it_are_served() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    let reply = post(at, PAY, ONE, b"silence");
    assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
    assert!(reply.text().contains("has not answered"));
    let takes = fake.takes.lock().unwrap().clone().unwrap();
    takes.silent.lock().unwrap().clear();
    assert_eq!(post(at, PAY, ONE, b"pay").status, 200);
}

#[test]
fn a_log_that_takes_nothing_says_why() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    let takes = fake.takes.lock().unwrap().clone().unwrap();
    let refuse = |error: LogError| takes.refusals.lock().unwrap().push_back(Some(error));
    for media in [ONE, LINES] {
        refuse(LogError::Unavailable("the queue is full".to_owned()));
        let reply = post(at, PAY, media, b"pay");
        assert_eq!((reply.status, reply.problem().as_str()), (503, "unavailable"));
        assert_eq!(
            (reply.header("retry-after"), &reply.json()["detail"]),
            (Some("1"), &json!("the queue is full"))
        );
        refuse(LogError::Refused("more than ever".to_owned()));
        let reply = post(at, PAY, media, b"pay");
        assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
    }
    *fake.takes.lock().unwrap() = None;
    for path in [PAY, "/v1/mandates"] {
        let reply = post(at, path, ONE, b"pay");
        assert_eq!((reply.status, reply.problem().as_str()), (404, "embedded_log_only"));
    }
    assert_eq!(takes.taken.lock().unwrap().len(), 0);
}

#[test]
fn only_the_two_media_types_are_read() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    for headers in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/jsonx\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    ] {
        let reply = with(at, "POST", PAY, headers);
        assert_eq!((reply.status, reply.problem().as_str()), (415, "unsupported_media_type"), "{headers}");
    }
    let plain = "Content-Type: application/json\r\nContent-Encoding: identity\r\n";
    assert_eq!(with(at, "POST", PAY, plain).status, 200);
    assert_eq!(fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap().len(), 1);
}

#[test]
fn lines_are_answered_in_their_order() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    let body = b"\xef\xbb\xbfpay 1\r\n\n  \t\npay 2\nreject invalid_time\n\r\nlost\npay 3";
    let rows_of = rows(&post(at, PAY, LINES, body));
    assert_eq!(rows_of[..2], [json!({ "decided": "pay 1" }), json!({ "decided": "pay 2" })]);
    assert_eq!((&rows_of[2]["code"], &rows_of[2]["status"]), (&json!("invalid_time"), &json!(422)));
    assert_eq!(
        (&rows_of[2]["line"], &rows_of[2]["type"]),
        (&json!(5), &json!("urn:weir:problem:invalid_time"))
    );
    assert_eq!((&rows_of[3]["code"], &rows_of[3]["line"]), (&json!("unavailable"), &json!(7)));
    assert_eq!(rows_of[4..], [json!({ "decided": "pay 3" })]);
    assert_eq!(rows(&post(at, "/v1/mandates", LINES, b"{}\n{}\n")), vec![json!({ "accepted": true }); 2]);
    assert!(rows(&post(at, PAY, LINES, b"")).is_empty());
    assert!(rows(&post(at, PAY, LINES, b"\n \n")).is_empty());

    // More than is handed in at once.
    let many: Vec<String> = (0..5_000).map(|number| format!("p {number}")).collect();
    let answers = rows(&post(at, PAY, LINES, many.join("\n").as_bytes()));
    assert!(answers.iter().zip(&many).all(|(answer, pay)| answer["decided"] == *pay));
    assert_eq!(answers.len(), 5_000);
    let more = format!("{}\np", many.join("\n"));
    let reply = post(at, PAY, LINES, more.as_bytes());
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
}

#[test]
fn a_line_that_is_too_large_is_refused_alone() {
    let (server, fake) = serve(None, small());
    let largest = format!("p {}", "x".repeat(998));
    let body = format!("pay 1\n{largest}\n{largest}x\n{largest}xy\npay 2\n");
    let answers = rows(&post(server.address(), PAY, LINES, body.as_bytes()));
    assert_eq!((&answers[0]["decided"], &answers[1]["decided"]), (&json!("pay 1"), &json!(largest)));
    for (answer, line) in [(&answers[2], 3), (&answers[3], 4)] {
        assert_eq!(
            (&answer["code"], &answer["status"], &answer["line"]),
            (&json!("too_large"), &json!(413), &json!(line))
        );
    }
    assert_eq!((&answers[4]["decided"], answers.len()), (&json!("pay 2"), 5));
    assert_eq!(fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap().len(), 3);
}

#[test]
fn what_the_log_does_not_take_of_many_lines_is_told_in_its_place() {
    let (server, fake) = serve(None, small());
    let takes = fake.takes.lock().unwrap().clone().unwrap();
    let full = || Some(LogError::Unavailable("the queue is full".to_owned()));
    let many: Vec<String> = (1..=3_500).map(|number| format!("p {number}")).collect();
    let body = many.join("\n");
    // Full once: what comes after waits for its turn.
    takes.refusals.lock().unwrap().extend([None, full()]);
    let answers = rows(&post(server.address(), PAY, LINES, body.as_bytes()));
    assert!(
        answers.len() == 3_500 && answers.iter().zip(&many).all(|(answer, pay)| answer["decided"] == *pay)
    );
    // Full for good: the first two thousand are decided, and of the others each is told.
    takes.refusals.lock().unwrap().extend([None, None].into_iter().chain((0..20).map(|_| full())));
    let answers = rows(&post(server.address(), PAY, LINES, body.as_bytes()));
    assert_eq!(answers.len(), 3_500);
    for (answer, line) in answers.iter().zip(1..) {
        if line <= 2_000 {
            assert_eq!(answer["decided"], format!("p {line}"));
        } else {
            assert_eq!((&answer["code"], &answer["line"]), (&json!("unavailable"), &json!(line)));
        }
    }
}

#[test]
fn a_body_has_a_bound_whether_it_says_its_length_or_not() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    assert_eq!(post(at, PAY, ONE, &[b'x'; 1_000]).status, 200);
    let reply = post(at, PAY, ONE, &[b'x'; 1_001]);
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
    let reply = post(at, PAY, LINES, &[b'x'; 200_001]);
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
    // It is refused before it is sent.
    let head = "POST /v1/transactions HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Type: application/json\r\n";
    let reply = raw(at, format!("{head}Content-Length: 18446744073709551615\r\n\r\n").as_bytes());
    assert!((400..500).contains(&reply.status), "{reply:?}");
    let reply = raw(at, format!("{head}Content-Length: 1000000\r\n\r\n").as_bytes());
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked =
        |chunks| format!("{head}Transfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(chunks));
    assert_eq!(raw(at, chunked(2).as_bytes()).status, 200);
    let reply = raw(at, chunked(3).as_bytes());
    assert_eq!((reply.status, reply.problem().as_str()), (413, "too_large"));
    assert_eq!(fake.takes.lock().unwrap().as_ref().unwrap().taken.lock().unwrap().len(), 2);
}
