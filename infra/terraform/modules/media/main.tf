# Pictures: private, encrypted, read by the media pages alone. CloudFront, if wanted, asks those pages: they know who may
# see a picture, and the bucket does not.

locals {
  bucket = "${var.prefix}media-${var.account_id}"
  cdn    = var.create_cdn ? 1 : 0
}

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:one region, like the tables that say what the pictures are
  #checkov:skip=CKV_AWS_18:requests are counted by the processes; access logs would hold users' addresses
  #checkov:skip=CKV_AWS_21:what a user deletes must be gone; a version would keep it
  bucket        = local.bucket
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = true
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    id     = "unfinished"
    status = "Enabled"
    filter {}
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "this" {
  count = length(var.origins) > 0 ? 1 : 0

  bucket = aws_s3_bucket.this.id

  cors_rule {
    allowed_methods = ["PUT"]
    allowed_origins = var.origins
    allowed_headers = ["content-type", "content-length"]
    expose_headers  = ["ETag"]
    max_age_seconds = 3600
  }
}

# Clients put pictures here by themselves; the bucket reports them on a queue, and workers check them. Keys are as in
# aws/src/s3.rs.
resource "aws_s3_bucket_notification" "this" {
  bucket = aws_s3_bucket.this.id

  queue {
    id            = "uploads"
    queue_arn     = var.upload_queue.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "media/"
    filter_suffix = ".raw"
  }

  # S3 tests the queue when the notification is made.
  depends_on = [aws_sqs_queue_policy.uploads]
}

# The queue is encrypted with SQS's own key, so S3 needs no right to a KMS key.
resource "aws_sqs_queue_policy" "uploads" {
  queue_url = var.upload_queue.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Bucket"
      Effect    = "Allow"
      Principal = { Service = "s3.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = var.upload_queue.arn
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::${local.bucket}" }
        StringEquals = { "aws:SourceAccount" = var.account_id }
      }
    }]
  })
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket.this.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::${local.bucket}", "arn:aws:s3:::${local.bucket}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
  depends_on = [aws_s3_bucket_public_access_block.this]
}

# The media pages say how long a picture may be kept, and that of a private one nothing may. Each size and each viewer's
# signature is another picture to the cache; what others have added to a link is not.
resource "aws_cloudfront_cache_policy" "this" {
  count = local.cdn

  name        = "${var.prefix}media"
  min_ttl     = 0
  default_ttl = 0
  max_ttl     = 86400

  parameters_in_cache_key_and_forwarded_to_origin {
    cookies_config {
      cookie_behavior = "none"
    }
    headers_config {
      header_behavior = "none"
    }
    query_strings_config {
      query_string_behavior = "whitelist"
      query_strings {
        items = ["for", "signature", "size", "until"]
      }
    }
  }
}

resource "aws_cloudfront_distribution" "this" {
  #checkov:skip=CKV2_AWS_32:AWS's managed policy is attached, by id
  #checkov:skip=CKV_AWS_310:one origin: nothing else knows who may see a picture
  #checkov:skip=CKV_AWS_86:access logs would hold users' addresses
  #checkov:skip=CKV_AWS_374:users are anywhere
  #checkov:skip=CKV_AWS_305:there is no page, only pictures by id
  #checkov:skip=CKV_AWS_174:TLSv1.2_2021 needs a domain of one's own; the default certificate fixes the policy
  #checkov:skip=CKV2_AWS_42:the default domain; pictures' URLs are made by the server
  #checkov:skip=CKV_AWS_68:an operator may name a web ACL in web_acl_arn
  #checkov:skip=CKV2_AWS_47:the same; nothing behind it runs Java
  count = local.cdn

  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = "PriceClass_100"
  comment         = "${var.prefix}media"
  web_acl_id      = var.web_acl_arn

  origin {
    origin_id   = "media"
    domain_name = var.cdn_origin

    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "https-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  default_cache_behavior {
    target_origin_id           = "media"
    viewer_protocol_policy     = "https-only"
    allowed_methods            = ["GET", "HEAD"]
    cached_methods             = ["GET", "HEAD"]
    cache_policy_id            = aws_cloudfront_cache_policy.this[0].id
    response_headers_policy_id = "67f7725c-6f97-4210-82d7-5512b31e9d03" # AWS: Managed-SecurityHeadersPolicy
  }

  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }

  viewer_certificate {
    cloudfront_default_certificate = true
  }
}
