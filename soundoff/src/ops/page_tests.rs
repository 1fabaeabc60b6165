//! The page's own answers, on a store that nothing runs on: who may see dead letters where.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Response;
use soundoff_common::model::gate;
use soundoff_common::pipeline::audit::Trail;
use soundoff_common::ports::queues::{Outgoing, Queues as _};
use soundoff_common::ports::tables::Tables;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::secret::Secret;
use soundoff_embedded::queues::{EmbeddedQueues, Options};
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::*;
use soundoff_common::web::operator::operator_key;

/// A page, and its queue with some dead letters.
struct Desk {
    page: OpsPage,
    queues: Arc<EmbeddedQueues>,
    tables: Arc<dyn Tables>,
    keeper: Keeper,
    _dir: tempfile::TempDir,
}

const BODY: &str = r#"{"mid":"01JD0000000000000000000000","id":"poison-1","type":"post.get","from":"ann","at":7,"body":{"post":"secret"}}"#;

fn secret() -> Secret {
    Secret::new(&[7; 32]).unwrap()
}

fn key() -> OperatorCheck {
    OperatorCheck::of(&secret()).unwrap()
}

fn key_text() -> String {
    operator_key(&secret()).unwrap()
}

impl Desk {
    async fn new(guard: Guard, letters: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let names = vec![QueueName::of_type("post.get")];
        let queues = EmbeddedQueues::open(dir.path(), &names, Options::default()).unwrap();
        for _ in 0..letters {
            let sent =
                queues.send(vec![Outgoing { queue: names[0].clone(), body: BODY.into(), user: None }]).await;
            sent.into_iter().collect::<Result<Vec<_>, _>>().unwrap();
        }
        let hidden = Duration::from_secs(60);
        for message in queues.receive(&names[0], letters, hidden, hidden).await.unwrap() {
            queues.bury(&names[0], message.receipt, "chaos").await.unwrap();
        }
        let tables: Arc<dyn Tables> = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        let keeper = Keeper::default();
        let ops = Ops {
            queues: queues.clone(),
            names: names.clone(),
            tables: Some(tables.clone()),
            live: None,
            trail: Trail::start(queues.clone(), Metrics::new()),
        };
        let history = Arc::new(History::new(names));
        let weather = Weather::new(Metrics::new());
        let (ops, gate, turn) = (Arc::new(ops), Some(keeper.clone()), Mutex::default());
        let page = OpsPage { ops, history, guard, parts: &[Part::Queues], weather, gate, turn };
        Self { page, queues, tables, keeper, _dir: dir }
    }

    async fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> (StatusCode, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path).header("host", "127.0.0.1:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer: Response<_> = self.page.answer(request.body(Full::from(body.to_owned())).unwrap()).await;
        let status = answer.status();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Value) -> (StatusCode, Value) {
        let headers = [&[("content-type", "application/json")], headers].concat();
        self.ask(&format!("POST {path}"), &headers, &body.to_string()).await
    }
}

