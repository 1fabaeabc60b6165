//! The private address, from fake metadata services that answer as AWS documents. One test, as it sets the environment
//! of its process.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

/// Answers every request with `body`; returns the address.
fn metadata(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let _asked = stream.read(&mut [0; 4096]).expect("a request");
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(body.as_bytes()))
                .expect("heard");
        }
    });
    format!("http://{address}/v4/abc")
}

/// Runs this test again, in a process with ECS's variable set.
fn asked_with(uri: &str) -> String {
    let this = std::env::current_exe().expect("this test's binary");
    let output = std::process::Command::new(this)
        .args(["--exact", "prints_what_it_found", "--nocapture", "--ignored"])
        .env("ECS_CONTAINER_METADATA_URI_V4", uri)
        .output()
        .expect("it runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
#[ignore = "run by the other test, in an environment of its own"]
async fn prints_what_it_found() {
    match soundoff_aws::private_ip().await {
        Ok(ip) => println!("found {ip}."),
        Err(error) => println!("failed: {error:#}"),
    }
}

#[test]
fn a_container_gets_its_address_from_ecs() {
    let uri = metadata(
        r#"{"DockerId":"x","Networks":[{"NetworkMode":"awsvpc","IPv4Addresses":["10.0.2.106"],"MACAddress":"0e:9e"}]}"#,
    );
    assert!(asked_with(&uri).contains("found 10.0.2.106."));
    for nothing in [r#"{"Networks":[]}"#, r#"{"Networks":[{"IPv4Addresses":["rubbish"]}]}"#, "rubbish"] {
        let said = asked_with(&metadata(nothing));
        assert!(said.contains("failed: ") && said.contains("ECS"), "{nothing}: {said}");
    }
}
