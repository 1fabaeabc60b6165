output "stream" {
  description = "The delivery stream, for SOUNDOFF_ARCHIVE_STREAM."
  value       = aws_kinesis_firehose_delivery_stream.this.name
}

output "bucket" {
  description = "The bucket; records are under events/."
  value       = aws_s3_bucket.this["events"].bucket
}

output "workgroup" {
  description = "Athena's workgroup, or null."
  value       = one(aws_athena_workgroup.this[*].name)
}
