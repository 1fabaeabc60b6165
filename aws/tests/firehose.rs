//! The archive on Firehose: the port's laws, and its behaviour with a fake Firehose that fails on demand.

mod support {
    pub(crate) mod firehose;
}

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use soundoff_aws::firehose::{self, FirehoseArchive};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::ports::archive::contract::{self, Harness};
use soundoff_common::ports::archive::{Archive, Record};
use soundoff_common::telemetry::Metrics;
use support::firehose::{Fake, Reply, Shared, serve};
use ulid::Ulid;

/// A stream and bucket for this test, so that it reads no files of other tests.
struct Stack(String);

impl Stack {
    fn new() -> Self {
        Self(format!("archive-{}", Ulid::generate().to_string().to_lowercase()))
    }
}

async fn aws(endpoint: String) -> Aws {
    let config = AwsConfig {
        firehose_endpoint: Some(endpoint.clone()),
        s3_endpoint: Some(endpoint),
        ..AwsConfig::default()
    };
    Aws::connect(config, &Weather::new(Metrics::new())).await.unwrap()
}

fn ministack() -> String {
    std::env::var("TEST_MINISTACK").unwrap()
}

#[async_trait]
impl Harness for Stack {
    async fn open(&self) -> Arc<dyn Archive> {
        let aws = aws(ministack()).await;
        firehose::provision(&aws, &self.0, &self.0).await.unwrap();
        FirehoseArchive::open(&aws, &self.0).await.unwrap()
    }

    async fn reopen(&self, _: Arc<dyn Archive>) -> Arc<dyn Archive> {
        self.open().await
    }

