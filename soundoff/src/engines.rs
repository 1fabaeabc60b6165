//! The managed engines of a deployment, behind the feature `aws`.

#[cfg(feature = "aws")]
mod managed {
    use std::sync::Arc;

    use soundoff_aws::dynamodb::{self, DynamoTables};
    use soundoff_aws::firehose::{self, FirehoseArchive};
    use soundoff_aws::memcached::{Memcached, MemcachedCache, MemcachedOptions, MemcachedSessions};
    use soundoff_aws::s3::{self, S3Blobs, S3Uploads};
    use soundoff_aws::sqs::{self, SqsOptions, SqsQueues};
    use soundoff_aws::{Aws, AwsConfig};
    use soundoff_common::ports::archive::Archive;
    use soundoff_common::ports::blobs::Blobs;
    use soundoff_common::ports::queues::QueueName;
    use soundoff_common::telemetry::Metrics;

    use crate::config::EngineArgs;
    use crate::node::Engines;

    async fn connect(args: &EngineArgs, metrics: &Metrics) -> anyhow::Result<Aws> {
        let config = AwsConfig {
            region: args.aws_region.clone(),
            sqs_endpoint: args.sqs_endpoint.clone(),
            dynamodb_endpoint: args.dynamodb_endpoint.clone(),
            firehose_endpoint: args.firehose_endpoint.clone(),
            s3_endpoint: args.s3_endpoint.clone(),
        };
        Aws::connect(config, metrics).await
    }

    /// A deployment's engines.
    pub(crate) struct Managed {
        aws: Aws,
        args: EngineArgs,
        metrics: Metrics,
    }

    impl Managed {
        pub(crate) async fn connect(args: &EngineArgs) -> anyhow::Result<Self> {
            let metrics = Metrics::new();
            Ok(Self { aws: connect(args, &metrics).await?, args: args.clone(), metrics })
        }

        /// What every role has.
        pub(crate) async fn engines(&self) -> anyhow::Result<Engines> {
            let (aws, args) = (&self.aws, &self.args);
            let secret = args.secret.read()?;
            let names = crate::catalog::catalog().queue_names();
            let options = MemcachedOptions {
                tls: args.memcached_tls,
                tls_ca: args.memcached_ca.clone(),
                ..MemcachedOptions::default()
            };
            let memcached = Memcached::connect(&args.memcached, &options, &self.metrics)?;
            Ok(Engines {
                queues: SqsQueues::open(aws, &names, SqsOptions { prefix: args.prefix.clone() }).await?,
                tables: DynamoTables::open(aws, &args.prefix).await?,
                sessions: Arc::new(MemcachedSessions::new(memcached.clone())),
                cache: Arc::new(MemcachedCache::new(memcached)),
                uploads: Arc::new(S3Uploads::new(aws, &args.media_bucket)),
                metrics: self.metrics.clone(),
                secret,
            })
        }

        pub(crate) async fn archive(&self) -> anyhow::Result<Arc<dyn Archive>> {
            Ok(FirehoseArchive::open(&self.aws, &self.args.archive_stream).await?)
        }

        pub(crate) async fn blobs(&self) -> anyhow::Result<Arc<dyn Blobs>> {
            Ok(Arc::new(S3Blobs::open(&self.aws, &self.args.media_bucket).await?))
        }
    }

    pub(crate) async fn provision(args: &EngineArgs) -> anyhow::Result<()> {
        let aws = connect(args, &Metrics::new()).await?;
        let names = crate::catalog::catalog().queue_names();
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

    /// The address by which other machines of the deployment reach this one.
    pub(crate) async fn private_ip() -> anyhow::Result<std::net::IpAddr> {
        soundoff_aws::private_ip().await
    }
}

#[cfg(not(feature = "aws"))]
mod managed {
    use std::convert::Infallible;
    use std::sync::Arc;

    use soundoff_common::ports::archive::Archive;
    use soundoff_common::ports::blobs::Blobs;

    use crate::config::EngineArgs;
    use crate::node::Engines;

    const MISSING: &str = "this binary was built without AWS: build it with `cargo build --release --features aws`, or run `soundoff up` on one machine";

    /// Engines that this binary does not have.
    pub(crate) struct Managed(Infallible);

    impl Managed {
        pub(crate) async fn connect(_args: &EngineArgs) -> anyhow::Result<Self> {
            anyhow::bail!(MISSING)
        }

        pub(crate) async fn engines(&self) -> anyhow::Result<Engines> {
            match self.0 {}
        }

        pub(crate) async fn archive(&self) -> anyhow::Result<Arc<dyn Archive>> {
            match self.0 {}
        }

        pub(crate) async fn blobs(&self) -> anyhow::Result<Arc<dyn Blobs>> {
            match self.0 {}
        }
    }

    pub(crate) async fn provision(_args: &EngineArgs) -> anyhow::Result<()> {
        anyhow::bail!(MISSING)
    }

    pub(crate) async fn private_ip() -> anyhow::Result<std::net::IpAddr> {
        anyhow::bail!(MISSING)
    }
}

pub(crate) use managed::{Managed, private_ip, provision};
