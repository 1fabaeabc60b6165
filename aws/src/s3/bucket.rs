//! One bucket, and what all calls to it share.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use bytes::Bytes;
use soundoff_common::ports::Unavailable;

use crate::Meter;
use crate::prices::S3_PUT;

/// What every blob's key starts with.
pub(super) const PREFIX: &str = "media/";
/// The end of the keys of uploads: these must be checked, and the bucket reports each new one.
pub(super) const UPLOADED: &str = ".raw";

/// One bucket, its client and its meter.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) meter: Meter,
}

impl Bucket {
    pub(super) async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Unavailable> {
        let asked = self.client.put_object().bucket(&self.name).key(key).body(bytes.into());
        asked.customize().interceptor(self.meter.each_try(S3_PUT, 1.0)).send().await.map_err(failed)?;
        Ok(())
    }
}

pub(super) fn failed<E: std::error::Error>(error: E) -> Unavailable {
    Unavailable(format!("s3: {}", DisplayErrorContext(error)))
}
