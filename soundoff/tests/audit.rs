//! The audit trail: each kind of event is in the log, in `soundoff audit` and in the archive, with no secret in it.

mod support;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use support::client::Client;
use support::web::{code, post, sign_in, web};
use support::{Server, soundoff, tokens};

/// How long an event may take from its call to `soundoff audit`.
const SOON: Duration = Duration::from_secs(20);

/// What `soundoff audit` shows.
fn trail(server: &Server, more: &[&str]) -> Vec<Value> {
    let text = server.command(&[&["audit", "--json"], more].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of a kind, once there are as many.
async fn events(server: &Server, kind: &str, many: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let found = trail(server, &["--kind", kind]);
        if found.len() >= many {
            assert_eq!(found.len(), many, "{kind}: {found:?}");
            return found;
        }
        assert!(begun.elapsed() < SOON, "{kind}: {found:?} of {:?}", trail(server, &[]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn authorized(server: &Server, line: &str, access: &Value, body: &Value) -> u16 {
    let bearer = format!("Bearer {}", access.as_str().unwrap());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    web(&server.address, line, &headers, body.to_string().as_bytes()).await.status
}

/// Whether a line of the log is an event of the kind.
fn logged(log: &str, kind: &str) -> usize {
    let said = format!("kind=\"{kind}\"");
    log.lines().filter(|line| line.contains(" audit: ") && line.contains(&said)).count()
}

/// Texts that no event may hold.
type Secrets = Vec<String>;

/// Somebody signs up, mistypes a code, adds a way to sign in and takes it away. Returns their session as well.
async fn signs_up(server: &Server, secrets: &mut Secrets) -> (Value, Value) {
    let address = server.address.clone();
    let ann = sign_in(server, "ann").await;
    let signed_in = events(server, "signed_in", 1).await.remove(0);
    assert_eq!(
        [&signed_in["user"], &signed_in["way"], &signed_in["created"]],
        [&json!("ann"), &json!("email"), &json!(true)]
    );
    assert_eq!(signed_in["household"].as_str().unwrap().len(), 16);

    // A wrong code, a second way to sign in, and away with it.
    let phone = "+442079460018";
    let started = post(&address, "/v1/auth/phone/start", &json!({ "phone": phone })).await.json();
    let good = code(server, phone, 0).await;
    let wrong = format!("{:06}", (good.parse::<u32>().unwrap() + 1) % 1_000_000);
    let mut proof = json!({ "phone": phone, "request": started["request"], "code": wrong });
    assert_eq!(post(&address, "/v1/auth/phone/verify", &proof).await.status, 401);
    proof["code"] = json!(good);
    let verify = "POST /v1/auth/phone/verify";
    assert_eq!(authorized(server, verify, &ann["access_token"], &proof).await, 200);
    let refused = events(server, "sign_in_refused", 1).await.remove(0);
    assert_eq!(
        (&refused["reason"], &refused["household"]),
        (&json!("unauthorized"), &signed_in["household"])
    );
    let linked = events(server, "linked", 1).await.remove(0);
    assert_eq!(
        [&linked["user"], &linked["way"], &linked["session"]],
        [&json!("ann"), &json!("phone"), &signed_in["session"]]
    );
    let bearer = format!("Bearer {}", ann["access_token"].as_str().unwrap());
    let listed = web(&address, "GET /v1/auth/identities", &[("authorization", &bearer)], b"").await.json();
    let items = listed["items"].as_array().unwrap();
    let id = items.iter().find(|item| item["kind"] == "phone").unwrap()["id"].as_str().unwrap();
    let unlink = format!("DELETE /v1/auth/identities/{id}");
    assert_eq!(authorized(server, &unlink, &ann["access_token"], &json!({})).await, 204);
    events(server, "unlinked", 1).await;
    secrets.extend([good, wrong, phone.to_owned(), "2079460018".to_owned(), "ann@example.org".to_owned()]);
    (ann, signed_in["session"].clone())
}

/// They sign out of another session, and somebody uses a stolen token of the first.
async fn signs_out(server: &Server, (ann, session): (&Value, &Value), secrets: &mut Secrets) {
    let address = server.address.clone();
    // A session that is signed out, and one that was stolen.
    let out = sign_in(server, "ann").await;
    post(&address, "/v1/auth/logout", &json!({ "refresh_token": out["refresh_token"] })).await;
    assert_eq!(events(server, "logged_out", 1).await[0]["user"], "ann");
    let mut token = ann["refresh_token"].clone();
    for _ in 0..2 {
        token = post(&address, "/v1/auth/refresh", &json!({ "refresh_token": token })).await.json()["refresh_token"].take();
    }
    assert_eq!(
        post(&address, "/v1/auth/refresh", &json!({ "refresh_token": ann["refresh_token"] })).await.status,
        401
    );
    assert_eq!(events(server, "refresh_reused", 1).await[0]["session"], *session);
    events(server, "session_ended", 2).await;
    for tokens in [ann, &out] {
        secrets
            .extend(["access_token", "refresh_token"].map(|name| tokens[name].as_str().unwrap().to_owned()));
    }
    secrets.push(token.as_str().unwrap().to_owned());
}

/// What operators do, and who they are.
async fn operate(server: &Server, secrets: &mut Secrets) {
    let address = server.address.clone();
    let dev = tokens(&address, &["bob", "cid"]).await;
    assert_eq!(events(server, "dev_tokens", 1).await[0]["count"], 2);
    server.command(&["users", "role", "ann", "moderator"]);
    server.command(&["users", "revoke", "bob"]);
    server.command(&["users", "rotate-keys"]);
    server.command(&["gate", "close", "--reason", "new disks"]);
    server.command(&["gate", "open"]);
    server.command(&["workers", "pause"]);
    server.command(&["workers", "resume"]);
    server.command(&["dlq", "list", "post_create_q"]);
    // There is no such letter, but somebody looked.
    let look = ["dlq", "show", "post_create_q", "7", "--data"];
    assert!(!soundoff().args(look).arg(server.data()).status().unwrap().success());
    server.command(&["dlq", "redrive", "post_create_q"]);
    server.command(&["secret", "rotate"]);
    server.command(&["gate", "status"]);
    let role = events(server, "role_changed", 1).await.remove(0);
    assert_eq!([&role["user"], &role["what"]], [&json!("ann"), &json!("moderator")]);
    let uid = String::from_utf8(std::process::Command::new("id").arg("-u").output().unwrap().stdout).unwrap();
    assert!(role["by"].as_str().unwrap().contains(uid.trim()), "{role}");
    assert_eq!(events(server, "revoked", 1).await[0]["user"], "bob");
    events(server, "key_rotated", 1).await;
    events(server, "secret_rotated", 1).await;
    let operated = events(server, "operated", 6).await;
    let mut done: Vec<&str> = operated.iter().map(|event| event["what"].as_str().unwrap()).collect();
    done.sort_unstable();
    let queue = "post_create_q";
    let letters_read = [format!("dead letter read {queue}"), format!("dead letters redriven {queue}")];
    let expected = [
        &letters_read[0],
        &letters_read[1],
        "gate closed",
        "gate opened",
        "workers paused",
        "workers resumed",
    ];
    assert_eq!(done, expected);
    // A client cannot make an event.
    let mut cid = Client::hello(&address, &dev["cid"], None, None).await;
    assert_eq!(cid.refused("audit.event", json!({ "kind": "revoked" })).await, "unknown_type");
    secrets.push(dev["cid"].as_str().unwrap().to_owned());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_recorded_and_nothing_that_is_secret() {
    let mut server = Server::start(&["--codes-per-minute", "1000000"]);
    let mut secrets = vec!["127.0.0.1\"".to_owned()];
    let (ann, session) = signs_up(&server, &mut secrets).await;
    signs_out(&server, (&ann, &session), &mut secrets).await;
    operate(&server, &mut secrets).await;
    let of_ann = trail(&server, &["--user", "ann"]);
    assert!(of_ann.iter().all(|event| event["user"] == "ann") && of_ann.len() >= 7, "{of_ann:?}");
    let times: Vec<_> = trail(&server, &[]).iter().map(|event| event["at"].as_u64().unwrap()).collect();
    assert!(times.is_sorted());
    assert!(server.metric("soundoff_audit_events_total{kind=\"signed_in\"}").await >= 2.0);

    let printed = server.command(&["audit"]);
    assert!(
        printed.contains("role_changed")
            && printed.contains("user=ann")
            && printed.contains("what=\"moderator\"")
    );
    server.settled();
    server.terminate();
    server.wait();
    let log = server.log();
    for kind in [
        "signed_in",
        "sign_in_refused",
        "linked",
        "unlinked",
        "refresh_reused",
        "logged_out",
        "session_ended",
        "role_changed",
        "revoked",
        "key_rotated",
        "secret_rotated",
        "operated",
        "dev_tokens",
    ] {
        assert!(logged(&log, kind) > 0, "{kind} is not in the log:\n{log}");
        assert!(printed.contains(kind), "{kind}");
    }
    let archived = server.data().join("archive/events/type=audit.event");
    assert!(archived.is_dir(), "events are archived");
    for secret in &secrets {
        assert!(!printed.contains(secret), "{secret}");
        let line = log.lines().find(|line| line.contains(" audit: ") && line.contains(secret));
        assert_eq!(line, None, "a secret in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_refusals_is_bounded_and_counted() {
    let server = Server::start(&["--sign-ins-per-minute", "1000000"]);
    let bad =
        json!({ "email": "ann@example.org", "request": "01JD0000000000000000000000", "code": "000000" });
    let many = 1500_u64;
    let begun = Instant::now();
    let calls = futures_util::stream::iter(0..many).map(async |_| {
        assert_eq!(post(&server.address, "/v1/auth/email/verify", &bad).await.status, 401);
    });
    calls.buffer_unordered(32).collect::<Vec<()>>().await;
    let took = begun.elapsed();
    let suppressed = loop {
        let found = trail(&server, &["--kind", "suppressed"]);
        let refused = trail(&server, &["--kind", "sign_in_refused"]).len() as u64;
        let count: u64 = found.iter().map(|event| event["count"].as_u64().unwrap()).sum();
        if refused + count == many {
            break count;
        }
        assert!(begun.elapsed() < took + SOON, "{refused} and {count}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(suppressed > 0, "in {took:?}");
    let metric = server.metric("soundoff_audit_events_total{kind=\"sign_in_refused\"}").await;
    assert_eq!(metric as u64, many - suppressed);
    assert_eq!(server.metric("soundoff_audit_events_lost_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_followed_and_outlast_a_kill() {
    let mut server = Server::start(&[]);
    sign_in(&server, "ann").await;
    events(&server, "signed_in", 1).await;
    server.restart();
    assert_eq!(trail(&server, &["--kind", "signed_in"]).len(), 1);
    let mut follow = soundoff();
    follow.args(["audit", "--follow", "--json", "--kind", "signed_in", "--data"]).arg(server.data());
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["user"], "ann");
    sign_in(&server, "bert").await;
    assert_eq!(next()["user"], "bert");
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(server.command(&["audit", "--since", "0s"]).is_empty());
}
