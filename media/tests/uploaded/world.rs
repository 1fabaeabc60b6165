//! Media's three queues by hand, one message at a time, on embedded adapters. Clients upload bytes to the blobs
//! themselves.

use std::io::Cursor;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use image::{DynamicImage, ImageFormat};
use serde_json::json;
use soundoff_common::guard::Weather;
use soundoff_common::model::media::{self, Stored};
use soundoff_common::pipeline::consumer::{Job, Verdict};
use soundoff_common::pipeline::deliver::InternalKey;
use soundoff_common::pipeline::feature::{self, Feature, Work};
use soundoff_common::pipeline::handler::Context;
use soundoff_common::pipeline::inbox;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::pipeline::worker::{Outward, Worker};
use soundoff_common::pipeline::world::World as Ports;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::{BlobWriter, Blobs};
use soundoff_common::ports::queues::{Message, Outgoing, QueueName, Queues};
use soundoff_common::ports::tables::{Table, Tables};
use soundoff_common::protocol::Handle;
use soundoff_common::telemetry::Metrics;
use soundoff_common::web::secret::Secret;
use soundoff_common::web::uploads::UploadKey;
use soundoff_embedded::blobs::FileBlobs;
use soundoff_embedded::cache::LocalCache;
use soundoff_embedded::queues::{EmbeddedQueues, Options};
use soundoff_embedded::sessions::LocalSessions;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use soundoff_media::{MediaConfig, UPLOADED};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

pub(crate) const CHECK: &str = "media.check";
pub(crate) const CHECKED: &str = "media.checked";

type Hook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Blobs with a hook that runs after a whole blob was read. They can also seem larger than they are.
pub(crate) struct Watched {
    files: FileBlobs,
    pub(crate) seems: Mutex<Option<u64>>,
    pub(crate) once_read: Mutex<Option<Hook>>,
}

#[async_trait]
impl Blobs for Watched {
    async fn create(&self, id: &str) -> Result<Box<dyn BlobWriter>, Unavailable> {
        self.files.create(id).await
    }

    async fn size(&self, id: &str) -> Result<Option<u64>, Unavailable> {
        let seems = *self.seems.lock().unwrap();
        Ok(self.files.size(id).await?.map(|bytes| seems.unwrap_or(bytes)))
    }

    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable> {
        assert!(self.seems.lock().unwrap().is_none(), "a blob that is too large is never read");
        let bytes = self.files.get(id, range).await;
        let hook = self.once_read.lock().unwrap().take();
        if let Some(hook) = hook {
            hook().await;
        }
        bytes
    }

    async fn delete(&self, id: &str) -> Result<(), Unavailable> {
        self.files.delete(id).await
    }
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) queues: Arc<EmbeddedQueues>,
    pub(crate) tables: Arc<EmbeddedTables>,
    pub(crate) blobs: Arc<Watched>,
    pub(crate) metrics: Metrics,
    media: Arc<Feature>,
    ports: Ports,
    _data: Arc<tempfile::TempDir>,
}

pub(crate) fn alice() -> Handle {
    "alice".parse().unwrap()
}

impl World {
    /// `kept`: how long media are kept that no post shows.
    pub(crate) fn new(kept: Duration) -> Self {
        Self::of(MediaConfig { kept, ..MediaConfig::default() })
    }

    pub(crate) fn of(config: MediaConfig) -> Self {
        let data = tempfile::tempdir().unwrap();
        let media = soundoff_media::feature(config);
        let catalog = Arc::new(feature::catalog(std::slice::from_ref(&media)));
        let queues = EmbeddedQueues::open(data.path(), &catalog.queue_names(), Options::default()).unwrap();
        let tables = EmbeddedTables::open(data.path(), &TableOptions::default()).unwrap();
        let files = FileBlobs::open(data.path(), &soundoff_embedded::disk::Disk::default()).unwrap();
        let blobs = Arc::new(Watched { files, seems: Mutex::default(), once_read: Mutex::default() });
        let (sessions, metrics) = (Arc::new(LocalSessions::new()), Metrics::new());
        let key = InternalKey::new(&[0; 32]).unwrap();
        let replies = Replies::start(sessions.clone(), key, Weather::new(metrics.clone()));
        let secret = Secret::new(&[0; 32]).unwrap();
        let ports = Ports {
            tables: tables.clone(),
            sessions,
            cache: Arc::new(LocalCache::new(16 << 20)),
            queues: queues.clone(),
            uploads: Arc::new(UploadKey::of(&secret).unwrap()),
            outward: Outward { queues: queues.clone(), replies, catalog },
            secret,
            purges: false,
            metrics: metrics.clone(),
            weather: Weather::new(metrics.clone()),
            blobs: Some(blobs.clone()),
            // Nobody brings a token here.
            archive: None,
            verifier: None,
        };
        Self { queues, tables, blobs, metrics, media: Arc::new(media), ports, _data: Arc::new(data) }
    }

    pub(crate) fn job(&self, message_type: &str) -> Arc<dyn Job> {
        let row = self.media.rows.iter().find(|row| row.spec.message_type == message_type).unwrap();
        match &row.work {
            Work::Job(make) => make(&self.ports).unwrap(),
            Work::Handler(run) => {
                let Ports { tables, sessions, metrics, uploads, outward, .. } = self.ports.clone();
                let cx = Context {
                    tables,
                    sessions,
                    uploads,
                    pictures: self.ports.pictures().unwrap(),
                    purges: self.ports.purges,
                    metrics,
                    turns: Arc::default(),
                    daily: Arc::default(),
                };
                Arc::new(Worker::new(*run, cx, outward))
            }
        }
    }

