//! The command line: what `up` refuses, how it stops, and what operators can ask.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use soundoff_common::pipeline::deliver::{InternalKey, SIGNED_HEADER, Signer};
use soundoff_common::protocol::now_ms;
use support::client::{Client, Next};
use support::{PATIENCE, Server, UNPACED, private_dir, refused, soundoff, tokens};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn output(args: &[&str]) -> Output {
    soundoff().args(args).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn up_refuses_what_it_cannot_do_and_says_why() {
    const FOREIGN: &str =
        r#"[{"issuer":"https://id.example.org","audience":"x","jwks_url":"http://127.0.0.1:9/jwks"}]"#;
    let server = Server::start(&[]);
    let said = refused(&["--listen", "127.0.0.1:0"], server.data());
    assert!(said.contains("another soundoff is running") && said.contains("--data"), "{said}");

    let dir = private_dir();
    let said = refused(&["--listen", &server.address], &dir.path().join("other"));
    assert!(said.contains(&server.address) && said.contains("--listen"), "{said}");
    for public in ["0.0.0.0:0", "192.0.2.1:80", "[::]:0"] {
        let said = refused(&["--listen", public], dir.path());
        assert!(said.contains("loopback") && said.contains("--lan"), "{public}: {said}");
    }
    for (flags, named) in [
        (&["--edges", "0"][..], "--edges"),
        (&["--edges", "65"], "--edges"),
        (&["--slots", "0"], "--slots"),
        (&["--max-receives", "0"], "--max-receives"),
        (&["--listen", "nowhere"], "--listen"),
        (&["--frame-bytes", "0"], "--frame-bytes"),
        (&["--heartbeat-ms", "0"], "heartbeat"),
        (&["--chaos", "post.create=2"], "--chaos"),
        (&["--chaos", "no.such=0.5"], "no.such"),
        (&["--turbo"], "--turbo"),
        (&["--timeline-tiers", "often"], "--timeline-tiers"),
        (&["--timeline-tiers", "1d=1"], "end with `*`"),
        (&["--timeline-tiers", "7d=1,1d=10,*=60"], "rise in time"),
        (&["--timeline-tiers", "1d=0,*=1"], "such as 1d=1,7d=10,*=60"),
        (&["--cache-bytes", "1"], "--cache-bytes"),
        (&["--passkey-domain", "https://example.org"], "no https://"),
        (&["--passkey-domain", "127.0.0.1"], "no number of a machine"),
        (&["--passkey-apps", "org.example.app"], "android:apk-key-hash:"),
        (&["--passkey-for", "user"], "write moderator, admin or both"),
        (&["--passkey-for", "admin", "--foreign-tokens", FOREIGN], "does not go with --foreign-tokens"),
    ] {
        let said = refused(flags, dir.path());
        assert!(said.contains(named), "{flags:?}: {said}");
    }
    drop(server);
}

#[test]
fn weights_that_make_no_sense_are_refused_at_the_start() {
    let dir = private_dir();
    let mut nonsense = Vec::new();
    for part in ["age", "affinity", "popularity"] {
        for value in ["-0.5", "16.5", "NaN", "inf"] {
            nonsense.push((format!("--timeline-{part}-weight={value}"), part));
        }
    }
    nonsense.push(("--timeline-half-life-min=0".to_owned(), "half"));
    nonsense.push(("--timeline-in-a-row=0".to_owned(), "row"));
    for (flag, named) in nonsense {
        let said = refused(&["--listen", "127.0.0.1:0", &flag], dir.path());
        assert!(said.contains(named), "{flag}: {said}");
    }
    // Half-lives longer than all time are valid, and so are weights of zero.
    let longest = format!("--timeline-half-life-min={}", u64::MAX);
    drop(Server::start(&[&longest, "--timeline-age-weight=0", "--timeline-popularity-weight=16"]));
}

#[test]
fn commands_say_where_they_have_looked_for_data() {
    let dir = private_dir();
    let here = dir.path().canonicalize().unwrap();
    let queues = |args: &[&str]| {
        let output = soundoff().arg("queues").args(args).current_dir(&here).output().unwrap();
        assert!(!output.status.success(), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    std::fs::create_dir(here.join("photos")).unwrap();
    std::fs::write(here.join("photos/cat.jpg"), "").unwrap();
    for (args, looked) in
        [(&[][..], "soundoff-data"), (&["--data", "data"], "data"), (&["--data", "photos"], "photos")]
    {
        let said = queues(args);
        assert!(said.contains(&here.join(looked).display().to_string()), "{said}");
        assert!(said.contains("--data") && said.contains("SOUNDOFF_DATA"), "{said}");
    }
    assert_eq!(std::fs::read_dir(here.join("photos")).unwrap().count(), 1, "nothing is written there");
    assert!(!here.join("soundoff-data").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_somebody_else_in_a_data_directory_are_not_passed_over() {
    let dir = private_dir();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    std::fs::write(photos.join("cat.jpg"), "").unwrap();
    let said = refused(&["--listen", "127.0.0.1:0"], &photos);
    assert!(said.contains("cat.jpg") && said.contains("fresh directory with --data"), "{said}");
    assert_eq!(std::fs::read_dir(&photos).unwrap().count(), 1, "nothing is written there");

    // Next to our own files they are only named.
    let mut server = Server::start(&[]);
    assert!(!server.log().contains("files"), "all that is there is ours: {}", server.log());
    server.kill();
    server.restart();
    assert!(!server.log().contains("files"), "all that is there is ours: {}", server.log());
    server.kill();
    std::fs::write(server.data().join("notes.txt"), "").unwrap();
    server.restart();
    let begun = Instant::now();
    while !server.log().contains("notes.txt") {
        assert!(begun.elapsed() < PATIENCE, "not named: {}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn what_is_kept_is_for_its_owner_alone() {
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let dir = private_dir();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    for open in [0o755, 0o750, 0o701] {
        std::fs::set_permissions(&data, Permissions::from_mode(open)).unwrap();
        let said = refused(&["--listen", "127.0.0.1:0"], &data);
        assert!(said.contains(&format!("chmod 700 {}", data.display())), "{open:o}: {said}");
        assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "nothing is written there");
    }
    std::fs::set_permissions(&data, Permissions::from_mode(0o700)).unwrap();
    let _server = Server::start_in(&data, &[], Vec::new());
    let mut folders = vec![data];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                assert_eq!(mode(&entry), 0o700, "{}", entry.display());
                folders.push(entry);
            } else {
                assert_eq!(mode(&entry), 0o600, "{}", entry.display());
                files += 1;
            }
        }
    }
    assert!(files > 4, "{files} files");
}

#[test]
fn a_mistyped_variable_is_refused_by_name() {
    for args in [&["up"][..], &["queues"]] {
        let output = soundoff().args(args).env("SOUNDOFF_LISTN", "127.0.0.1:0").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("SOUNDOFF_LISTN") && said.contains("SOUNDOFF_LISTEN")
        );
    }
    // The right name works as the flag does.
    let output = soundoff().arg("up").env("SOUNDOFF_LISTEN", "0.0.0.0:0").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

#[test]
fn help_names_every_command() {
    let help = String::from_utf8(output(&["--help"]).stdout).unwrap();
    for command in [
        "up",
        "queues",
        "dlq",
        "users",
        "workers",
        "timeline",
        "asyncapi",
        "edge",
        "router",
        "provision",
        "health",
        "deployment",
    ] {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(command)),
            "{command} is not in {help}"
        );
    }
    for command in
        [&["up"][..], &["queues"], &["dlq"], &["dlq", "redrive"], &["users", "revoke"], &["timeline", "tick"]]
    {
        let output = output(&[command, &["--help"]].concat());
        assert!(output.status.success() && output.stdout.len() > 100, "{command:?}");
    }
    assert!(!output(&[]).status.success());
}

#[test]
fn a_role_says_what_it_lacks() {
    let refused_with = |secret: Option<&str>, args: &[&str], says: &str| {
        let mut role = soundoff();
        role.args(args).env_remove("AWS_REGION").env("AWS_EC2_METADATA_DISABLED", "true");
        role.envs(secret.map(|secret| ("SOUNDOFF_SECRET", secret)));
        let output = role.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{args:?}: {said}");
    };
    let refused = |args: &[&str], says: &str| refused_with(None, args, says);
    // A build without AWS says so before it asks for anything else, which would not help.
    let or_aws = |says: &'static str| if cfg!(feature = "aws") { says } else { "--features aws" };
    let any = ["127.0.0.1:0"; 2];
    let listen = ["--listen", any[0], "--internal-listen", any[1]];
    let secret = Some("0123456789abcdef0123456789abcdef");
    refused(&["router"], or_aws("SOUNDOFF_SECRET"));
    refused_with(secret, &["router"], or_aws("--aws-region"));
    refused_with(secret, &[&["edge"], &listen[..]].concat(), or_aws("--aws-region"));
    refused(&["workers", "--only", "post.creat"], "post.create");
    refused(&["users", "--dev", "--listen", "0.0.0.0:0"], "loopback only");
    refused(&[&["users"], &listen[..]].concat(), or_aws("--smtp-url and --texts-url"));
    refused(&["health", "--internal-listen", "127.0.0.1:1"], "onnect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_at_once() {
    let begun = Instant::now();
    let mut server = Server::start(&[]);
    let fresh = begun.elapsed();
    server.kill();
    let begun = Instant::now();
    server.restart();
    let again = begun.elapsed();
    println!("ready in {fresh:?} on a fresh directory, in {again:?} after a kill");
    assert!(fresh.max(again) < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_drain_and_the_exit_is_clean() {
    for signal in ["-TERM", "-INT"] {
        let mut server = Server::start(&["--edges", "2"]);
        let tokens = tokens(&server.address, &["ann", "bob"]).await;
        let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
        let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
        let id = ann.submit("dm.send", json!({ "to": "bob", "text": "just before" })).await;
        ann.until(|frame| frame["op"] == "accepted").await.unwrap();
        server.signal(signal);
        for client in [&mut ann, &mut bob] {
            let goaway = client.until(|frame| frame["op"] == "goaway").await.unwrap();
            let window: Vec<u64> = serde_json::from_value(goaway["reconnect_after_ms"].clone()).unwrap();
            assert!(window.len() == 2 && window[0] <= window[1], "{goaway}");
        }
        // A message sent during the drain is either refused, or accepted and done.
        let late = ann.submit("dm.send", json!({ "to": "bob", "text": "into the drain" })).await;
        let mut accepted = 1;
        loop {
            match ann.next().await {
                Next::Frame(frame) if frame["id"] == *late && frame["op"] == "accepted" => accepted += 1,
                Next::Frame(frame) if frame["op"] == "error" => {
                    assert_eq!(frame["error"]["code"], "overloaded")
                }
                Next::Frame(frame) if frame["id"] == *id => assert_eq!(frame["ok"], true),
                Next::Frame(_) => {}
                Next::Closed(code, _) => break assert_eq!(code, 4001),
            }
        }
        assert_eq!(bob.closed().await, 4001);
        assert!(server.wait().success(), "{signal}: {}", server.log());
        assert!(server.log().contains("draining"), "{}", server.log());
        assert!(!server.data().join("ops.json").exists(), "nobody answers operators any more");
        server.restart();
        server.settled();
        assert_eq!(Client::hello(&server.address, &tokens["bob"], None, None).await.head(), accepted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_show_the_same_whether_it_runs_or_not() {
    let mut server = Server::start(&UNPACED);
    let tokens = tokens(&server.address, &["ann", "bob"]).await;
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    // The messages that the hello put on the queues are done.
    ann.event("timeline").await;
    server.command(&["workers", "pause"]);
    for n in 0..7 {
        let id = ann.submit("dm.send", json!({ "to": "bob", "text": n.to_string() })).await;
        ann.until(|frame| frame["id"] == *id).await.unwrap();
    }
    let check = |server: &Server| {
        let rows = server.queues();
        let main = rows.iter().find(|row| row["queue"] == "main_q").unwrap();
        // One of them says who has paused the workers.
        assert_eq!((&main["visible"], &main["in_flight"], &main["dead"]), (&json!(8), &json!(0), &json!(0)));
        assert!(rows.len() > 15 && rows.iter().any(|row| row["queue"] == "dm_send_q"), "{rows:?}");
        let table = server.command(&["queues"]);
        assert!(table.lines().next().unwrap().contains("oldest age"), "{table}");
        let main: Vec<&str> =
            table.lines().find(|l| l.starts_with("main_q")).unwrap().split_whitespace().collect();
        assert_eq!((main[1], main[2], main[5]), ("8", "0", "0"), "{table}");
    };
    check(&server);
    server.kill();
    check(&server);
    server.restart();
    server.settled();

    let nowhere = output(&["queues", "--data", "/nonexistent/soundoff"]);
    let said = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(!nowhere.status.success() && said.contains("/nonexistent/soundoff"), "{said}");
    let data = server.data().to_str().unwrap().to_owned();
    let wrong = output(&["dlq", "list", "no_such_q", "--data", &data]);
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("main_q"));
    let unknown = output(&["dlq", "show", "main_q", "77", "--data", &data]);
    assert!(!unknown.status.success() && String::from_utf8_lossy(&unknown.stderr).contains("77"));
    assert!(server.command(&["dlq", "redrive", "main_q"]).starts_with("0 message"));
    server.kill();
    let asleep = output(&["workers", "pause", "--data", &data]);
    assert!(!asleep.status.success() && String::from_utf8_lossy(&asleep.stderr).contains("running"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_user_is_out_at_once_and_old_tokens_stay_refused() {
    let server = Server::start(&["--edges", "2"]);
    let before = tokens(&server.address, &["ann", "bob"]).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Client::hello(&server.address, &before["ann"], None, None).await);
    }
    let mut bob = Client::hello(&server.address, &before["bob"], None, None).await;
    server.command(&["users", "revoke", "ann"]);
    for mut client in held {
        assert_eq!(client.closed().await, 4503);
    }
    match Client::try_hello(&server.address, &before["ann"], None, None).await {
        Err(Next::Closed(code, _)) => assert_eq!(code, 4503),
        other => panic!("{:?}", other.map(|client| client.welcome)),
    }
    bob.call("profile.get", json!({})).await;
    let data = server.data().to_str().unwrap().to_owned();
    let nobody = output(&["users", "revoke", "nobody_here", "--data", &data]);
    assert!(!nobody.status.success() && String::from_utf8_lossy(&nobody.stderr).contains("nobody_here"));

    // Tokens count time in seconds: those of the next second are valid again.
    let begun = Instant::now();
    loop {
        let fresh = tokens(&server.address, &["ann"]).await;
        match Client::try_hello(&server.address, &fresh["ann"], None, None).await {
            Ok(mut client) => break drop(client.call("profile.get", json!({})).await),
            Err(next) => assert!(begun.elapsed() < PATIENCE, "no new token opens: {next:?}"),
        }
    }
}

/// The status that the operators' port answers to a head, and then perhaps a body.
async fn operate(address: &str, signed: &str, length: usize, body: &str) -> u16 {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let fields = format!("host: x\r\n{SIGNED_HEADER}: {signed}\r\ncontent-length: {length}");
    stream.write_all(format!("POST /ops HTTP/1.1\r\n{fields}\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut status)).await;
    read.expect("it waits for a body").unwrap();
    String::from_utf8_lossy(&status[9..]).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_was_seen_on_its_way_cannot_be_given_again() {
    let server = Server::start(&[]);
    let tokens = tokens(&server.address, &["ann"]).await;
    let ops: Value = serde_json::from_slice(&std::fs::read(server.data().join("ops.json")).unwrap()).unwrap();
    let (address, key) = (ops["address"].as_str().unwrap(), ops["key"].as_str().unwrap());
    let signer = |to: &str| Signer::new(InternalKey::new(key.as_bytes()).unwrap(), to.into());
    let pause = "\"pause_workers\"";
    let (bytes, now) = (pause.as_bytes(), now_ms());
    for (what, signed) in [
        ("unsigned", String::new()),
        ("for another process", signer("127.0.0.1:1").sign("POST", "/ops", bytes, now)),
        ("for another path", signer(address).sign("POST", "/deliver", bytes, now)),
        ("another method", signer(address).sign("GET", "/ops", bytes, now)),
        ("old", signer(address).sign("POST", "/ops", bytes, now - 70_000)),
    ] {
        assert_eq!(operate(address, &signed, bytes.len(), "").await, 401, "{what}: before its body is there");
    }
    let signed = signer(address).sign("POST", "/ops", b"\"resume_worker\"", now);
    assert_eq!(operate(address, &signed, bytes.len(), "\"pause_workers\"").await, 401, "another body");
    let signed = signer(address).sign("POST", "/ops", bytes, now);
    assert_eq!(operate(address, &signed, bytes.len(), pause).await, 200);
    server.command(&["workers", "resume"]);
    assert_eq!(operate(address, &signed, bytes.len(), pause).await, 401, "again");
    let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
    ann.call("profile.get", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_stay_out_of_the_log_and_in_files_for_the_owner() {
    let mut server = Server::start(&["--log", "trace", "--edges", "2"]);
    let mut tokens = tokens(&server.address, &["ann", "bob"]).await;
    let ops: Value = serde_json::from_slice(&std::fs::read(server.data().join("ops.json")).unwrap()).unwrap();
    for entry in std::fs::read_dir(server.data()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name == "ops.json" || name.contains("key") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
    assert_eq!(std::fs::metadata(server.data()).unwrap().permissions().mode() & 0o777, 0o700);
    let mut ann = Client::hello(&server.address, &tokens["ann"], Some("phone"), None).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    ann.call("dm.send", json!({ "to": "bob", "text": "between-us-and-nobody-else" })).await;
    bob.push("dm.received").await;
    ann.send(json!({ "op": "auth", "token": tokens["ann"] })).await;
    ann.until(|frame| frame["op"] == "auth_ok").await.unwrap();
    ann.send(json!({ "op": "auth", "token": format!("{}x", tokens["ann"].as_str().unwrap()) })).await;
    ann.until(|frame| frame["op"] == "error").await.unwrap();
    assert!(Client::try_hello(&server.address, &json!("not-a-token-at-all"), None, None).await.is_err());
    server.command(&["users", "revoke", "bob"]);
    server.kill();
    let log = server.log();
    assert!(log.len() > 1000, "nothing was logged, so nothing is shown");
    let key = ops["key"].as_str().unwrap();
    let words = ["not-a-token-at-all", "between-us-and-nobody-else", key];
    for secret in words.into_iter().chain(tokens.as_object_mut().unwrap().values().filter_map(Value::as_str))
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret in the log");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_secret_than_the_data_was_made_under_is_refused() {
    let mut server = Server::start(&[]);
    let secrets = private_dir();
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("--secret-file={}", path.display())
    };
    server.kill();
    for (flag, says) in [
        (file("other", &"x".repeat(64)), "made under another secret"),
        (file("short", "0123456789012345678901234567890\n\n"), "at least 32 bytes"),
        (format!("--secret-file={}", secrets.path().join("absent").display()), "cannot read the secret"),
    ] {
        let said = refused(&["--listen", "127.0.0.1:0", &flag], server.data());
        assert!(said.contains(says), "{flag}: {said}");
    }
    // The same secret in another file, with the line break that editors add.
    let own = std::fs::read_to_string(server.data().join("secret.key")).unwrap();
    server.restart_with(&[&file("same", &format!("{own}\n"))]);
    tokens(&server.address, &["ann"]).await;
}

#[test]
fn providers_to_which_secrets_would_go_unencrypted_are_refused() {
    let dir = private_dir();
    let apple = ["--apple-client-ids", "a", "--apple-jwks-url"];
    let twitter =
        ["--twitter-client-id", "a", "--twitter-redirect-uris", "https://a.example/", "--twitter-token-url"];
    for (flags, url) in
        [(&apple[..], "http://keys.example/"), (&twitter[..], "http://127.0.0.1.example/token")]
    {
        let all: Vec<&str> = ["--listen", "127.0.0.1:0"].iter().chain(flags).copied().chain([url]).collect();
        let said = refused(&all, dir.path());
        assert!(said.contains("must be https"), "{said}");
    }
    let said = refused(&["--access-token-s", "901"], dir.path());
    assert!(said.contains("900"), "{said}");
    let said = refused(&["--smtp-url", "smtp://user:hunter2@"], dir.path());
    assert!(said.contains("SMTP") && !said.contains("hunter2"), "{said}");
}