    async fn files(&self) -> Vec<(String, Vec<u8>)> {
        let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let config =
            aws_sdk_s3::config::Builder::from(&config).endpoint_url(ministack()).force_path_style(true);
        let client = aws_sdk_s3::Client::from_conf(config.build());
        let mut files = Vec::new();
        let mut pages = client.list_objects_v2().bucket(&self.0).prefix("events/").into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.unwrap().contents() {
                let key = object.key().unwrap();
                let found = client.get_object().bucket(&self.0).key(key).send().await.unwrap();
                let bytes = found.body.collect().await.unwrap().to_vec();
                files.push((key.strip_prefix("events/").unwrap().to_owned(), bytes));
            }
        }
        files
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn the_archive_keeps_its_laws() {
    contract::a_record_is_one_line(&Stack::new()).await;
    contract::what_was_put_outlives_a_kill(&Stack::new()).await;
    contract::files_are_complete_at_all_times(&Stack::new()).await;
    contract::many_put_at_once(&Stack::new()).await;
    contract::invalid_records_are_refused(&Stack::new()).await;
}

fn record(ts: &str, body: &str) -> Record {
    Record {
        id: Ulid::generate().to_string().into(),
        message_type: "post.create".into(),
        v: 1,
        ts: ts.into(),
        ingest_ts: ts.into(),
        user_key: "ada".into(),
        trace_id: "t".into(),
        body: Some(serde_json::value::to_raw_value(body).unwrap()),
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn utc_records_are_found_at_their_place_and_others_refused() {
    let stack = Stack::new();
    let archive = stack.open().await;
    for (ts, place) in [
        ("2026-11-22T13:59:59.999999Z", "dt=2026-11-22/hour=13"),
        ("2026-11-22T14:00:00.000Z", "dt=2026-11-22/hour=14"),
        ("2024-02-29T23:00:00+00:00", "dt=2024-02-29/hour=23"),
    ] {
        let record = record(ts, "x");
        archive.put(vec![record.clone()]).await.unwrap();
        let files = stack.files().await;
        let found =
            files.iter().find(|(_, text)| String::from_utf8_lossy(text).contains(&*record.id)).unwrap();
        assert!(found.0.starts_with(&format!("type=post.create/{place}/")), "{}", found.0);
    }
    let put = archive.put(vec![record("2026-11-22T00:30:00+02:00", "x")]).await;
    assert!(put.unwrap_err().0.contains("UTC"), "it would be stored by its text");
}

async fn faked(fake: Fake) -> (Shared, Arc<FirehoseArchive>) {
    let fake = Arc::new(Mutex::new(fake));
    let aws = aws(serve(fake.clone()).await).await;
    (fake, FirehoseArchive::open(&aws, "fake").await.unwrap())
}

fn records(count: usize, body: &str) -> Vec<Record> {
    (0..count).map(|_| record("2026-11-22T13:00:00Z", body)).collect()
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn exactly_the_failing_subset_is_sent_again() {
    let (fake, archive) = faked(Fake::default()).await;
    for failing in 1..1_024u32 {
        {
            let mut fake = fake.lock().unwrap();
            fake.calls.clear();
            fake.replies = [Reply::Failing(failing)].into();
        }
        archive.put(records(10, "x")).await.unwrap();
        let calls = &fake.lock().unwrap().calls;
        let expected: Vec<_> =
            (0..10).filter(|n| failing >> n & 1 == 1).map(|n| calls[0][n].clone()).collect();
        assert_eq!(calls.len(), 2, "{failing:b}");
        assert_eq!(calls[1], expected, "{failing:b}");
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_record_that_is_refused_again_is_known_by_its_content() {
    let (fake, archive) = faked(Fake {
        replies: [Reply::Failing(0b11010), Reply::Failing(0b110), Reply::Failing(0b1)].into(),
        ..Fake::default()
    })
    .await;
    archive.put(records(5, "x")).await.unwrap();
    let calls = &fake.lock().unwrap().calls;
    let sent = |call: usize, places: &[usize]| {
        assert_eq!(calls[call], places.iter().map(|n| calls[0][*n].clone()).collect::<Vec<_>>())
    };
    assert_eq!(calls.len(), 4);
    sent(1, &[1, 3, 4]);
    sent(2, &[3, 4]);
    sent(3, &[3]);
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn only_the_refused_put_of_a_shared_call_fails() {
    let (fake, archive) = faked(Fake { always: Some(Reply::Refusing("bad")), ..Fake::default() }).await;
    let begun = Instant::now();
    let puts = ["a", "b", "bad", "c", "d"].map(|body| {
        let archive = archive.clone();
        async move { (archive.put(records(2, body)).await, begun.elapsed()) }
    });
    let answers = futures_util::future::join_all(puts).await;
    assert_eq!(fake.lock().unwrap().calls[0].len(), 10, "they share a call");
    for (n, (answer, after)) in answers.iter().enumerate() {
        let why = answer.as_ref().err().map(|error| error.0.contains("a record was refused"));
        assert_eq!(why, (n == 2).then_some(true), "{n}: {answer:?}");
        assert!(n == 2 || *after < Duration::from_secs(5), "{n} waits for another's: {after:?}");
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_flush_waits_for_what_is_under_way() {
    let (fake, archive) = faked(Fake { replies: [Reply::Failing(0b10)].into(), ..Fake::default() }).await;
    let flush = async {
        archive.flush().await.unwrap();
        fake.lock().unwrap().calls.len()
    };
    let (put, calls) = tokio::join!(archive.put(records(2, "x")), flush);
    put.unwrap();
    assert_eq!(calls, 2, "both tries came before");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_record_is_one_line_of_at_most_1000_kib() {
    let (fake, archive) = faked(Fake::default()).await;
    archive.put(records(2, "x\ny")).await.unwrap();
    let line = fake.lock().unwrap().calls[0][0].clone();
    assert_eq!((line.matches('\n').count(), line.ends_with('\n')), (1, true), "{line:?}");

    let room = 1_000 * 1_024 - line.len() + "x\\ny".len();
    archive.put(records(1, &"x".repeat(room))).await.unwrap();
    assert_eq!(fake.lock().unwrap().calls[1][0].len(), 1_000 * 1_024);
    assert!(archive.put(records(1, &"x".repeat(room + 1))).await.is_err(), "too large");
    assert_eq!(fake.lock().unwrap().calls.len(), 2, "and not sent");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_final_refusal_is_not_tried_again() {
    let (fake, archive) = faked(Fake { always: Some(Reply::NotFound), ..Fake::default() }).await;
    assert!(archive.put(records(1, "x")).await.is_err());
    assert_eq!(fake.lock().unwrap().calls.len(), 1);
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn calls_are_split_and_refused_ones_repeated() {
    let (fake, archive) = faked(Fake { replies: [Reply::Unavailable].into(), ..Fake::default() }).await;
    archive.put(records(1_001, "x")).await.unwrap();
    let sizes = |fake: &Shared| fake.lock().unwrap().calls.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&fake), [500, 500, 500, 1]);
    fake.lock().unwrap().calls.clear();
    archive.put(records(30, &"x".repeat(250_000))).await.unwrap();
    assert_eq!(sizes(&fake), [15, 15], "no call over 4 MB");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_long_outage_is_an_error_in_bounded_time() {
    let outages = [Reply::Unavailable, Reply::Failing(1)].map(|reply| async {
        let (fake, archive) = faked(Fake { always: Some(reply), ..Fake::default() }).await;
        let begun = Instant::now();
        assert!(archive.put(records(1, "x")).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(11), "{:?}", begun.elapsed());
        assert!((5..60).contains(&fake.lock().unwrap().calls.len()));
    });
    futures_util::future::join_all(outages).await;
}
