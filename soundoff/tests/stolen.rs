//! A stolen access token opens what its user may do for some minutes. It does not become the account, and its owner can
//! throw the thief out.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::{Client, Next};
use support::web::{Answer, code, letters, sign_in, web};
use support::{PATIENCE, Server};

/// A call with somebody's access token.
async fn call(server: &Server, line: &str, token: &Value, body: &Value) -> Answer {
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    web(&server.address, line, &headers, &body).await
}

/// Waits for what comes.
async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "it does not happen: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn items(server: &Server, path: &str, token: &Value) -> Vec<Value> {
    let listed = call(server, &format!("GET {path}"), token, &Value::Null).await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.json()["items"].as_array().unwrap().clone()
}

/// A code that was sent by a call, as its `verify` wants it.
async fn code_by(server: &Server, line: &str, token: &Value, (field, to): (&str, &str)) -> Value {
    let earlier = letters(server, to).await.len();
    let body = if field.is_empty() { Value::Null } else { json!({ field: to }) };
    let started = until("a code may be sent", async || {
        let started = call(server, line, token, &body).await;
        (started.status != 429).then_some(started)
    })
    .await;
    assert_eq!(started.status, 202, "{started:?}");
    let mut proof = json!({ "request": started.json()["request"], "code": code(server, to, earlier).await });
    if !field.is_empty() {
        proof[field] = to.into();
    }
    proof
}

/// The session's user proves by a code to their own address who they are.
async fn prove(server: &Server, token: &Value, to: &str) -> Answer {
    let own = items(server, "/v1/auth/identities", token).await;
    let own = own.iter().find(|item| item["kind"] == "email").unwrap()["id"].as_str().unwrap().to_owned();
    let path = format!("POST /v1/auth/identities/{own}");
    let proof = code_by(server, &format!("{path}/start"), token, ("", to)).await;
    call(server, &format!("{path}/verify"), token, &proof).await
}

