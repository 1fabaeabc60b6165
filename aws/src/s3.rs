//! Media bytes in S3, and the URLs by which clients upload large media themselves.

mod bucket;
mod notify;
mod uploads;
mod writer;

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use bytes::Bytes;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::blobs::{BlobWriter, Blobs, rules};

use bucket::{Bucket, PREFIX, failed};
pub use notify::notify;
pub use uploads::S3Uploads;
use writer::S3Writer;

use crate::Aws;
use crate::prices::S3_GET;

/// [`Blobs`] in one bucket, under `media/`.
#[derive(Debug)]
pub struct S3Blobs {
    bucket: Bucket,
}

fn key(id: &str) -> Result<String, Unavailable> {
    rules::check_id(id)?;
    Ok(format!("{PREFIX}{id}"))
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|answer| answer.status().as_u16())
}

impl S3Blobs {
    /// Looks up the bucket.
    ///
    /// # Errors
    /// When there is no such bucket, or S3 does not answer.
    pub async fn open(aws: &Aws, bucket: &str) -> anyhow::Result<Self> {
        let client = aws.s3();
        client.head_bucket().bucket(bucket).send().await.map_err(|error| {
            anyhow::anyhow!(
                "s3: {}; the bucket {bucket:?} is made by Terraform or by `soundoff provision`",
                DisplayErrorContext(error)
            )
        })?;
        Ok(Self { bucket: Bucket { client, name: bucket.to_owned(), meter: aws.meter().clone() } })
    }
}

/// Makes the bucket if it is missing, for stand-ins; on AWS Terraform does.
///
/// # Errors
/// When S3 refuses or does not answer.
pub async fn provision(aws: &Aws, bucket: &str) -> anyhow::Result<()> {
    let client = aws.s3();
    if client.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(());
    }
    match client.create_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_bucket_already_owned_by_you()) => Ok(()),
        Err(error) => anyhow::bail!("s3: {}", DisplayErrorContext(error)),
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn create(&self, id: &str) -> Result<Box<dyn BlobWriter>, Unavailable> {
        Ok(Box::new(S3Writer::new(self.bucket.clone(), key(id)?)))
    }

    async fn put(&self, id: &str, bytes: Bytes) -> Result<(), Unavailable> {
        let mut writer = Box::new(S3Writer::new(self.bucket.clone(), key(id)?));
        writer.write(bytes).await?;
        writer.finish().await
    }

    async fn size(&self, id: &str) -> Result<Option<u64>, Unavailable> {
        let Bucket { client, name, meter } = &self.bucket;
        let asked = client.head_object().bucket(name).key(key(id)?);
        match asked.customize().interceptor(meter.each_try(S3_GET, 1.0)).send().await {
            Ok(found) => {
                let length = found.content_length().and_then(|length| u64::try_from(length).ok());
                length.map(Some).ok_or_else(|| Unavailable("s3: an object without a length".to_owned()))
            }
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn get(&self, id: &str, range: Option<Range<u64>>) -> Result<Option<Bytes>, Unavailable> {
        // S3 cannot be asked for zero bytes.
        if range.as_ref().is_some_and(Range::is_empty) {
            return Ok(self.size(id).await?.map(|_| Bytes::new()));
        }
        let Bucket { client, name, meter } = &self.bucket;
        let last = |end: u64| (end - 1).min(i64::MAX.unsigned_abs());
        let range = range.map(|range| format!("bytes={}-{}", range.start, last(range.end)));
        let asked = client.get_object().bucket(name).key(key(id)?).set_range(range);
        match asked.customize().interceptor(meter.each_try(S3_GET, 1.0)).send().await {
            Ok(found) => Ok(Some(found.body.collect().await.map_err(failed)?.into_bytes())),
            // It starts at or after the end.
            Err(error) if status(&error) == Some(416) => Ok(Some(Bytes::new())),
            Err(error) if error.code() == Some("NoSuchKey") => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    async fn delete(&self, id: &str) -> Result<(), Unavailable> {
        let Bucket { client, name, .. } = &self.bucket;
        // Deleting is free.
        client.delete_object().bucket(name).key(key(id)?).send().await.map_err(failed)?;
        Ok(())
    }
}
