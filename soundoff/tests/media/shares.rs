//! Nobody takes the places for pictures, or the check, from anybody else.

use std::time::{Duration, Instant};

use image::ImageFormat;

use super::pictures::{noise, picture, slow_png};
use super::support::client::Client;
use super::support::web::{Answer, Exchange};
use super::support::{PATIENCE, Server, tokens};
use super::{one_user, taken, upload};

const BOB: [u8; 4] = [127, 0, 0, 3];

/// A server with a picture that no socket's buffers hold, and its path.
async fn large_picture() -> (Server, String) {
    let (server, token, mut alice) = one_user(&[]).await;
    let id = taken(&server, &token, &noise(1600, 1200)).await;
    alice.push("media.ready").await;
    (server, format!("GET /v1/media/{id}"))
}

async fn shown_to(from: [u8; 4], server: &Server, line: &str) -> Answer {
    Exchange::begin_from(from, &server.address, line, &[]).await.answer().await
}

/// Readers that ask and take next to nothing, each from the address that `home` says.
async fn slow(server: &Server, line: &str, home: impl Fn(u16) -> [u8; 4]) -> Vec<Exchange> {
    let mut readers = Vec::new();
    for n in 0..1100 {
        readers.push(Exchange::begin_from(home(n), &server.address, line, &[]).await);
    }
    readers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_one_address_take_no_picture_from_another() {
    let (server, line) = large_picture().await;
    let mut readers = slow(&server, &line, |_| [127, 0, 0, 2]).await;
    for reader in &mut readers {
        reader.some(100).await;
    }
    let got = shown_to(BOB, &server, &line).await;
    assert_eq!(got.status, 200);
    // Their own neighbours are served as soon as it is seen who is slow.
    let begun = Instant::now();
    let neighbour = loop {
        let neighbour = shown_to([127, 0, 0, 2], &server, &line).await;
        if neighbour.status == 200 {
            break neighbour;
        }
        assert_eq!((neighbour.status, neighbour.code()), (429, "overloaded".to_owned()));
        assert_eq!(neighbour.header("retry-after"), "1");
        assert!(begun.elapsed() < PATIENCE, "neighbours of slow readers are not served");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(neighbour.body, got.body);
    server.reaches(r#"soundoff_media_refused_total{reason="out_household"}"#, 800.0).await;
    server.reaches(r#"soundoff_media_refused_total{reason="out_gave_way"}"#, 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_of_many_addresses_give_way() {
    let (server, line) = large_picture().await;
    let home = |n: u16| [127, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]];
    let _readers = slow(&server, &line, home).await;
    let begun = Instant::now();
    while shown_to(BOB, &server, &line).await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(10), "slow readers keep all places");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_of_one_address_take_no_place_from_another() {
    let server = Server::start(&[]);
    let names: Vec<String> = (0..70).map(|n| format!("user{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain(["bob"]).collect();
    let tokens = tokens(&server.address, &names).await;
    let png = picture(40, 30, ImageFormat::Png);
    let mut stalled = Vec::new();
    for name in &names[..70] {
        let bearer = format!("Bearer {}", tokens[*name].as_str().unwrap());
        let headers = [("authorization", bearer.as_str()), ("content-length", "100000")];
        for _ in 0..4 {
            let mut exchange =
                Exchange::begin_from([127, 0, 0, 2], &server.address, "POST /v1/media", &headers).await;
            exchange.send(&png[..20]).await;
            stalled.push(exchange);
        }
    }
    server.reaches(r#"soundoff_media_refused_total{reason="in_household"}"#, 1.0).await;
    let bob = upload(&server, tokens["bob"].as_str().unwrap(), &png).await;
    assert_eq!(bob.status, 201, "{bob:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_of_one_user_are_not_checked_before_those_of_others_and_all_are_checked() {
    const MANY: usize = 24;
    let (server, token, mut alice) = one_user(&[]).await;
    let tokens = tokens(&server.address, &["bob"]).await;
    let mut bob = Client::hello(&server.address, &tokens["bob"], None, None).await;
    server.command(&["workers", "pause"]);
    let slow = slow_png(2000);
    for _ in 0..MANY {
        taken(&server, &token, &slow).await;
    }
    taken(&server, tokens["bob"].as_str().unwrap(), &picture(40, 30, ImageFormat::Png)).await;
    server.command(&["workers", "resume"]);
    bob.push("media.ready").await;
    let checked = server.metric(r#"soundoff_media_checked_total{reason="ready"}"#).await;
    assert!(checked < MANY as f64 / 2.0, "{checked} were checked before the next user's");
    for _ in 0..MANY {
        alice.push("media.ready").await;
    }
    server.settled();
}
