//! One configuration for every SDK client: region, endpoints, credentials, timeouts, retries, and the meter.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use soundoff_common::guard::{Breaker, Weather};

use crate::gate::Gate;
use crate::meter::Meter;

/// Where the engines are.
#[derive(Debug, Clone, Default)]
pub struct AwsConfig {
    /// The region; `None` for the one that the SDK finds (`AWS_REGION`, the profile, the instance).
    pub region: Option<String>,
    /// The endpoint of SQS, such as `http://127.0.0.1:9324`; `None` for AWS itself. The same below.
    pub sqs_endpoint: Option<String>,
    /// The endpoint of DynamoDB.
    pub dynamodb_endpoint: Option<String>,
    /// The endpoint of Firehose.
    pub firehose_endpoint: Option<String>,
    /// The endpoint of S3. With one, buckets are part of the path instead of the host name.
    pub s3_endpoint: Option<String>,
}

/// The configuration that all clients share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Aws {
    shared: SdkConfig,
    config: AwsConfig,
    meter: Meter,
    breakers: Breakers,
}

/// One for each engine.
#[derive(Debug, Clone)]
pub struct Breakers {
    /// SQS.
    pub queues: Arc<Breaker>,
    /// DynamoDB.
    pub tables: Arc<Breaker>,
    /// Firehose.
    pub archive: Arc<Breaker>,
    /// S3.
    pub blobs: Arc<Breaker>,
}

impl Breakers {
    fn of(weather: &Weather) -> Self {
        let of = |name| weather.engine_of_client(name);
        Self { queues: of("queues"), tables: of("tables"), archive: of("archive"), blobs: of("blobs") }
    }
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long one try of a request may take; a long poll has its own.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How long a request may take in total, with all its tries.
const OPERATION: Duration = Duration::from_secs(15);
/// How often a request is tried: with jitter, and within the SDK's retry budget, so that an engine in trouble does not
/// get more requests than usual.
const ATTEMPTS: u32 = 4;

impl Aws {
    /// Finds region and credentials by the SDK's default chain. Makes no request to an engine yet.
    ///
    /// # Errors
    /// When no region is named anywhere, or an endpoint is no URL.
    pub async fn connect(config: AwsConfig, weather: &Weather) -> anyhow::Result<Self> {
        let endpoints =
            [&config.sqs_endpoint, &config.dynamodb_endpoint, &config.firehose_endpoint, &config.s3_endpoint];
        for endpoint in endpoints.into_iter().flatten() {
            let is_url = endpoint.starts_with("http://") || endpoint.starts_with("https://");
            anyhow::ensure!(
                is_url,
                "{endpoint} is no URL of an endpoint; it begins with http:// or https://"
            );
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
        if let Some(region) = &config.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let shared = loader.load().await;
        shared.region().context("no AWS region is named: set --aws-region or AWS_REGION")?;
        let (meter, breakers) = (Meter::new(weather.metrics().clone()), Breakers::of(weather));
        Ok(Self { shared, config, meter, breakers })
    }

    /// Counts the requests and their cost.
    #[must_use]
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// The engines' breakers: their clients ask them.
    #[must_use]
    pub fn breakers(&self) -> &Breakers {
        &self.breakers
    }

    pub(crate) fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut builder = aws_sdk_sqs::config::Builder::from(&self.shared).interceptor(self.meter.requests());
        builder.push_interceptor(aws_sdk_sqs::config::SharedInterceptor::new(Gate::new(
            self.breakers.queues.clone(),
        )));
        builder.set_endpoint_url(self.config.sqs_endpoint.clone());
        aws_sdk_sqs::Client::from_conf(builder.build())
    }

    pub(crate) fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut builder =
            aws_sdk_dynamodb::config::Builder::from(&self.shared).interceptor(self.meter.requests());
        builder.push_interceptor(aws_sdk_sqs::config::SharedInterceptor::new(Gate::new(
            self.breakers.tables.clone(),
        )));
        builder.set_endpoint_url(self.config.dynamodb_endpoint.clone());
        aws_sdk_dynamodb::Client::from_conf(builder.build())
    }

    pub(crate) fn firehose(&self) -> aws_sdk_firehose::Client {
        let mut builder =
            aws_sdk_firehose::config::Builder::from(&self.shared).interceptor(self.meter.requests());
        builder.push_interceptor(aws_sdk_sqs::config::SharedInterceptor::new(Gate::new(
            self.breakers.archive.clone(),
        )));
        builder.set_endpoint_url(self.config.firehose_endpoint.clone());
        aws_sdk_firehose::Client::from_conf(builder.build())
    }

    pub(crate) fn s3(&self) -> aws_sdk_s3::Client {
        let mut builder = aws_sdk_s3::config::Builder::from(&self.shared).interceptor(self.meter.requests());
        builder.push_interceptor(aws_sdk_sqs::config::SharedInterceptor::new(Gate::new(
            self.breakers.blobs.clone(),
        )));
        builder.set_endpoint_url(self.config.s3_endpoint.clone());
        builder.set_force_path_style(Some(self.config.s3_endpoint.is_some()));
        aws_sdk_s3::Client::from_conf(builder.build())
    }
}