#[tokio::test]
async fn a_deployments_letters_open_to_the_operators_key_alone() {
    let (seen, watched) = watch::channel(Instant::now());
    let desk = Desk::new(Guard::Key { key: key(), seen }, 2).await;
    let shown = format!("Bearer {}", key_text());
    let another = format!("Bearer {}", operator_key(&Secret::new(&[8; 32]).unwrap()).unwrap());
    let requests = [
        ("/ops/letters", json!({ "queue": "post_get_q" })),
        ("/ops/letter", json!({ "queue": "post_get_q", "key": "1" })),
        ("/ops/redrive", json!({ "queue": "post_get_q", "limit": 1 })),
        ("/ops/gate", json!({ "close": { "reason": "new disks" } })),
    ];
    for (path, body) in &requests {
        // Headers that prove under `up` that our own page asks prove nothing here.
        let ours = [("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")];
        for headers in [
            &ours[..],
            &[("authorization", another.as_str())],
            &[("authorization", "Bearer ")],
            &[("authorization", "Basic 00")],
            &[("authorization", key_text().as_str())],
        ] {
            let (status, said) = desk.post(path, headers, body.clone()).await;
            assert_eq!(
                (status, &said["code"]),
                (StatusCode::UNAUTHORIZED, &json!("unauthorized")),
                "{headers:?}"
            );
        }
    }
    assert_eq!(
        desk.queues.depth(&QueueName::of_type("post.get")).await.unwrap().dead,
        2,
        "nothing was moved"
    );
    assert_eq!(gate::read(&*desk.tables).await.unwrap(), Gate::default(), "nothing was closed");

    let with_key = [("authorization", shown.as_str())];
    let (_, listed) = desk.post(requests[0].0, &with_key, requests[0].1.clone()).await;
    let letter = &listed["letters"][0];
    assert_eq!(
        (&letter["id"], &letter["type"], &letter["from"]),
        (&json!("poison-1"), &json!("post.get"), &json!("ann"))
    );
    assert_eq!(
        (&letter["attempts"], &letter["reason"], &letter["first_at"]),
        (&json!(1), &json!("chaos"), &json!(7))
    );
    assert!(!listed.to_string().contains("secret"), "bodies are not listed");
    let asked = json!({ "queue": "post_get_q", "key": letter["key"] });
    let (_, letter) = desk.post("/ops/letter", &with_key, asked).await;
    assert_eq!(letter["body"], BODY);
    let (status, moved) = desk.post(requests[2].0, &with_key, requests[2].1.clone()).await;
    assert_eq!((status, &moved["moved"]), (StatusCode::OK, &json!(1)));
    let (status, closed) = desk.post(requests[3].0, &with_key, requests[3].1.clone()).await;
    assert_eq!((status, &closed["gate"]["mode"]), (StatusCode::OK, &json!("closed")));

    // Anybody who sees /metrics may see plots; but only for an operator do we look at the queues.
    assert!(!watched.has_changed().unwrap());
    assert_eq!(desk.ask("GET /ops/data", &[], "").await.0, StatusCode::OK);
    assert_eq!(
        desk.ask("GET /ops/data", &[("authorization", &another)], "").await.0,
        StatusCode::UNAUTHORIZED
    );
    assert!(!watched.has_changed().unwrap(), "somebody without the key makes requests that are paid for");
    assert_eq!(desk.ask("GET /ops/data", &with_key, "").await.0, StatusCode::OK);
    assert!(watched.has_changed().unwrap());
}

