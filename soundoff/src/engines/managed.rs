//! What managed engines share: one AWS client and one memcached client for each process. Also `provision`, which makes
//! queues and tables where Terraform does not.

use soundoff_aws::memcached::{Memcached, MemcachedOptions};
use soundoff_aws::sqs::{self, SqsOptions};
use soundoff_aws::{Aws, AwsConfig, dynamodb, firehose, s3};
use soundoff_common::guard::Weather;
use soundoff_common::ports::queues::QueueName;
use soundoff_common::telemetry::Metrics;

use crate::config::EngineArgs;

/// The clients.
pub(super) struct Clients {
    pub(super) aws: Aws,
    pub(super) memcached: Memcached,
}

impl Clients {
    pub(super) async fn connect(args: &EngineArgs, weather: &Weather) -> anyhow::Result<Self> {
        let options = MemcachedOptions {
            tls: args.memcached_tls,
            tls_ca: args.memcached_ca.clone(),
            ..MemcachedOptions::default()
        };
        let memcached = Memcached::connect(&args.memcached, &options, weather.metrics())?;
        Ok(Self { aws: connect(args, weather).await?, memcached })
    }
}

async fn connect(args: &EngineArgs, weather: &Weather) -> anyhow::Result<Aws> {
    let config = AwsConfig {
        region: args.aws_region.clone(),
        sqs_endpoint: args.sqs_endpoint.clone(),
        dynamodb_endpoint: args.dynamodb_endpoint.clone(),
        firehose_endpoint: args.firehose_endpoint.clone(),
        s3_endpoint: args.s3_endpoint.clone(),
    };
    Aws::connect(config, weather).await
}

/// `soundoff provision`.
pub(crate) async fn provision(args: &EngineArgs) -> anyhow::Result<()> {
    let aws = connect(args, &Weather::new(Metrics::new())).await?;
    let names = crate::features::catalog().queue_names();
    let options = SqsOptions { prefix: args.prefix.clone() };
    sqs::provision(&aws, &names, &options).await?;
    println!("queues   {} and as many dead letter queues, {}…", names.len(), args.prefix);
    dynamodb::provision(&aws, &args.prefix).await?;
    println!("tables   {}…", args.prefix);
    s3::provision(&aws, &args.media_bucket).await?;
    let uploaded = QueueName::of_type(soundoff_media::UPLOADED);
    s3::notify(&aws, &args.media_bucket, &uploaded, &options).await?;
    println!("media    {}, uploads to {}{uploaded}", args.media_bucket, args.prefix);
    firehose::provision(&aws, &args.archive_bucket, &args.archive_stream).await?;
    println!("archive  {} to {}", args.archive_stream, args.archive_bucket);
    Ok(())
}

/// The address at which other machines of the deployment reach this one.
pub(crate) async fn private_ip() -> anyhow::Result<std::net::IpAddr> {
    soundoff_aws::private_ip().await
}