fn refused(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

fn wants_proof() -> (u16, String) {
    (403, "proof_required".to_owned())
}

/// Waits until a session's sign-in is no longer a fresh proof.
async fn grow_old(server: &Server, token: &Value) {
    until("the proof is no longer fresh", async || {
        let asked = call(server, "DELETE /v1/auth/identities/email.none", token, &Value::Null).await;
        (asked.status == 403).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thief_with_an_access_token_gets_no_account_and_is_thrown_out_by_its_owner() {
    let server = Server::start(&["--edges", "2", "--proof-s", "2", "--sign-ins-per-minute", "100000"]);
    let stolen = sign_in(&server, "alice").await;
    let owner = sign_in(&server, "alice").await;
    grow_old(&server, &stolen).await;
    let mut theirs = Client::hello(&server.address, &stolen["access_token"], None, None).await;

    // The thief: an address of their own, the owner's address away, the owner's sessions away.
    let own = code_by(&server, "POST /v1/auth/email/start", &stolen, ("email", "thief@example.org")).await;
    let linked = call(&server, "POST /v1/auth/email/verify", &stolen, &own).await;
    assert_eq!(refused(&linked), wants_proof());
    let identities = items(&server, "/v1/auth/identities", &stolen).await;
    assert_eq!(identities.len(), 1, "nothing was added");
    let id = identities[0]["id"].as_str().unwrap();
    let removed = call(&server, &format!("DELETE /v1/auth/identities/{id}"), &stolen, &Value::Null).await;
    assert_eq!(refused(&removed), wants_proof());
    let sessions = items(&server, "/v1/auth/sessions", &stolen).await;
    let other = sessions.iter().find(|session| session["current"] == false).unwrap();
    let path = format!("DELETE /v1/auth/sessions/{}", other["id"].as_str().unwrap());
    assert_eq!(refused(&call(&server, &path, &stolen, &Value::Null).await), wants_proof());
    let all = call(&server, "DELETE /v1/auth/sessions/others", &stolen, &Value::Null).await;
    assert_eq!(refused(&all), wants_proof());
    // A code that came to another address than the account's proves nothing, and one of theirs cannot be read.
    let path = format!("POST /v1/auth/identities/{id}/verify");
    let guessed =
        call(&server, &path, &stolen, &json!({ "request": own["request"], "code": own["code"] })).await;
    assert_eq!(refused(&guessed), (401, "unauthorized".to_owned()));
    let strangers = call(&server, "POST /v1/auth/identities/email.x/start", &stolen, &Value::Null).await;
    assert_eq!(refused(&strangers), (404, "not_found".to_owned()));
    // The code that was refused for the proof's sake alone is not used up: it makes an account of the thief's own.
    let mut newcomer = own.clone();
    newcomer["handle"] = "thief".into();
    let theirs_alone = support::web::post(&server.address, "/v1/auth/email/verify", &newcomer).await;
    assert_eq!((theirs_alone.status, theirs_alone.json()["created"].as_bool()), (200, Some(true)));

    // The owner sees both, proves who they are, and ends the other.
    let mut mine = Client::hello(&server.address, &owner["access_token"], None, None).await;
    let seen = items(&server, "/v1/auth/sessions", &owner).await;
    assert_eq!((seen.len(), &seen[0]["current"], &seen[0]["way"]), (2, &json!(true), &json!("email")));
    grow_old(&server, &owner).await;
    let proved = prove(&server, &owner, "alice@example.org").await;
    assert_eq!((proved.status, &proved.json()["linked"]), (200, &json!("email")), "{proved:?}");
    let ended = call(&server, "DELETE /v1/auth/sessions/others", &owner, &Value::Null).await;
    assert_eq!(ended.status, 204, "{ended:?}");
    assert_eq!(theirs.closed().await, 4503);
    mine.call("profile.get", json!({})).await;
    let hello = Client::try_hello(&server.address, &stolen["access_token"], None, None).await;
    assert!(matches!(hello, Err(Next::Closed(4503, _))), "the stolen token opens nothing");
    let refreshed = async |token: &Value| {
        let body = json!({ "refresh_token": token["refresh_token"] });
        support::web::post(&server.address, "/v1/auth/refresh", &body).await
    };
    assert_eq!(refreshed(&stolen).await.status, 401);
    assert_eq!(refreshed(&owner).await.status, 200, "the owner's goes on");
    assert_eq!(items(&server, "/v1/auth/sessions", &owner).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_to_sign_in_goes_with_the_sessions_that_it_began_and_others_are_told() {
    let server = Server::start(&["--proof-s", "600", "--sign-ins-per-minute", "100000"]);
    let owner = sign_in(&server, "alice").await;
    let earlier = letters(&server, "alice@example.org").await.len();
    let phone = "+4915550000001";
    let proof = code_by(&server, "POST /v1/auth/phone/start", &owner, ("phone", phone)).await;
    let linked = call(&server, "POST /v1/auth/phone/verify", &owner, &proof).await;
    assert_eq!(linked.status, 200, "{linked:?}");
    until("the mail address is told", async || {
        let all = letters(&server, "alice@example.org").await;
        (all.len() > earlier && all[0].contains("+49…01") && !all[0].contains(phone)).then_some(())
    })
    .await;

    // A session by phone, which uses a socket.
    let proof = {
        let earlier = letters(&server, phone).await.len();
        let started = until("a code may be sent", async || {
            let body = json!({ "phone": phone });
            let started = support::web::post(&server.address, "/v1/auth/phone/start", &body).await;
            (started.status != 429).then_some(started)
        })
        .await;
        let code = code(&server, phone, earlier).await;
        json!({ "phone": phone, "request": started.json()["request"], "code": code })
    };
    let by_phone = support::web::post(&server.address, "/v1/auth/phone/verify", &proof).await.json();
    let mut socket = Client::hello(&server.address, &by_phone["access_token"], None, None).await;
    let ways: Vec<_> = items(&server, "/v1/auth/sessions", &owner).await;
    assert_eq!(ways.iter().map(|session| &session["way"]).collect::<Vec<_>>(), ["phone", "email"]);

    // Taken away, it ends what it began, and nothing else.
    let identities = items(&server, "/v1/auth/identities", &owner).await;
    let of = |kind: &str| {
        let found = identities.iter().find(|item| item["kind"] == kind).unwrap();
        format!("DELETE /v1/auth/identities/{}", found["id"].as_str().unwrap())
    };
    assert_eq!(call(&server, &of("phone"), &owner, &Value::Null).await.status, 204);
    assert_eq!(tokio::time::timeout(PATIENCE, socket.closed()).await.unwrap(), 4503);
    let body = json!({ "refresh_token": by_phone["refresh_token"] });
    assert_eq!(support::web::post(&server.address, "/v1/auth/refresh", &body).await.status, 401);
    let left = items(&server, "/v1/auth/sessions", &owner).await;
    assert_eq!((left.len(), &left[0]["current"]), (1, &json!(true)));
    until("the mail address is told", async || {
        let all = letters(&server, "alice@example.org").await;
        all[0].contains("was removed").then_some(())
    })
    .await;

    // The way that began the present session may go: its user has proved who they are, and it goes on.
    let second = "other@example.org";
    let proof = code_by(&server, "POST /v1/auth/email/start", &owner, ("email", second)).await;
    assert_eq!(call(&server, "POST /v1/auth/email/verify", &owner, &proof).await.status, 200);
    assert_eq!(call(&server, &of("email"), &owner, &Value::Null).await.status, 204);
    let body = json!({ "refresh_token": owner["refresh_token"] });
    assert_eq!(support::web::post(&server.address, "/v1/auth/refresh", &body).await.status, 200);
    for address in ["alice@example.org", second] {
        until("the one that is gone and the one that is left are told", async || {
            letters(&server, address).await.iter().any(|text| text.contains("was removed")).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_ended_one_by_one_by_their_owner_alone() {
    let server = Server::start(&["--sign-ins-per-minute", "100000"]);
    let (first, second, stranger) =
        (sign_in(&server, "alice").await, sign_in(&server, "alice").await, sign_in(&server, "bob").await);
    let listed = items(&server, "/v1/auth/sessions", &first).await;
    for session in &listed {
        for time in ["begun_at", "used_at", "ends_at"] {
            assert!(session[time].as_str().unwrap().ends_with('Z'), "{session}");
        }
    }
    let named = |current: bool| {
        let found = listed.iter().find(|session| session["current"] == current).unwrap();
        format!("DELETE /v1/auth/sessions/{}", found["id"].as_str().unwrap())
    };
    for path in [named(false), "DELETE /v1/auth/sessions/x".into()] {
        let refusal = refused(&call(&server, &path, &stranger, &Value::Null).await);
        assert_eq!(refusal, (404, "not_found".to_owned()), "{path}");
    }
    let wrong = web(&server.address, "DELETE /v1/auth/sessions/", &[], b"").await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET"));
    let unsigned = web(&server.address, "GET /v1/auth/sessions", &[], b"").await;
    assert_eq!(refused(&unsigned), (401, "unauthorized".to_owned()));
    assert_eq!(call(&server, &named(false), &first, &Value::Null).await.status, 204);
    let gone = call(&server, "GET /v1/auth/sessions", &second, &Value::Null).await;
    assert_eq!(refused(&gone), (401, "unauthorized".to_owned()));
    assert_eq!(
        call(&server, &named(true), &first, &Value::Null).await.status,
        204,
        "one's own is a sign-out"
    );
    let gone = call(&server, "GET /v1/auth/sessions", &first, &Value::Null).await;
    assert_eq!(refused(&gone), (401, "unauthorized".to_owned()));
}
