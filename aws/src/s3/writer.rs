//! Writes a blob that comes in pieces: one PUT if it is small, otherwise a multipart upload with few parts in memory.

use async_trait::async_trait;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::BlobWriter;
use tokio::task::JoinSet;

use super::bucket::{Bucket, failed};
use crate::prices::S3_PUT;

/// The size of one part, and the most that is sent by a single PUT.
const PART_BYTES: usize = 8 * 1_024 * 1_024;
/// How many parts are on their way at once.
const IN_FLIGHT: usize = 2;

pub(super) struct S3Writer {
    bucket: Bucket,
    key: String,
    buffer: BytesMut,
    upload: Option<Upload>,
    broken: bool,
}

/// A multipart upload that S3 has begun. If it is dropped before it is completed, it is aborted.
struct Upload {
    bucket: Bucket,
    key: String,
    id: Option<String>,
    next: i32,
    flying: JoinSet<Result<CompletedPart, Unavailable>>,
    done: Vec<CompletedPart>,
}

impl S3Writer {
    pub(super) fn new(bucket: Bucket, key: String) -> Self {
        Self { bucket, key, buffer: BytesMut::new(), upload: None, broken: false }
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<(), Unavailable> {
        while !bytes.is_empty() {
            if self.buffer.len() == PART_BYTES {
                self.ship().await?;
            }
            let room = PART_BYTES - self.buffer.len();
            let piece = bytes.split_to(room.min(bytes.len()));
            self.buffer.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Sends the buffer as a part.
    async fn ship(&mut self) -> Result<(), Unavailable> {
        if self.upload.is_none() {
            self.upload = Some(Upload::begin(self.bucket.clone(), self.key.clone()).await?);
        }
        let part = std::mem::take(&mut self.buffer).freeze();
        match &mut self.upload {
            Some(upload) => upload.send(part).await,
            None => Ok(()),
        }
    }
}

impl Upload {
    async fn begin(bucket: Bucket, key: String) -> Result<Self, Unavailable> {
        let asked = bucket.client.create_multipart_upload().bucket(&bucket.name).key(&key);
        let begun = asked.customize().interceptor(bucket.meter.each_try(S3_PUT, 1.0)).send().await;
        let id = begun.map_err(failed)?.upload_id;
        if id.is_none() {
            return Err(Unavailable("s3: an upload without an id".to_owned()));
        }
        Ok(Self { bucket, key, id, next: 1, flying: JoinSet::new(), done: Vec::new() })
    }

    async fn send(&mut self, part: Bytes) -> Result<(), Unavailable> {
        while self.flying.len() >= IN_FLIGHT {
            self.land().await?;
        }
        let (bucket, number) = (self.bucket.clone(), self.next);
        self.next += 1;
        let asked = bucket.client.upload_part().bucket(&bucket.name).key(&self.key);
        let asked = asked.set_upload_id(self.id.clone()).part_number(number).body(part.into());
        self.flying.spawn(async move {
            let sent = asked.customize().interceptor(bucket.meter.each_try(S3_PUT, 1.0)).send().await;
            let sent = sent.map_err(failed)?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag)
                .set_checksum_crc32(sent.checksum_crc32)
                .build())
        });
        Ok(())
    }

    /// Waits for one part to arrive.
    async fn land(&mut self) -> Result<(), Unavailable> {
        if let Some(landed) = self.flying.join_next().await {
            self.done.push(landed.map_err(failed)??);
        }
        Ok(())
    }

    async fn complete(mut self) -> Result<(), Unavailable> {
        while !self.flying.is_empty() {
            self.land().await?;
        }
        let mut parts = std::mem::take(&mut self.done);
        parts.sort_by_key(CompletedPart::part_number);
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let asked = self.bucket.client.complete_multipart_upload().bucket(&self.bucket.name).key(&self.key);
        let asked = asked.set_upload_id(self.id.clone()).multipart_upload(parts);
        let meter = self.bucket.meter.each_try(S3_PUT, 1.0);
        asked.customize().interceptor(meter).send().await.map_err(failed)?;
        self.id = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.flying.abort_all();
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let asked = self.bucket.client.abort_multipart_upload().bucket(&self.bucket.name).key(&self.key);
        let asked = asked.upload_id(id);
        runtime.spawn(async move {
            if let Err(error) = asked.send().await.map_err(failed) {
                tracing::warn!(%error, "cannot abort a multipart upload; the bucket's lifecycle rule removes it");
            }
        });
    }
}

#[async_trait]
impl BlobWriter for S3Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Unavailable> {
        // Stays `true` when this call fails or is dropped half-way: the blob would miss bytes.
        if std::mem::replace(&mut self.broken, true) {
            return Err(broken());
        }
        self.take(bytes).await?;
        self.broken = false;
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), Unavailable> {
        if self.broken {
            return Err(broken());
        }
        let last = std::mem::take(&mut self.buffer).freeze();
        match self.upload.take() {
            None => self.bucket.put(&self.key, last).await,
            Some(mut upload) => {
                upload.send(last).await?;
                upload.complete().await
            }
        }
    }
}

fn broken() -> Unavailable {
    Unavailable("s3: an earlier write of this blob failed".to_owned())
}
