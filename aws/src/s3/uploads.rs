//! URLs by which a client puts one medium into the bucket itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::presigning::PresigningConfig;
use soundoff_common::ports::Unavailable;
use soundoff_common::ports::uploads::Uploads;
use ulid::Ulid;

use super::bucket::{PREFIX, UPLOADED, failed};
use crate::Aws;

/// [`Uploads`] by presigned PUTs. Signing makes no request to S3.
#[derive(Debug)]
pub struct S3Uploads {
    client: Client,
    bucket: String,
}

impl S3Uploads {
    /// Signs uploads into `bucket`.
    #[must_use]
    pub fn new(aws: &Aws, bucket: &str) -> Self {
        // A checksum would be signed too, and the bytes are not known yet.
        let config = aws.s3().config().to_builder();
        let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        Self { client: Client::from_conf(config.build()), bucket: bucket.to_owned() }
    }
}

#[async_trait]
impl Uploads for S3Uploads {
    async fn url(&self, id: Ulid, bytes: u64, expires: u64) -> Result<String, Unavailable> {
        // Whole seconds, as in the URL: it expires at `expires` and not later.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?.as_secs();
        let expired = || Unavailable("s3: the upload expired before it was signed".to_owned());
        let lasts = expires.checked_sub(now).filter(|lasts| *lasts > 0).ok_or_else(expired)?;
        let signing = PresigningConfig::builder()
            .start_time(UNIX_EPOCH + Duration::from_secs(now))
            .expires_in(Duration::from_secs(lasts))
            .build()
            .map_err(failed)?;
        let asked = self.client.put_object().bucket(&self.bucket).key(format!("{PREFIX}{id}{UPLOADED}"));
        let asked = asked.content_length(i64::try_from(bytes).map_err(failed)?);
        Ok(asked.presigned(signing).await.map_err(failed)?.uri().to_owned())
    }
}
