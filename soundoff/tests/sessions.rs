//! Sessions on live sockets: they expire, are renewed, end alone or all together, on any edge.

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::Server;
use support::client::{Client, Next};
use support::web::{Exchange, post, sign_in, web};

/// How long a revocation may take to close a socket.
const SOON: Duration = Duration::from_secs(2);

fn edge(client: &Client) -> String {
    client.welcome["session"].as_str().unwrap().rsplit_once('-').unwrap().0.to_owned()
}

/// A socket of a session on each of two edges.
async fn on_two_edges(server: &Server, session: &Value) -> [Client; 2] {
    let first = Client::hello(&server.address, &session["access_token"], None, None).await;
    for _ in 0..6 {
        let second = Client::hello(&server.address, &session["access_token"], None, None).await;
        if edge(&second) != edge(&first) {
            return [first, second];
        }
    }
    panic!("the port deals to one edge only");
}

async fn refresh(server: &Server, token: &Value) -> support::web::Answer {
    post(&server.address, "/v1/auth/refresh", &json!({ "refresh_token": token })).await
}

async fn all_closed(clients: &mut [Client], code: u16, since: Instant) {
    for client in clients {
        assert_eq!(client.closed().await, code);
        assert!(since.elapsed() < SOON, "closed after {:?}", since.elapsed());
    }
}

