//! A bucket that reports uploads on a queue.

use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter,
    QueueConfiguration, S3KeyFilter,
};
use soundoff_common::ports::queues::QueueName;

use super::bucket::{PREFIX, UPLOADED};
use crate::Aws;
use crate::sqs::{SqsOptions, open_to_bucket};

/// Makes the bucket report uploads on `queue`, for stand-ins; on AWS Terraform does. This replaces all other
/// notifications of the bucket, which is used by us only.
///
/// # Errors
/// When S3 or SQS refuses or does not answer.
pub async fn notify(aws: &Aws, bucket: &str, queue: &QueueName, options: &SqsOptions) -> anyhow::Result<()> {
    // First, as S3 tries the queue before it accepts the configuration.
    let arn = open_to_bucket(aws, queue, options, bucket).await?;
    let rule = |name, value: &str| FilterRule::builder().name(name).value(value).build();
    let key = S3KeyFilter::builder()
        .filter_rules(rule(FilterRuleName::Prefix, PREFIX))
        .filter_rules(rule(FilterRuleName::Suffix, UPLOADED))
        .build();
    let to_queue = QueueConfiguration::builder()
        .id("uploads")
        .queue_arn(arn)
        .events(Event::S3ObjectCreated)
        .filter(NotificationConfigurationFilter::builder().key(key).build())
        .build()?;
    let asked = aws.s3().put_bucket_notification_configuration().bucket(bucket);
    let configuration = NotificationConfiguration::builder().queue_configurations(to_queue).build();
    let set = asked.notification_configuration(configuration).send().await;
    set.map_err(|error| anyhow::anyhow!("s3: {}", DisplayErrorContext(error)))?;
    Ok(())
}
