//! Blobs in S3: the port's laws, and presigned uploads.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use soundoff_aws::s3::{self, S3Blobs, S3Uploads};
use soundoff_aws::sqs::{self, SqsOptions, SqsQueues};
use soundoff_aws::{Aws, AwsConfig};
use soundoff_common::guard::Weather;
use soundoff_common::ports::blobs::Blobs;
use soundoff_common::ports::blobs::contract::{self, Harness};
use soundoff_common::ports::queues::{QueueName, Queues as _};
use soundoff_common::ports::uploads::Uploads;
use soundoff_common::telemetry::Metrics;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use ulid::Ulid;

const BUCKET: &str = "soundoff-media";

struct Engine(&'static str);

impl Engine {
    async fn aws(&self) -> Aws {
        let endpoint = Some(std::env::var(self.0).unwrap());
        let config =
            AwsConfig { s3_endpoint: endpoint.clone(), sqs_endpoint: endpoint, ..AwsConfig::default() };
        Aws::connect(config, &Weather::new(Metrics::new())).await.unwrap()
    }
}

const ENGINES: [Engine; 2] = [Engine("TEST_MINISTACK"), Engine("TEST_MOTO")];

#[async_trait]
impl Harness for Engine {
    async fn open(&self) -> Arc<dyn Blobs> {
        let aws = self.aws().await;
        s3::provision(&aws, BUCKET).await.unwrap();
        Arc::new(S3Blobs::open(&aws, BUCKET).await.unwrap())
    }

    async fn reopen(&self, _: Arc<dyn Blobs>) -> Arc<dyn Blobs> {
        self.open().await
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn blobs_keep_their_laws() {
    for engine in ENGINES {
        contract::blobs_are_what_was_put(&engine).await;
        contract::parts_become_a_blob_when_finished(&engine).await;
        contract::sizes_are_what_get_answers(&engine).await;
        contract::ranges_answer_their_bytes(&engine).await;
        contract::delete_is_idempotent(&engine).await;
        contract::invalid_ids_are_refused(&engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_blob_is_whole_while_replaced() {
    for engine in ENGINES {
        contract::a_blob_is_whole_while_replaced(&engine).await;
    }
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn many_parts_become_one_blob() {
    const MIB: usize = 1_024 * 1_024;
    let blobs = ENGINES[0].open().await;
    for length in [8 * MIB, 8 * MIB + 1, 16 * MIB, 50 * MIB] {
        let id = Ulid::generate().to_string();
        let mut writer = blobs.create(&id).await.unwrap();
        let whole: Vec<u8> = (0..length).map(|n| (n / 777 % 251) as u8).collect();
        for piece in whole.chunks(700_001) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap();
        assert!(blobs.get(&id, None).await.unwrap().unwrap() == whole, "{length} bytes");
    }
}

/// The status of one request to a presigned URL.
async fn ask(method: &str, url: &str, bytes: usize) -> u16 {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    socket.write_all(&vec![7; bytes]).await.unwrap();
    let mut answer = vec![0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn a_presigned_put_allows_that_and_nothing_else() {
    let blobs = ENGINES[0].open().await;
    let uploads = S3Uploads::new(&ENGINES[0].aws().await, BUCKET);
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let (id, other) = (Ulid::generate(), Ulid::generate());
    let url = uploads.url(id, 1_000, now() + 60).await.unwrap();
    assert_eq!(ask("PUT", &url, 999).await, 403, "fewer bytes");
    assert_eq!(ask("PUT", &url, 1_001).await, 403, "more bytes");
    assert_eq!(ask("PUT", &url.replace(&id.to_string(), &other.to_string()), 1_000).await, 403, "another id");
    assert_eq!(ask("GET", &url, 0).await, 403, "another method");
    assert_eq!(ask("DELETE", &url, 0).await, 403, "another method");
    assert_eq!(blobs.size(&format!("{id}.raw")).await.unwrap(), None);
    assert_eq!(ask("PUT", &url, 1_000).await, 200, "what was signed");
    assert_eq!(blobs.size(&format!("{id}.raw")).await.unwrap(), Some(1_000));
    assert!(uploads.url(id, 1, now()).await.is_err(), "already expired");
    let short = uploads.url(other, 10, now() + 1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(2_100)).await;
    assert_eq!(ask("PUT", &short, 10).await, 403, "expired");
}

#[tokio::test]
#[ignore = "needs stand-ins: tests/standins/with cargo test -p soundoff-aws -- --ignored"]
async fn the_bucket_reports_uploads_on_its_queue_and_nothing_else() {
    for engine in ENGINES {
        let aws = engine.aws().await;
        let (queue, other) = (QueueName::new("uploads_q"), QueueName::new("other_q"));
        let options = SqsOptions { prefix: format!("t{}-", Ulid::generate()) };
        let bucket = format!("t{}", Ulid::generate()).to_lowercase();
        sqs::provision(&aws, &[queue.clone(), other.clone()], &options).await.unwrap();
        s3::provision(&aws, &bucket).await.unwrap();
        s3::notify(&aws, &bucket, &other, &options).await.unwrap();
        // A second time, with the queue to which it must report from now on.
        for _ in 0..2 {
            s3::notify(&aws, &bucket, &queue, &options).await.unwrap();
        }
        let queues = SqsQueues::open(&aws, &[queue.clone(), other.clone()], options).await.unwrap();
        let blobs = S3Blobs::open(&aws, &bucket).await.unwrap();
        let (small, large) = (Ulid::generate(), Ulid::generate());
        blobs.put(&format!("{small}.full"), Bytes::from_static(b"a rendition")).await.unwrap();
        blobs.put(&format!("{small}.raw"), Bytes::from_static(b"an upload")).await.unwrap();
        // In parts, which together are one upload.
        blobs.put(&format!("{large}.raw"), vec![0; 20 << 20].into()).await.unwrap();
        let (mut reports, wait) = (Vec::new(), std::time::Duration::from_secs(2));
        loop {
            let got = queues.receive(&queue, 10, wait, std::time::Duration::from_secs(60)).await.unwrap();
            if got.is_empty() {
                break;
            }
            reports.extend(got.into_iter().map(|message| String::from_utf8(message.body.to_vec()).unwrap()));
        }
        let tests = reports.extract_if(.., |body| body.contains("\"s3:TestEvent\"")).count();
        let key = |body: &String| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            // Engines encode differently, and moto reports parts twice: S3 promises at least once.
            body["Records"][0]["s3"]["object"]["key"].as_str().unwrap().replace("%2F", "/")
        };
        let keys: std::collections::BTreeSet<_> = reports.iter().map(key).collect();
        let wanted = [small, large].map(|id| format!("media/{id}.raw"));
        assert_eq!((tests, keys), (2, wanted.into_iter().collect()), "{}: {reports:?}", engine.0);
    }
}
