//! Where clients upload large media directly.

use std::sync::Arc;

use soundoff_common::ports::uploads::Uploads;
use soundoff_common::web::uploads::UploadKey;

use super::opening::Opening;

/// One of these places.
pub(super) enum Engine {
    /// The media pages, which sign their own URLs.
    Pages,
    /// S3.
    #[cfg(feature = "aws")]
    S3 { bucket: String },
}

impl Engine {
    pub(super) fn open(&self, opening: &Opening) -> anyhow::Result<Arc<dyn Uploads>> {
        match self {
            Self::Pages => Ok(Arc::new(UploadKey::of(&opening.secret)?)),
            #[cfg(feature = "aws")]
            Self::S3 { bucket } => {
                Ok(Arc::new(soundoff_aws::s3::S3Uploads::new(&opening.managed()?.aws, bucket)))
            }
        }
    }
}
