//! Flags at the ends of what they take, and beyond.

mod support;

use std::process::Output;

use serde_json::json;
use support::client::Client;
use support::{Server, private_dir, refused, soundoff, tokens};

fn output(args: &[&str]) -> Output {
    soundoff().args(args).output().unwrap()
}

/// The numbers of `up` at their lower ends, without those at which a client on a busy machine would be too late.
const SMALLEST: [&str; 25] = [
    "--edges=1",
    "--frame-bytes=1000",
    "--burst=1",
    "--messages-per-second=1",
    "--sockets-per-user=1",
    "--max-sockets=1",
    "--hellos-per-second=1",
    "--upgrades-per-address=1",
    "--proxies=0",
    "--slots=1",
    "--visibility-ms=100",
    "--chaos-seed=0",
    "--cache-bytes=4194304",
    "--drain-ms=0",
    "--media-kept-s=1",
    "--media-max-age-s=1",
    "--access-token-s=60",
    "--refresh-token-s=60",
    "--codes-per-minute=1",
    "--texts-per-day=1",
    "--sign-ins-per-minute=1",
    "--timeline-interval-ms=1",
    "--timeline-hints-age-ms=0",
    "--timeline-half-life-min=1",
    "--timeline-in-a-row=1",
];
/// The numbers of `up` at their upper ends.
const LARGEST: [&str; 27] = [
    "--edges=4",
    "--heartbeat-ms=86400000",
    "--hello-timeout-ms=86400000",
    "--frame-bytes=16777216",
    "--burst=1000000",
    "--messages-per-second=1000000",
    "--sockets-per-user=10000",
    "--max-sockets=10000000",
    "--hellos-per-second=1000000",
    "--upgrades-per-address=1000000",
    "--proxies=16",
    "--slots=65535",
    "--visibility-ms=43200000",
    "--max-receives=1000",
    "--chaos-seed=18446744073709551615",
    "--queue-bytes=1125899906842624",
    "--drain-ms=3600000",
    "--media-kept-s=316224000",
    "--media-max-age-s=86400",
    "--refresh-token-s=31622400",
    "--codes-per-minute=1000000",
    "--texts-per-day=10000000000",
    "--sign-ins-per-minute=1000000",
    "--timeline-interval-ms=86400000",
    "--timeline-hints-age-ms=604800000",
    "--timeline-half-life-min=18446744073709551615",
    "--timeline-in-a-row=10000",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_works_with_the_smallest_and_the_largest_numbers() {
    for flags in [&SMALLEST[..], &LARGEST] {
        let server = Server::start(flags);
        let tokens = tokens(&server.address, &["ann"]).await;
        let mut ann = Client::hello(&server.address, &tokens["ann"], None, None).await;
        let id = ann.submit("post.create", json!({ "text": "at the end" })).await;
        ann.until(|frame| frame["op"] == "accepted").await.unwrap();
        assert_eq!(ann.outcome(&id).await.unwrap()["body"]["post"]["text"], "at the end", "{flags:?}");
    }
}

#[test]
fn a_number_out_of_range_is_refused_with_its_range() {
    let dir = private_dir();
    for (flag, range) in [
        ("--visibility-ms=0", "from 100 to 43200000"),
        ("--max-receives=1001", "from 1 to 1000"),
        ("--queue-bytes=0", "from 1024 to"),
        ("--drain-ms=18446744073709551615", "from 0 to 3600000"),
        ("--timeline-age-weight=inf", "from 0 to 16"),
    ] {
        let said = refused(&[flag], dir.path());
        assert!(said.contains(range) && said.contains(flag.split_once('=').unwrap().0), "{flag}: {said}");
    }
    let said = refused(&["--queue-bytes=2048", "--frame-bytes=4096"], dir.path());
    assert!(said.contains("--queue-bytes 2048") && said.contains("--frame-bytes 4096"), "{said}");
    let said = output(&["router", "--max-receives", "11"]);
    assert!(String::from_utf8_lossy(&said.stderr).contains("from 1 to 10"), "{said:?}");
}

#[test]
fn texts_go_nowhere_until_it_is_said_where() {
    let dir = private_dir();
    let carrier = "--texts-url=http://127.0.0.1:9/texts";
    let said = refused(&[carrier], dir.path());
    assert!(said.contains("--text-countries") && said.contains("+44,+49"), "{said}");
    let said = refused(&[carrier, "--text-countries=+44,Germany"], dir.path());
    assert!(said.contains("Germany") && said.contains("such as GB"), "{said}");
}

#[test]
fn what_is_no_level_is_refused_and_not_taken_for_off() {
    for (command, level) in
        [(&["queues"][..], "loud"), (&["up", "--listen", "127.0.0.1:0"], "warn,soundoff_edge=loud")]
    {
        let said = output(&[command, &["--log", level]].concat());
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.contains("loud") && said.contains("error, warn, info, debug"), "{said}");
        assert!(said.contains("warn,soundoff_edge=debug"), "with an example of a filter: {said}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_with_an_example() {
    let dir = private_dir();
    for (args, example) in [
        (&["up", "--listen", "localhost:8080"][..], "127.0.0.1:8080"),
        (&["edge", "--listen", "9999"], "0.0.0.0:9999"),
        (&["users", "--listen", "nowhere"], "0.0.0.0:8080"),
        (&["router", "--internal-listen", "9091"], "127.0.0.1:9091"),
        (&["health", "--internal-listen", "localhost"], "127.0.0.1:8080"),
        (&["edge", "--advertise", "edge-7"], "10.0.1.7:9090"),
    ] {
        let output = soundoff().args(args).current_dir(dir.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(args[1]) && said.contains(example),
            "{args:?}: {said}"
        );
    }
    // A port alone is one of this machine.
    let server = Server::start(&[]);
    let port = server.address.rsplit_once(':').unwrap().1;
    let said = refused(&["--listen", port], dir.path());
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
}
