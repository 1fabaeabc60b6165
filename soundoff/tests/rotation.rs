//! Replacing the root secret: nothing that was made under the former one is lost, whenever the machine stops, and in the
//! end the former one opens nothing. Each role is given its own keys.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::client::Client;
use support::web::{Answer, code, letters, post, sign_in, web};
use support::{Server, private_dir, refused, soundoff};

const UNPACED: [&str; 4] = ["--codes-per-minute", "1000000", "--sign-ins-per-minute", "1000000"];
/// What is answered to bytes that are no picture, after their URL was found good; a bad one gets 403.
const NO_PICTURE: u16 = 415;
/// Enough that a pass over them takes a while.
const USERS: usize = 260;

async fn refresh(server: &Server, token: &Value) -> Answer {
    post(&server.address, "/v1/auth/refresh", &json!({ "refresh_token": token })).await
}

/// Asks for a code, and does not use it.
async fn start(server: &Server, email: &str) -> Value {
    let earlier = letters(server, email).await.len();
    let started = post(&server.address, "/v1/auth/email/start", &json!({ "email": email })).await;
    assert_eq!(started.status, 202, "{started:?}");
    let code = code(server, email, earlier).await;
    json!({ "email": email, "request": started.json()["request"], "code": code, "handle": "carol" })
}

async fn upload_url(client: &mut Client, bytes: usize) -> String {
    client.call("media.begin", json!({ "bytes": bytes })).await["upload"]["url"].as_str().unwrap().to_owned()
}

async fn put(server: &Server, url: &str, bytes: &[u8]) -> u16 {
    web(&server.address, &format!("PUT {url}"), &[], bytes).await.status
}

/// The one way to sign in of a user, as they see it.
async fn identities(server: &Server, access: &Value) -> Vec<Value> {
    let bearer = format!("Bearer {}", access.as_str().unwrap());
    let listed = web(&server.address, "GET /v1/auth/identities", &[("authorization", &bearer)], b"").await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.json()["items"].as_array().unwrap().clone()
}