    /// Collects what no post shows, until `stop`.
    pub(crate) async fn collect(&self, stop: CancellationToken) {
        for row in &self.media.loops {
            (row.begin)(&self.ports, stop.clone()).unwrap().await;
        }
    }

    /// A medium of alice's that was begun, as by `media.begin`.
    pub(crate) async fn begun(&self) -> Ulid {
        self.begun_by(&alice()).await
    }

    pub(crate) async fn begun_by(&self, owner: &Handle) -> Ulid {
        let id = Ulid::generate();
        let counted = self.tables.get(Table::Entities, media::count_key(owner)).await.unwrap();
        let now = soundoff_common::protocol::now_ms();
        self.tables.write(media::begin(id, owner, now, counted.as_ref()).unwrap()).await.unwrap();
        id
    }

    /// A client uploads a picture of this width, and the bucket says so.
    pub(crate) async fn put(&self, id: Ulid, width: u32) {
        let mut png = Cursor::new(Vec::new());
        DynamicImage::new_rgb8(width, 10).write_to(&mut png, ImageFormat::Png).unwrap();
        self.put_bytes(id, png.into_inner()).await;
    }

    pub(crate) async fn put_bytes(&self, id: Ulid, bytes: Vec<u8>) {
        self.blobs.put(&format!("{id}.raw"), bytes.into()).await.unwrap();
        self.say(&created(id)).await;
    }

    /// The bucket says something.
    pub(crate) async fn say(&self, body: &str) {
        self.send(UPLOADED, Bytes::from(body.to_owned())).await;
    }

    /// Puts a message on a type's queue.
    pub(crate) async fn send(&self, message_type: &str, body: Bytes) {
        let queue = QueueName::of_type(message_type);
        let sent = self.queues.send(vec![Outgoing { queue, body, user: None }]).await;
        assert!(sent.iter().all(Result::is_ok));
    }

    /// Takes the next message of a type's queue, if there is one.
    pub(crate) async fn next(&self, message_type: &str) -> Option<Message> {
        let hour = Duration::from_secs(3600);
        let queue = QueueName::of_type(message_type);
        self.queues.receive(&queue, 1, Duration::ZERO, hour).await.unwrap().pop()
    }

    /// Works on a message as a consumer does, once.
    pub(crate) async fn work(&self, message_type: &str, message: Message) -> Verdict {
        let queue = QueueName::of_type(message_type);
        let verdict = self.job(message_type).run(std::slice::from_ref(&message)).await.remove(0);
        let receipt = message.receipt;
        match &verdict {
            Verdict::Done => self.queues.ack(&queue, vec![receipt]).await.unwrap(),
            Verdict::Retry(_) | Verdict::Wait(_) => {
                self.queues.extend(&queue, vec![receipt], Duration::ZERO).await.unwrap()
            }
            Verdict::Refused(error) => panic!("nobody waits for an answer: {error}"),
            Verdict::Dead(reason) => self.queues.bury(&queue, receipt, reason).await.unwrap(),
        }
        verdict
    }

    /// Works on the next message of a type.
    pub(crate) async fn step(&self, message_type: &str) -> Option<Verdict> {
        let message = self.next(message_type).await?;
        Some(self.work(message_type, message).await)
    }

    /// Works until nothing is left to do; every verdict must be [`Verdict::Done`].
    pub(crate) async fn settle(&self) {
        loop {
            let mut worked = false;
            for message_type in [UPLOADED, CHECK, CHECKED] {
                while let Some(verdict) = self.step(message_type).await {
                    assert_eq!(verdict, Verdict::Done, "{message_type}");
                    worked = true;
                }
            }
            if !worked {
                return;
            }
        }
    }

    pub(crate) async fn stored(&self, id: Ulid) -> Option<Stored> {
        media::parse(self.tables.get(Table::Entities, media::key(id)).await.unwrap()).unwrap()
    }

    /// Which blobs of a medium exist, as endings of their names.
    pub(crate) async fn existing(&self, id: Ulid) -> Vec<&'static str> {
        let mut existing = Vec::new();
        for ending in ["raw", "full", "feed", "thumb"] {
            if self.blobs.files.size(&format!("{id}.{ending}")).await.unwrap().is_some() {
                existing.push(ending);
            }
        }
        existing
    }

    /// The width of what is shown.
    pub(crate) async fn shown(&self, id: Ulid) -> u32 {
        let full = self.blobs.files.get(&format!("{id}.full"), None).await.unwrap().unwrap();
        image::load_from_memory(&full).unwrap().width()
    }

    /// The types of alice's pushes.
    pub(crate) async fn pushes(&self) -> Vec<String> {
        let entries = inbox::read(&*self.tables, &alice(), 0, 100).await.unwrap();
        entries.into_iter().map(|(_, entry)| entry.push_type).collect()
    }
}

/// S3's notification of an upload.
pub(crate) fn created(id: Ulid) -> String {
    let object = json!({ "key": format!("media/{id}.raw"), "size": 9, "eTag": "0", "sequencer": "0055AED6DCD90281E5" });
    let record = json!({
        "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1", "eventTime": "2026-11-25T00:00:00.000Z",
        "eventName": "ObjectCreated:Put", "userIdentity": { "principalId": "AWS:A:B" },
        "requestParameters": { "sourceIPAddress": "203.0.113.9" }, "responseElements": { "x-amz-request-id": "C" },
        "s3": {
            "s3SchemaVersion": "1.0", "configurationId": "uploads", "object": object,
            "bucket": { "name": "b", "ownerIdentity": { "principalId": "A" }, "arn": "arn:aws:s3:::b" },
        },
    });
    json!({ "Records": [record] }).to_string()
}
