//! Where the managed engines are, as flags and environment.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use soundoff_common::web::secret::Secret;

use crate::datadir;

/// The engines of a deployment. Credentials come from the AWS SDK's default chain.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Engines")]
pub(crate) struct EngineArgs {
    /// The AWS region. Default: as the AWS SDK finds it (AWS_REGION, the profile, the instance).
    #[arg(long, env = "SOUNDOFF_AWS_REGION")]
    pub(crate) aws_region: Option<String>,
    /// The prefix of the names of queues and tables.
    #[arg(long, env = "SOUNDOFF_PREFIX", default_value = "soundoff-")]
    pub(crate) prefix: String,
    /// The memcached nodes, each `host:port`, separated by commas. They hold the Session Cache and timelines.
    #[arg(long, env = "SOUNDOFF_MEMCACHED", value_delimiter = ',', default_value = "127.0.0.1:11211")]
    pub(crate) memcached: Vec<String>,
    /// Speak TLS to the memcached nodes.
    #[arg(long, env = "SOUNDOFF_MEMCACHED_TLS")]
    pub(crate) memcached_tls: bool,
    /// The certificate authority of the memcached nodes, a PEM file. Default: the public ones.
    #[arg(long, env = "SOUNDOFF_MEMCACHED_CA", requires = "memcached_tls")]
    pub(crate) memcached_ca: Option<PathBuf>,
    /// The Firehose delivery stream of the archive.
    #[arg(long, env = "SOUNDOFF_ARCHIVE_STREAM", default_value = "soundoff-archive")]
    pub(crate) archive_stream: String,
    /// The bucket that a new archive stream of `provision` writes to.
    #[arg(long, env = "SOUNDOFF_ARCHIVE_BUCKET", default_value = "soundoff-archive")]
    pub(crate) archive_bucket: String,
    /// The S3 bucket of media.
    #[arg(long, env = "SOUNDOFF_MEDIA_BUCKET", default_value = "soundoff-media")]
    pub(crate) media_bucket: String,
    /// The address of SQS or of a stand-in, such as `http://127.0.0.1:9324` (ElasticMQ). Default: AWS itself; the same below.
    #[arg(long, env = "SOUNDOFF_SQS_ENDPOINT")]
    pub(crate) sqs_endpoint: Option<String>,
    /// The address of DynamoDB or of a stand-in (ScyllaDB's Alternator, DynamoDB Local).
    #[arg(long, env = "SOUNDOFF_DYNAMODB_ENDPOINT")]
    pub(crate) dynamodb_endpoint: Option<String>,
    /// The address of Firehose or of a stand-in.
    #[arg(long, env = "SOUNDOFF_FIREHOSE_ENDPOINT")]
    pub(crate) firehose_endpoint: Option<String>,
    /// The address of S3 or of a stand-in.
    #[arg(long, env = "SOUNDOFF_S3_ENDPOINT")]
    pub(crate) s3_endpoint: Option<String>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}

/// The deployment's secret, or the keys of a role.
#[derive(Debug, Clone, Args)]
pub(crate) struct SecretArgs {
    /// The deployment's secret, at least 32 random bytes as text; or, for a process, only the keys of its role, as
    /// `soundoff secret derive` prints them.
    #[arg(long, env = "SOUNDOFF_SECRET", hide_env_values = true, conflicts_with = "secret_file")]
    secret: Option<String>,
    /// The file with the deployment's secret, or with the keys of a role.
    #[arg(long, env = "SOUNDOFF_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

impl SecretArgs {
    /// The secret, wherever it is.
    pub(crate) fn read(&self) -> anyhow::Result<Secret> {
        match (&self.secret, &self.secret_file) {
            (Some(text), _) => Secret::read(text.trim_end().as_bytes()).context("SOUNDOFF_SECRET"),
            (None, Some(path)) => datadir::secret(path, false),
            (None, None) => anyhow::bail!(
                "the deployment's secret is missing: set SOUNDOFF_SECRET or SOUNDOFF_SECRET_FILE, to the keys of the role or to the root"
            ),
        }
    }
}
