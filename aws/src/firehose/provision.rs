//! Makes a delivery stream, for stand-ins; on AWS Terraform does.

use anyhow::Context as _;
use aws_sdk_firehose::error::DisplayErrorContext;
use aws_sdk_firehose::types::{
    BufferingHints, CompressionFormat, DeliveryStreamType, DynamicPartitioningConfiguration,
    ExtendedS3DestinationConfiguration, ProcessingConfiguration, Processor, ProcessorParameter,
    ProcessorParameterName, ProcessorType,
};

use crate::Aws;

/// The prefix under which records are stored.
const PREFIX: &str = "events/type=!{partitionKeyFromQuery:type}/dt=!{partitionKeyFromQuery:dt}/hour=!{partitionKeyFromQuery:hour}/";
/// The prefix for records that could not be read.
const ERRORS: &str = "errors/!{firehose:error-output-type}/dt=!{timestamp:yyyy-MM-dd}/";
/// The query for the fields in `PREFIX`; times are UTC.
const QUERY: &str = "{type: .type, dt: .ts[0:10], hour: .ts[11:13]}";
/// Stand-ins require the name of a role and never look it up.
const ROLE: &str = "arn:aws:iam::000000000000:role/soundoff-firehose";
const ROLL_MB: i32 = 64;
const ROLL_SECONDS: i32 = 60;

/// Makes the delivery stream `stream` into `bucket`, and the bucket, if they are missing.
///
/// # Errors
/// When Firehose or S3 refuses or does not answer.
pub async fn provision(aws: &Aws, bucket: &str, stream: &str) -> anyhow::Result<()> {
    crate::s3::provision(aws, bucket).await?;
    let made = aws
        .firehose()
        .create_delivery_stream()
        .delivery_stream_name(stream)
        .delivery_stream_type(DeliveryStreamType::DirectPut)
        .extended_s3_destination_configuration(destination(bucket)?)
        .send()
        .await;
    match made {
        Ok(_) => Ok(()),
        Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception()) => Ok(()),
        Err(error) => anyhow::bail!("firehose: {}", DisplayErrorContext(error)),
    }
}

fn destination(bucket: &str) -> anyhow::Result<ExtendedS3DestinationConfiguration> {
    let parameter = |name, value: &str| {
        ProcessorParameter::builder()
            .parameter_name(name)
            .parameter_value(value)
            .build()
            .context("a parameter")
    };
    let extract = Processor::builder()
        .r#type(ProcessorType::MetadataExtraction)
        .parameters(parameter(ProcessorParameterName::MetadataExtractionQuery, QUERY)?)
        .parameters(parameter(ProcessorParameterName::JsonParsingEngine, "JQ-1.6")?)
        .build()
        .context("a processor")?;
    ExtendedS3DestinationConfiguration::builder()
        .bucket_arn(format!("arn:aws:s3:::{bucket}"))
        .role_arn(ROLE)
        .prefix(PREFIX)
        .error_output_prefix(ERRORS)
        .compression_format(CompressionFormat::Gzip)
        .buffering_hints(
            BufferingHints::builder().size_in_mbs(ROLL_MB).interval_in_seconds(ROLL_SECONDS).build(),
        )
        .dynamic_partitioning_configuration(DynamicPartitioningConfiguration::builder().enabled(true).build())
        .processing_configuration(
            ProcessingConfiguration::builder().enabled(true).processors(extract).build(),
        )
        .build()
        .context("a destination")
}