/// Runs `soundoff secret …` on the server's data; what it said, on either output, and whether it was done.
fn secret(data: &Path, args: &[&str]) -> (bool, String) {
    let output = soundoff().arg("secret").args(args).arg("--data").arg(data).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// How many values need a former root still, as the refusal of `retire` says.
fn needed(data: &Path) -> Option<(u64, u64)> {
    let (done, said) = secret(data, &["retire"]);
    assert!(!done, "{said}");
    let mut numbers = said.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse().ok());
    said.contains("token keys need a former root").then(|| (numbers.next().unwrap(), numbers.next().unwrap()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_is_replaced_and_nothing_is_lost() {
    let mut server = Server::start(&UNPACED);
    let data = server.data().to_owned();
    let file = data.join("secret.key");
    let old = std::fs::read(&file).unwrap();
    let [ann, _, late] =
        [sign_in(&server, "ann").await, sign_in(&server, "bob").await, sign_in(&server, "late").await];
    let spent = late["refresh_token"].clone();
    let late = refresh(&server, &spent).await.json();
    let carol = start(&server, "carol@example.org").await;
    let mut socket = Client::hello(&server.address, &ann["access_token"], None, None).await;
    let url = upload_url(&mut socket, 10).await;

    let (done, said) = secret(&data, &["rotate"]);
    assert!(done && said.contains("restart"), "{said}");
    assert!(!said.contains(&String::from_utf8(old.clone()).unwrap()));
    assert!(
        refused_secret(&data, "reseal").contains("restart it first"),
        "the process knows only the former root"
    );
    let ann = refresh(&server, &ann["refresh_token"]).await.json();
    server.kill();
    server.restart();

    // What was begun before goes on after.
    let mut socket = Client::hello(&server.address, &ann["access_token"], None, None).await;
    assert_eq!(put(&server, &url, b"0123456789").await, NO_PICTURE, "its URL is good");
    let signed_up = post(&server.address, "/v1/auth/email/verify", &carol).await;
    assert_eq!((signed_up.status, &signed_up.json()["created"]), (200, &json!(true)), "{signed_up:?}");
    let again = post(&server.address, "/v1/auth/email/verify", &carol).await;
    assert_eq!(again.status, 401, "and is used up");
    let ann = refresh(&server, &ann["refresh_token"]).await.json();
    assert_eq!(identities(&server, &ann["access_token"]).await[0]["value"], "a…@example.org");
    // Somebody who signs in is the one they were.
    assert_eq!(sign_in(&server, "bob").await["created"], false);
    let at_once = upload_url(&mut socket, 10).await;

    assert_eq!(needed(&data), Some((2, 1)), "ann, late, and the token key; bob and carol came meanwhile");
    let (done, said) = secret(&data, &["reseal"]);
    assert!(done && said.contains("3 values"), "{said}");
    let (done, said) = secret(&data, &["reseal"]);
    assert!(done && said.contains("0 values"), "{said}");
    let (done, said) = secret(&data, &["retire"]);
    assert!(!done && said.contains("--at-once"), "a day is not over: {said}");
    assert!(secret(&data, &["retire", "--at-once"]).0);
    server.kill();
    server.restart();

    // Without the former root everybody is still signed in, and what was theft is still refused.
    Client::hello(&server.address, &ann["access_token"], None, None).await;
    assert_eq!(identities(&server, &ann["access_token"]).await[0]["value"], "a…@example.org");
    assert_eq!(sign_in(&server, "ann").await["created"], false);
    assert_eq!(sign_in(&server, "late").await["created"], false);
    assert_eq!(refresh(&server, &ann["refresh_token"]).await.status, 200);
    let next = refresh(&server, &late["refresh_token"]).await;
    assert_eq!(next.status, 200, "a token of the former root that was never refreshed meanwhile");
    assert_eq!(refresh(&server, &spent).await.status, 401);
    assert_eq!(refresh(&server, &json!(format!("so_refresh_{}", "A".repeat(86)))).await.status, 401);
    assert_eq!(
        refresh(&server, &next.json()["refresh_token"]).await.status,
        200,
        "which ended nobody's session"
    );
    assert_eq!(put(&server, &at_once, b"0123456789").await, NO_PICTURE, "it was signed under the new root");
    assert_eq!(put(&server, &url, b"0123456789").await, 403);
    server.kill();

    // The former root opens nothing.
    let former = data.with_file_name("former");
    std::fs::write(&former, &old).unwrap();
    let flag = format!("--secret-file={}", former.display());
    assert!(refused(&["--listen", "127.0.0.1:0", &flag], &data).contains("made under another secret"));
    assert!(!String::from_utf8_lossy(&std::fs::read(&file).unwrap()).contains("so_role_"));
    let leftovers = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(leftovers.into_iter().all(|name| !name.to_string_lossy().ends_with(".new")));
}

fn refused_secret(data: &Path, command: &str) -> String {
    let (done, said) = secret(data, &[command]);
    assert!(!done, "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pass_that_is_killed_in_the_middle_loses_nothing_and_goes_on() {
    let mut server = Server::start(&UNPACED);
    let data = server.data().to_owned();
    let mut sessions = Vec::new();
    for n in 0..USERS {
        sessions.push(sign_in(&server, &format!("user{n}")).await);
    }
    assert!(secret(&data, &["rotate"]).0);
    server.restart();
    let mut middles = 0;
    for attempt in 1.. {
        let Some((left, _)) = needed(&data) else { break };
        middles += usize::from((1..USERS as u64).contains(&left));
        // The server is killed later each time, until a pass comes to its end.
        let mut pass = soundoff();
        pass.args(["secret", "reseal", "--data"]).arg(&data).stdout(Stdio::null()).stderr(Stdio::null());
        let mut pass = pass.spawn().unwrap();
        let until = Instant::now() + Duration::from_millis(attempt * 40);
        while pass.try_wait().unwrap().is_none() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        server.kill();
        pass.wait().unwrap();
        server.restart();
    }
    assert!(middles > 0, "no pass was killed in the middle");
    assert!(secret(&data, &["retire", "--at-once"]).0);
    server.restart();
    for (n, session) in sessions.iter().enumerate() {
        let listed = identities(&server, &session["access_token"]).await;
        assert_eq!((listed.len(), &listed[0]["value"]), (1, &json!("u…@example.org")), "user{n}");
    }
    for n in [0, USERS / 2, USERS - 1] {
        assert_eq!(sign_in(&server, &format!("user{n}")).await["created"], false);
    }
}

#[test]
fn each_role_gets_the_keys_that_it_needs() {
    const ROOT: &str = "0123456789abcdef0123456789abcdef";
    let derive = |root: &str, role: &str| {
        let mut command = soundoff();
        command.args(["secret", "derive", "--role", role]).env("SOUNDOFF_SECRET", root);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let run = |secret: &str, role: &[&str]| {
        // Without memcached every role ends at its start, after it has read its secret.
        let mut command = soundoff();
        command.args(role).args(["--internal-listen", "127.0.0.1:0", "--memcached", "127.0.0.1:1"]);
        command.args(["--aws-region", "us-east-1", "--sqs-endpoint", "http://127.0.0.1:1"]);
        command.args(["--dynamodb-endpoint", "http://127.0.0.1:1"]);
        command
            .env("SOUNDOFF_SECRET", secret)
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x");
        starts(command)
    };
    let roles: [&[&str]; 5] = [
        &["edge", "--listen", "127.0.0.1:0"],
        &["router"],
        &["workers"],
        &["timeline"],
        &["users", "--listen", "127.0.0.1:0", "--dev"],
    ];
    for role in roles {
        let (done, bundle) = derive(ROOT, role[0]);
        assert!(done && bundle.starts_with(&format!("so_role_{}_v1_", role[0])), "{bundle}");
        let own = run(&bundle, role);
        assert!(!own.contains("holds the keys") && !own.contains("holds the root"), "{role:?}: {own}");
        assert!(
            run(ROOT, role)
                .contains(&format!("needs less: give it `soundoff secret derive --role {}`", role[0]))
        );
        assert!(run(&bundle[..bundle.len() - 2], role).contains("damaged or incomplete"));
        let (done, said) = derive(&bundle, role[0]);
        assert!(!done && said.contains("needs the root"), "{said}");
    }
    let edge = derive(ROOT, "edge").1;
    let said = run(&edge, &["users", "--listen", "127.0.0.1:0", "--dev"]);
    assert!(said.contains("keys of the role edge") && said.contains("secret derive --role"), "{said}");
    assert!(!said.contains(edge.trim()), "no error repeats a secret");
    let dir = private_dir();
    let file = dir.path().join("edge");
    std::fs::write(&file, &edge).unwrap();
    let flag = format!("--secret-file={}", file.display());
    assert!(
        refused(&["--listen", "127.0.0.1:0", &flag], &dir.path().join("data")).contains("needs the root")
    );
    assert!(derive(ROOT, "egde").1.contains("no such role; there are edge, router"));
}

/// What a process says while it starts: until it ends, or says that it waits for its engines.
fn starts(mut command: Command) -> String {
    String::from_utf8_lossy(&command.stdout(Stdio::null()).output().unwrap().stderr).into_owned()
}

#[test]
fn a_deployments_root_is_announced_before_it_is_used() {
    let dir = private_dir();
    let root = dir.path().join("root.key");
    std::fs::write(&root, "0123456789abcdef0123456789abcdef\n").unwrap();
    let file = root.to_str().unwrap();
    let run = |args: &[&str]| {
        let output =
            soundoff().arg("secret").args(args).args(["--aws", "--secret-file", file]).output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let states = || run(&["show"]).1.lines().map(|line| line[18..27].trim().to_owned()).collect::<Vec<_>>();
    assert_eq!(states(), ["in use"]);
    assert!(run(&["use"]).1.contains("no root is announced"));
    assert!(run(&["retire"]).1.contains("no former root"));
    let (done, said) = run(&["rotate"]);
    assert!(done && said.contains("announced") && said.contains("secret use --aws"), "{said}");
    assert_eq!(states(), ["announced", "in use"]);
    assert!(run(&["rotate"]).1.contains("announced already"));
    assert!(run(&["retire"]).1.contains("announced already"));
    assert!(run(&["use"]).0);
    assert_eq!(states(), ["in use", "former"]);
    let unnamed = soundoff().args(["secret", "rotate", "--aws"]).output().unwrap();
    assert!(String::from_utf8(unnamed.stderr).unwrap().contains("--secret-file"));
}
