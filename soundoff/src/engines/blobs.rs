//! The engines of blobs.

use std::path::PathBuf;
use std::sync::Arc;

use soundoff_common::guard::GuardedBlobs;
use soundoff_common::ports::blobs::Blobs;
use soundoff_embedded::blobs::FileBlobs;

use super::opening::Opening;

/// One of them.
pub(super) enum Engine {
    /// Files in the data directory.
    Files { data: PathBuf },
    /// S3.
    #[cfg(feature = "aws")]
    S3 { bucket: String },
}

impl Engine {
    pub(super) async fn open(&self, opening: &Opening) -> anyhow::Result<Arc<dyn Blobs>> {
        match self {
            Self::Files { data } => {
                let blobs = Arc::new(FileBlobs::open(data)?);
                Ok(Arc::new(GuardedBlobs::new(blobs, opening.weather.engine("blobs"))))
            }
            #[cfg(feature = "aws")]
            Self::S3 { bucket } => {
                let aws = &opening.managed()?.aws;
                let blobs = Arc::new(soundoff_aws::s3::S3Blobs::open(aws, bucket).await?);
                Ok(Arc::new(GuardedBlobs::new(blobs, aws.breakers().blobs.clone())))
            }
        }
    }
}
