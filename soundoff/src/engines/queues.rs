//! The engines of the queues.

use std::path::PathBuf;
use std::sync::Arc;

use soundoff_common::guard::GuardedQueues;
use soundoff_common::ports::queues::{QueueName, Queues};
use soundoff_embedded::queues::{EmbeddedQueues, Options};

use super::opening::Opening;

/// One of them.
pub(crate) enum Engine {
    /// A log in the data directory.
    Log {
        data: PathBuf,
        /// How many bytes of undelivered messages it holds; the engine's own bound when `None`.
        live_bytes: Option<u64>,
    },
    /// SQS.
    #[cfg(feature = "aws")]
    Sqs { prefix: String },
}

impl Engine {
    pub(super) async fn open(&self, opening: &mut Opening) -> anyhow::Result<Arc<dyn Queues>> {
        let names = crate::features::catalog().queue_names();
        match self {
            Self::Log { data, live_bytes } => {
                let queues = open_log(data, &names, *live_bytes)?;
                let closing = queues.clone();
                opening.closings.push(Box::new(move || closing.close()));
                Ok(Arc::new(GuardedQueues::new(queues, opening.weather.engine("queues"))))
            }
            #[cfg(feature = "aws")]
            Self::Sqs { prefix } => {
                let options = soundoff_aws::sqs::SqsOptions { prefix: prefix.clone() };
                let aws = &opening.managed()?.aws;
                let queues = soundoff_aws::sqs::SqsQueues::open(aws, &names, options).await?;
                Ok(Arc::new(GuardedQueues::new(queues, aws.breakers().queues.clone())))
            }
        }
    }
}

/// Opens the queues of a data directory.
pub(crate) fn open_log(
    data: &std::path::Path,
    names: &[QueueName],
    live_bytes: Option<u64>,
) -> anyhow::Result<Arc<EmbeddedQueues>> {
    let mut options = Options::default();
    options.live_bytes = live_bytes.unwrap_or(options.live_bytes);
    EmbeddedQueues::open(&data.join("queues"), names, options)
}