#[tokio::test]
async fn under_up_no_other_sites_page_may_ask() {
    let desk = Desk::new(Guard::SameOrigin, 3).await;
    let asked = json!({ "queue": "post_get_q", "limit": 1 });
    for headers in [
        &[][..],
        &[("origin", "https://evil.example")],
        &[("origin", "http://127.0.0.1:8081")],
        &[("origin", "https://127.0.0.1:8080")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "cross-site")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
    ] {
        for (path, body) in [("/ops/redrive", &asked), ("/ops/gate", &json!({ "close": { "reason": "" } }))] {
            let (status, said) = desk.post(path, headers, body.clone()).await;
            assert_eq!((status, &said["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")), "{headers:?}");
        }
    }
    assert_eq!(gate::read(&*desk.tables).await.unwrap(), Gate::default(), "nothing was closed");
    let ours = [("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")];
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8"] {
        let headers = [ours[0], ours[1], ("content-type", kind)];
        let (status, _) = desk.ask("POST /ops/redrive", &headers, &asked.to_string()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    for ours in [&ours[..], &ours[..1], &ours[1..]] {
        assert_eq!(desk.post("/ops/redrive", ours, asked.clone()).await.1["moved"], 1, "{ours:?}");
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let desk = Desk::new(Guard::SameOrigin, 1).await;
    let ours = [("sec-fetch-site", "same-origin")];
    for (path, body, status) in [
        ("/ops/letters", json!({ "queue": "no_such_q" }), StatusCode::NOT_FOUND),
        ("/ops/letters", json!({ "queue": "Not A Name" }), StatusCode::NOT_FOUND),
        ("/ops/letters", json!({}), StatusCode::BAD_REQUEST),
        ("/ops/letters", json!({ "queue": "q".repeat(5000) }), StatusCode::PAYLOAD_TOO_LARGE),
        ("/ops/letter", json!({ "queue": "post_get_q", "key": "77" }), StatusCode::NOT_FOUND),
        ("/ops/redrive", json!({ "queue": "post_get_q", "limit": 0 }), StatusCode::BAD_REQUEST),
        ("/ops/redrive", json!({ "queue": "post_get_q", "limit": 1001 }), StatusCode::BAD_REQUEST),
        ("/ops/redrive", json!({ "queue": "post_get_q", "limit": -1 }), StatusCode::BAD_REQUEST),
        ("/ops/gate", json!({ "shut": {} }), StatusCode::BAD_REQUEST),
        ("/ops/gate", json!({ "close": { "reason": "x".repeat(65) } }), StatusCode::BAD_REQUEST),
        ("/ops/gate", json!({ "close": { "reason": "x", "for_s": 604_801 } }), StatusCode::BAD_REQUEST),
        ("/ops/gate", json!({ "close": { "reason": "x", "for_s": -1 } }), StatusCode::BAD_REQUEST),
        ("/ops/gate", json!({ "open": { "over_s": 604_801 } }), StatusCode::BAD_REQUEST),
        (
            "/ops/gate",
            json!({ "open": { "over_s": 9, "first": [{ "country": "G" }] } }),
            StatusCode::BAD_REQUEST,
        ),
        (
            "/ops/gate",
            json!({ "open": { "over_s": 9, "first": [{ "planet": "GB" }] } }),
            StatusCode::BAD_REQUEST,
        ),
        ("/ops/nothing", json!({}), StatusCode::NOT_FOUND),
    ] {
        let (is, said) = desk.post(path, &ours, body.clone()).await;
        assert_eq!(is, status, "{path} {body}: {said}");
    }
    for (line, status) in [
        ("GET /ops/redrive", StatusCode::METHOD_NOT_ALLOWED),
        ("GET /ops/gate", StatusCode::METHOD_NOT_ALLOWED),
        ("POST /ops/data", StatusCode::METHOD_NOT_ALLOWED),
        ("GET /ops/data?since=-1", StatusCode::BAD_REQUEST),
        ("GET /ops/data?since=99999999999999999999", StatusCode::BAD_REQUEST),
        ("GET /ops/data?until=1", StatusCode::OK),
        ("DELETE /ops", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(desk.ask(line, &ours, "").await.0, status, "{line}");
    }
    assert_eq!(desk.queues.depth(&QueueName::of_type("post.get")).await.unwrap().dead, 1);
}

#[tokio::test]
async fn the_gate_is_closed_and_opened_and_the_page_says_how_it_stands() {
    let mut desk = Desk::new(Guard::SameOrigin, 0).await;
    let ours = [("sec-fetch-site", "same-origin")];
    let stands = async |desk: &Desk| {
        desk.keeper.look(&*desk.tables).await;
        desk.ask("GET /ops/data", &[], "").await.1["gate"].clone()
    };
    assert_eq!(stands(&desk).await["mode"], "open");
    let order = json!({ "close": { "reason": "new disks", "for_s": 600 } });
    let (_, closed) = desk.post("/ops/gate", &ours, order).await;
    assert_eq!(stands(&desk).await, closed["gate"]);
    let since = closed["gate"]["since"].as_u64().unwrap();
    assert_eq!(closed["gate"]["until"], since + 600_000);
    assert_eq!((&closed["gate"]["mode"], &closed["gate"]["reason"]), (&json!("closed"), &json!("new disks")));
    let first = json!([{ "country": "GB" }, { "app": "ios-5.2" }]);
    let lower = json!([{ "country": "gb" }, { "app": "ios-5.2" }]);
    let order = json!({ "open": { "over_s": 60, "first": lower } });
    let (_, opening) = desk.post("/ops/gate", &ours, order).await;
    assert_eq!(stands(&desk).await, opening["gate"]);
    assert_eq!((&opening["gate"]["over_ms"], &opening["gate"]["first"]), (&json!(60_000), &first));
    assert_eq!(opening["gate"]["salt"], 0, "who knows it could choose an early place");
    assert_ne!(desk.keeper.gate().salt, 0);
    desk.post("/ops/gate", &ours, json!({ "open": {} })).await;
    assert_eq!(stands(&desk).await["mode"], "open");
    // A process without a public port knows nothing of the gate.
    desk.page.gate = None;
    assert_eq!(desk.ask("GET /ops/data", &[], "").await.1.get("gate"), None);
    let (status, _) = desk.post("/ops/gate", &ours, json!({ "open": {} })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