/// A socket that answers is open.
async fn is_open(client: &mut Client) {
    client.call("profile.get", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_that_is_used_twice_closes_its_sockets_on_every_edge_and_no_other() {
    let server = Server::start(&["--edges", "2"]);
    let stolen = sign_in(&server, "alice").await;
    let other = sign_in(&server, "alice").await;
    let mut sockets = on_two_edges(&server, &stolen).await;
    let mut others = on_two_edges(&server, &other).await;

    let second = refresh(&server, &stolen["refresh_token"]).await.json();
    let third = refresh(&server, &second["refresh_token"]).await.json();
    for client in sockets.iter_mut().chain(&mut others) {
        is_open(client).await;
    }
    let begun = Instant::now();
    let reused = refresh(&server, &stolen["refresh_token"]).await;
    assert_eq!((reused.status, reused.code()), (401, "unauthorized".to_owned()));
    all_closed(&mut sockets, 4503, begun).await;
    assert_eq!(refresh(&server, &third["refresh_token"]).await.status, 401, "the whole family has ended");
    for token in [&stolen, &second, &third] {
        let hello = Client::try_hello(&server.address, &token["access_token"], None, None).await;
        assert!(matches!(hello, Err(Next::Closed(4503, _))), "its access tokens open nothing");
    }
    for client in &mut others {
        is_open(client).await;
    }
    assert_eq!(refresh(&server, &other["refresh_token"]).await.status, 200, "the other session goes on");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_that_race_or_lose_their_answer_harm_no_session() {
    let server = Server::start(&["--sign-ins-per-minute", "100000"]);
    let mut token = sign_in(&server, "alice").await["refresh_token"].take();
    for round in 0..40 {
        let (one, other) = tokio::join!(refresh(&server, &token), refresh(&server, &token));
        let answers = [one, other];
        let won: Vec<Value> =
            answers.iter().filter(|a| a.status == 200).map(|a| a.json()["refresh_token"].take()).collect();
        for lost in answers.iter().filter(|a| a.status != 200) {
            assert_eq!((lost.status, lost.code()), (409, "conflict".to_owned()), "round {round}: {lost:?}");
        }
        assert!(!won.is_empty() && won.iter().all(|next| *next == won[0]), "round {round}: {answers:?}");
        token = won[0].clone();
    }

    // The answer was lost: a second request gets the same answer. A third means that somebody has a copy of the token.
    let next = refresh(&server, &token).await.json()["refresh_token"].take();
    assert_eq!(refresh(&server, &token).await.json()["refresh_token"], next);
    let refused = refresh(&server, &token).await;
    assert_eq!((refused.status, refused.code()), (401, "unauthorized".to_owned()));
    assert_eq!(refresh(&server, &next).await.status, 401, "the session has ended");

    // After ten seconds no answer can still be on its way.
    let spent = sign_in(&server, "alice").await["refresh_token"].take();
    let next = refresh(&server, &spent).await.json()["refresh_token"].take();
    tokio::time::sleep(Duration::from_millis(10_100)).await;
    assert_eq!(refresh(&server, &spent).await.status, 401);
    assert_eq!(refresh(&server, &next).await.status, 401, "the session has ended");

    // A client that has the next token has received the answer.
    let first = sign_in(&server, "bob").await["refresh_token"].take();
    let second = refresh(&server, &first).await.json()["refresh_token"].take();
    let third = refresh(&server, &second).await.json()["refresh_token"].take();
    assert_eq!(refresh(&server, &first).await.status, 401);
    assert_eq!(refresh(&server, &third).await.status, 401, "the session has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_out_closes_the_sessions_sockets_and_revoking_all_of_them() {
    let server = Server::start(&["--edges", "2", "--sign-ins-per-minute", "100000"]);
    let phone = sign_in(&server, "alice").await;
    let laptop = sign_in(&server, "alice").await;
    let mut phones = on_two_edges(&server, &phone).await;
    let mut laptops = on_two_edges(&server, &laptop).await;

    let begun = Instant::now();
    let gone =
        post(&server.address, "/v1/auth/logout", &json!({ "refresh_token": phone["refresh_token"] })).await;
    assert_eq!(gone.status, 204);
    all_closed(&mut phones, 4503, begun).await;
    assert_eq!(refresh(&server, &phone["refresh_token"]).await.status, 401);
    for client in &mut laptops {
        is_open(client).await;
    }
    // A client hangs up at once. Either it was heard, and then its sockets close, or it was not, and then nothing
    // happens.
    for n in 0..8 {
        let left = sign_in(&server, &format!("carla{n}")).await;
        let mut socket = Client::hello(&server.address, &left["access_token"], None, None).await;
        let body = json!({ "refresh_token": left["refresh_token"] }).to_string();
        let length = body.len().to_string();
        let head = [("content-length", length.as_str())];
        let mut gone = Exchange::begin(&server.address, "POST /v1/auth/logout", &head).await;
        gone.send(body.as_bytes()).await;
        drop(gone);
        let bearer = format!("Bearer {}", left["access_token"].as_str().unwrap());
        let asked = Instant::now();
        while asked.elapsed() < SOON {
            let headers = [("authorization", bearer.as_str())];
            if web(&server.address, "GET /v1/auth/identities", &headers, b"").await.status == 401 {
                assert_eq!(socket.closed().await, 4503);
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    // The remaining sockets are still registered: a push finds them.
    let mut bob = {
        let session = sign_in(&server, "bob").await;
        Client::hello(&server.address, &session["access_token"], None, None).await
    };
    bob.call("dm.send", json!({ "to": "alice", "text": "still there?" })).await;
    for client in &mut laptops {
        client.at_once("push", "dm.received").await;
    }

    let begun = Instant::now();
    server.command(&["users", "revoke", "alice"]);
    all_closed(&mut laptops, 4503, begun).await;
    assert_eq!(refresh(&server, &laptop["refresh_token"]).await.status, 401);
    // A new sign-in works at once.
    let back = sign_in(&server, "alice").await;
    Client::hello(&server.address, &back["access_token"], None, None).await;
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_is_announced_renewed_on_the_live_socket_or_closes_it() {
    let server = Server::start(&["--access-token-s", "8"]);
    let session = sign_in(&server, "alice").await;
    assert_eq!(session["expires_in"], 8);
    let mut renewed = Client::hello(&server.address, &session["access_token"], None, None).await;
    let mut left_alone = Client::hello(&server.address, &session["access_token"], None, None).await;
    let due = renewed.until(|frame| frame["op"] == "auth_due").await.unwrap();
    assert!(due["expires_in_ms"].as_u64().unwrap() <= 8000, "{due}");

    // Another user's token is refused, and the socket stays open.
    let bob = sign_in(&server, "bob").await;
    renewed.send(json!({ "op": "auth", "token": bob["access_token"] })).await;
    let refused = renewed.until(|frame| frame["op"] == "error").await.unwrap();
    assert_eq!(refused["error"]["code"], "forbidden");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let next = refresh(&server, &session["refresh_token"]).await.json();
    renewed.send(json!({ "op": "auth", "token": next["access_token"] })).await;
    let good = renewed.until(|frame| frame["op"] == "auth_ok").await.unwrap();
    assert!(
        good["token_expires_at"].as_str().unwrap() > renewed.welcome["token_expires_at"].as_str().unwrap()
    );

    assert_eq!(left_alone.closed().await, 4005);
    is_open(&mut renewed).await;
    assert_eq!(renewed.closed().await, 4005, "the renewed one expires as well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_belongs_to_the_session_of_its_last_token() {
    let server = Server::start(&[]);
    let (first, second) = (sign_in(&server, "alice").await, sign_in(&server, "alice").await);
    let mut client = Client::hello(&server.address, &first["access_token"], None, None).await;
    client.send(json!({ "op": "auth", "token": second["access_token"] })).await;
    client.until(|frame| frame["op"] == "auth_ok").await.unwrap();
    post(&server.address, "/v1/auth/logout", &json!({ "refresh_token": first["refresh_token"] })).await;
    is_open(&mut client).await;
    post(&server.address, "/v1/auth/logout", &json!({ "refresh_token": second["refresh_token"] })).await;
    assert_eq!(client.closed().await, 4503);
    // A session that has ended cannot be used again.
    let mut client = {
        let third = sign_in(&server, "alice").await;
        Client::hello(&server.address, &third["access_token"], None, None).await
    };
    client.send(json!({ "op": "auth", "token": first["access_token"] })).await;
    assert_eq!(client.closed().await, 4503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moderator_takes_posts_down_until_the_role_is_taken_away() {
    let server = Server::start(&["--edges", "2"]);
    let author = sign_in(&server, "author").await;
    let mut author = Client::hello(&server.address, &author["access_token"], None, None).await;
    let mut posts = Vec::new();
    for text in ["one", "two"] {
        let post = author.call("post.create", json!({ "text": text })).await;
        posts.push(json!({ "post": post["post"]["id"] }));
    }
    let session = sign_in(&server, "modmo").await;
    let mut modmo = Client::hello(&server.address, &session["access_token"], None, None).await;
    assert_eq!(modmo.refused("post.remove", posts[0].clone()).await, "forbidden");

    server.command(&["users", "role", "modmo", "moderator"]);
    assert_eq!(modmo.closed().await, 4005, "come back with a token that says so");
    let mut old_token = Client::hello(&server.address, &session["access_token"], None, None).await;
    assert_eq!(old_token.refused("post.remove", posts[0].clone()).await, "forbidden", "the token says user");
    let fresh = refresh(&server, &session["refresh_token"]).await.json();
    let mut modmo = Client::hello(&server.address, &fresh["access_token"], None, None).await;
    modmo.call("post.remove", posts[0].clone()).await;
    author.at_once("push", "post.removed").await;
    let own = author.call("post.get", posts[0].clone()).await;
    assert_eq!((&own["post"]["state"], &own["post"]["text"]), (&json!("hidden"), &json!("one")));

    server.command(&["users", "role", "modmo", "user"]);
    assert_eq!(modmo.closed().await, 4005);
    let mut modmo = Client::hello(&server.address, &fresh["access_token"], None, None).await;
    assert_eq!(modmo.refused("post.remove", posts[1].clone()).await, "forbidden", "the account says user");
    server.settled();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_keys_are_renewed_with_overlap_or_dropped_at_once_and_outlive_a_restart() {
    let mut server = Server::start(&["--edges", "2"]);
    let keys = async |server: &Server| {
        let set = web(&server.address, "GET /.well-known/jwks.json", &[], b"").await;
        assert_eq!((set.status, set.header("cache-control")), (200, "public, max-age=60"));
        let set = set.json();
        set["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    let session = sign_in(&server, "alice").await;
    let first = keys(&server).await;
    server.command(&["users", "rotate-keys"]);
    let both = keys(&server).await;
    assert_eq!((both.len(), &both[0]), (2, &first[0]), "announced beside the one that signs");
    Client::hello(&server.address, &session["access_token"], None, None).await;
    server.restart();
    assert_eq!(keys(&server).await, both);
    Client::hello(&server.address, &session["access_token"], None, None).await;

    server.command(&["users", "rotate-keys", "--drop-old"]);
    let last = keys(&server).await;
    assert!(last.len() == 1 && !both.contains(&last[0]));
    let hello = Client::try_hello(&server.address, &session["access_token"], None, None).await;
    assert!(matches!(hello, Err(Next::Closed(4500, _))), "also where it was remembered as good");
    let fresh = refresh(&server, &session["refresh_token"]).await.json();
    Client::hello(&server.address, &fresh["access_token"], None, None).await;
}
