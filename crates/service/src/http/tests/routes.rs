//! Every path, who may ask, and what is told of paths that are none.

use serde_json::json;

use super::client::{get, post, with};
use super::fake::{serve, small};
use crate::metrics::CONTENT_TYPE;

#[test]
fn health_tells_what_the_service_says() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    let told = |path| {
        let reply = get(at, path);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.json(), json!({ "partitions": {} }));
        reply.status
    };
    assert_eq!((told("/healthz"), told("/readyz")), (200, 200));
    fake.health.lock().unwrap().ready = false;
    assert_eq!((told("/healthz"), told("/readyz")), (200, 503));
    fake.health.lock().unwrap().live = false;
    assert_eq!((told("/healthz"), told("/readyz")), (503, 503));
}

#[test]
fn metrics_are_openmetrics_and_count_requests() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    get(at, "/healthz");
    get(at, "/v1/agents/u/a");
    get(at, "/nowhere");
    let reply = get(at, "/metrics");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some(CONTENT_TYPE)));
    for line in [
        "weir_http_requests_total{route=\"/healthz\",status=\"200\"} 1",
        "weir_http_requests_total{route=\"/v1/agents/{user_id}/{agent_id}\",status=\"200\"} 1",
        "weir_http_requests_total{route=\"other\",status=\"404\"} 1",
        "weir_http_connections 1",
    ] {
        assert!(reply.text().contains(line), "{line} in {}", reply.text());
    }
    assert!(reply.text().ends_with("# EOF\n"));
}

#[test]
fn a_profile_is_found_by_its_ids() {
    let (server, fake) = serve(None, small());
    let at = server.address();
    let reply = get(at, "/v1/agents/usr_1/agt_2");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.json(), json!({ "user_id": "usr_1", "agent_id": "agt_2" }));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let head = with(at, "HEAD", "/v1/agents/usr_1/agt_2", "");
    assert_eq!((head.status, head.body.len()), (200, 0));

    let reply = get(at, "/v1/agents/unknown/a");
    assert_eq!((reply.status, reply.problem().as_str()), (404, "unknown_agent"));
    let reply = get(at, "/v1/agents/elsewhere/a");
    assert_eq!((reply.status, reply.problem().as_str()), (421, "shard_elsewhere"));
    let reply = get(at, "/v1/agents/recovering/a");
    assert_eq!((reply.status, reply.problem().as_str()), (503, "recovering"));
    assert_eq!(reply.header("retry-after"), Some("1"));

    // The ids are what the path says, decoded once and no more.
    fake.asked.lock().unwrap().clear();
    let long = "x".repeat(128);
    for (path, user_id, agent_id) in [
        ("/v1/agents/a%2Fb/..%2F..%2Fetc", "a/b", "../../etc"),
        ("/v1/agents/../secret", "..", "secret"),
        ("/v1/agents/%2e%2e/%2e", "..", "."),
        ("/v1/agents/a+b/c%20d", "a+b", "c d"),
        ("/v1/agents/%2525/%3F%23", "%25", "?#"),
        ("/v1/agents/%C3%A9/a?user_id=x", "é", "a"),
        (&format!("/v1/agents/{long}/a"), &long, "a"),
    ] {
        assert_eq!(get(at, path).status, 200, "{path}");
        let asked = fake.asked.lock().unwrap().pop().unwrap();
        assert_eq!((asked.0.as_str(), asked.1.as_str()), (user_id, agent_id), "{path}");
    }
    // What cannot be an id is nobody, and nobody is asked.
    let longer = format!("/v1/agents/{long}x/a");
    for path in ["/v1/agents/a%00/b", "/v1/agents/a/%0d%0aX-Y:%20z", "/v1/agents//a", &longer] {
        let reply = get(at, path);
        assert_eq!((reply.status, reply.problem().as_str()), (404, "unknown_agent"), "{path}");
        assert!(!reply.text().contains("xxx"), "{}", reply.text());
    }
    let reply = get(at, "/v1/agents/%ff/b");
    assert_eq!((reply.status, reply.problem().as_str()), (400, "invalid_path"));
    assert_eq!(fake.asked.lock().unwrap().len(), 0);
}

#[test]
fn what_is_no_path_is_a_problem_and_echoes_nothing() {
    let (server, _fake) = serve(None, small());
    let at = server.address();
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/agents",
        "/v1/agents/",
        "/v1/agents/u",
        "/v1/agents/u/",
        "/v1/agents/u/a/",
        "/v1/agents/u/a/b",
        "/v1//agents/u/a",
        "/v1%2Fagents/u/a",
        "/v1/decisions/",
        "/METRICS",
        "/../healthz",
        "/4111111111111111",
    ] {
        let reply = get(at, path);
        assert_eq!((reply.status, reply.problem().as_str()), (404, "not_found"), "{path}");
        assert!(!reply.text().contains("4111"));
    }
    for (method, path, allow) in [
        ("POST", "/healthz", "GET,HEAD"),
        ("DELETE", "/v1/agents/u/a", "GET,HEAD"),
        ("PUT", "/v1/decisions", "GET,HEAD"),
        ("GET", "/v1/transactions", "POST"),
        ("OPTIONS", "/v1/mandates", "POST"),
    ] {
        let reply = with(at, method, path, "");
        assert_eq!((reply.status, reply.problem().as_str()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
    }
}

#[test]
fn all_but_health_needs_the_token() {
    let (server, fake) = serve(Some("s3cret"), small());
    let at = server.address();
    assert_eq!((get(at, "/healthz").status, get(at, "/readyz").status), (200, 200));
    let wrong = [
        "",
        "Authorization: Bearer s3cre\r\n",
        "Authorization: Bearer s3crets\r\n",
        "Authorization: Bearer S3CRET\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: Basic s3cret\r\n",
        "Authorization: s3cret\r\n",
        "Authorization: Bearer \u{fe}\r\n",
        "X-Authorization: Bearer s3cret\r\n",
    ];
    for headers in wrong {
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/v1/agents/u/a"),
            ("GET", "/v1/decisions"),
            ("POST", "/v1/transactions"),
            ("POST", "/v1/mandates"),
            ("GET", "/nowhere"),
            ("POST", "/metrics"),
        ] {
            let reply = with(at, method, path, headers);
            assert_eq!((reply.status, reply.problem().as_str()), (401, "unauthorized"), "{path} {headers}");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"weir\""));
        }
    }
    assert_eq!(fake.asked.lock().unwrap().len(), 0);
    assert_eq!(post(at, "/v1/transactions", "application/json", b"a").status, 401);
    for right in ["Authorization: Bearer s3cret\r\n", "authorization: bearer  s3cret \r\n"] {
        assert_eq!(with(at, "GET", "/v1/agents/u/a", right).status, 200);
        assert_eq!(with(at, "GET", "/nowhere", right).status, 404);
    }
}
