output "bucket" {
  description = "The bucket of pictures, for SOUNDOFF_MEDIA_BUCKET."
  value       = aws_s3_bucket.this.bucket
}

output "cdn_id" {
  description = "The distribution's id, or null."
  value       = one(aws_cloudfront_distribution.this[*].id)
}

output "cdn_domain" {
  description = "CloudFront's name, or null."
  value       = one(aws_cloudfront_distribution.this[*].domain_name)
}
