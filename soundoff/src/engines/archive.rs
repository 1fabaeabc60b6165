//! The engines of the archive.

use std::path::PathBuf;
use std::sync::Arc;

use soundoff_common::guard::GuardedArchive;
use soundoff_common::ports::archive::Archive;
use soundoff_embedded::archive::{ArchiveOptions, FileArchive};

use super::opening::Opening;

/// One of them.
pub(super) enum Engine {
    /// Files in the data directory.
    Files { data: PathBuf },
    /// Firehose.
    #[cfg(feature = "aws")]
    Firehose { stream: String },
}

impl Engine {
    pub(super) async fn open(&self, opening: &Opening) -> anyhow::Result<Arc<dyn Archive>> {
        match self {
            Self::Files { data } => {
                let archive = Arc::new(FileArchive::open(data, ArchiveOptions::default())?);
                Ok(Arc::new(GuardedArchive::new(archive, opening.weather.engine("archive"))))
            }
            #[cfg(feature = "aws")]
            Self::Firehose { stream } => {
                let aws = &opening.managed()?.aws;
                let archive = soundoff_aws::firehose::FirehoseArchive::open(aws, stream).await?;
                Ok(Arc::new(GuardedArchive::new(archive, aws.breakers().archive.clone())))
            }
        }
    }
}
