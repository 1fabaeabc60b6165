# What is kept.

mock_provider "aws" {
  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:us-east-1:123456789012:q" }
  }
}

variables {
  prefix = "soundoff-test-"
}

run "queues" {
  command = plan
  module {
    source = "./modules/queues"
  }
  variables {
    queues = jsondecode(file("deployment.json")).queues
  }

  assert {
    condition     = keys(aws_sqs_queue.this) == keys(jsondecode(file("deployment.json")).queues) && keys(aws_sqs_queue.dead) == keys(aws_sqs_queue.this)
    error_message = "One queue and one DLQ for each name in the catalog."
  }

  assert {
    condition     = length(aws_sqs_queue.this) > 30
    error_message = "The catalog has more than thirty queues: deployment.json was not read."
  }

  assert {
    condition     = alltrue([for name, queue in aws_sqs_queue.this : queue.name == "soundoff-test-${name}" && aws_sqs_queue.dead[name].name == "soundoff-test-${name}_dlq"])
    error_message = "Names are prefix and catalog's name, and _dlq."
  }

  assert {
    condition = alltrue([
      for queue in concat(values(aws_sqs_queue.this), values(aws_sqs_queue.dead)) :
      queue.sqs_managed_sse_enabled && queue.message_retention_seconds == 1209600
    ])
    error_message = "Encrypted, kept for 14 days."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.dead) == length(aws_sqs_queue.dead) && alltrue([for alarm in aws_cloudwatch_metric_alarm.dead : alarm.threshold == 0])
    error_message = "The first dead letter raises an alarm."
  }

  assert {
    condition     = length(aws_cloudwatch_metric_alarm.queue) == 2 * length(aws_sqs_queue.this)
    error_message = "Age and depth of each queue are watched."
  }
}

run "queues_are_redriven" {
  command = apply
  module {
    source = "./modules/queues"
  }
  variables {
    queues = { main_q = { tier = "router" } }
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.this["main_q"].redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead["main_q"].arn, maxReceiveCount = 1000 }
    error_message = "A thousand receives, then its own DLQ."
  }
}

run "tables" {
  command = plan
  module {
    source = "./modules/tables"
  }
  variables {
    kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/k"
  }

  assert {
    condition     = keys(aws_dynamodb_table.this) == ["dedupe", "entities", "inbox", "relationships", "users"]
    error_message = "The five tables of the data model."
  }

  assert {
    condition = alltrue([
      for table in values(aws_dynamodb_table.this) :
      table.hash_key == "pk" && table.range_key == "sk" && table.billing_mode == "PAY_PER_REQUEST" && table.deletion_protection_enabled
      && table.point_in_time_recovery[0].enabled && table.server_side_encryption[0].enabled
    ])
    error_message = "pk and sk, on demand, recoverable, encrypted, not to be deleted."
  }

  assert {
    condition = alltrue([
      for name, table in aws_dynamodb_table.this :
      name == "users" ? !try(table.ttl[0].enabled, false) : try(table.ttl[0].enabled && table.ttl[0].attribute_name == "expires", false)
    ])
    error_message = "TTL on `expires`, in all but users."
  }
}

run "archive" {
  command = plan
  module {
    source = "./modules/archive"
  }
  variables {
    account_id            = "123456789012"
    region                = "us-east-1"
    kms_key_arn           = "arn:aws:kms:us-east-1:123456789012:key/k"
    message_types         = ["post.create"]
    since                 = "2026-01-01"
    infrequent_after_days = 30
    glacier_after_days    = 180
    create_catalog        = true
    log_days              = 365
    force_destroy         = false
  }

  assert {
    condition     = startswith(aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].prefix, "events/type=!{partitionKeyFromQuery:type}/dt=!{partitionKeyFromQuery:dt}/hour=!{partitionKeyFromQuery:hour}/")
    error_message = "The layout that embedded archives have, too."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].compression_format == "GZIP" && aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].buffering_size >= 64
    error_message = "Gzip, and no smaller than dynamic partitioning takes."
  }

  assert {
    condition = alltrue([
      for block in values(aws_s3_bucket_public_access_block.this) :
      block.block_public_acls && block.block_public_policy && block.ignore_public_acls && block.restrict_public_buckets
    ]) && length(aws_s3_bucket_public_access_block.this) == 2
    error_message = "No bucket is public."
  }

  assert {
    condition     = alltrue([for rule in values(aws_s3_bucket_server_side_encryption_configuration.this) : one(one(rule.rule).apply_server_side_encryption_by_default).sse_algorithm == "aws:kms"])
    error_message = "Encrypted with our key."
  }

  assert {
    condition     = aws_glue_catalog_table.events[0].parameters["storage.location.template"] == "s3://soundoff-test-archive-123456789012/events/type=$${type}/dt=$${dt}/hour=$${hour}/"
    error_message = "Athena reads where Firehose writes."
  }

  assert {
    condition     = aws_athena_workgroup.this[0].configuration[0].enforce_workgroup_configuration
    error_message = "Nobody puts results elsewhere."
  }
}

run "media" {
  command = plan
  module {
    source = "./modules/media"
  }
  variables {
    account_id    = "123456789012"
    kms_key_arn   = "arn:aws:kms:us-east-1:123456789012:key/k"
    origins       = ["https://app.example.org"]
    upload_queue  = { url = "https://sqs.us-east-1.amazonaws.com/123456789012/u", arn = "arn:aws:sqs:us-east-1:123456789012:u" }
    create_cdn    = true
    cdn_origin    = "soundoff.example.org"
    web_acl_arn   = null
    force_destroy = false
  }

  assert {
    condition     = one(aws_cloudfront_distribution.this[0].origin).domain_name == "soundoff.example.org" && length(one(aws_cloudfront_distribution.this[0].origin).s3_origin_config) == 0
    error_message = "CloudFront asks the media pages, which know who may see a picture, and never the bucket."
  }

  assert {
    condition     = [for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement : statement.Effect] == ["Deny"]
    error_message = "The bucket's policy lets nobody in."
  }

  assert {
    condition     = aws_cloudfront_cache_policy.this[0].min_ttl == 0 && aws_cloudfront_cache_policy.this[0].default_ttl == 0
    error_message = "CloudFront keeps a picture as long as the media pages say, and nothing else."
  }

  assert {
    condition     = toset(one(one(one(aws_cloudfront_cache_policy.this[0].parameters_in_cache_key_and_forwarded_to_origin).query_strings_config).query_strings).items) == toset(["for", "signature", "size", "until"])
    error_message = "What opens a picture for one viewer opens it for nobody else."
  }

  assert {
    condition     = aws_s3_bucket_public_access_block.this.restrict_public_buckets && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.ignore_public_acls
    error_message = "Pictures are private."
  }

  assert {
    condition     = one(aws_s3_bucket_cors_configuration.this[0].cors_rule).allowed_methods == toset(["PUT"])
    error_message = "Browsers may only upload."
  }

  assert {
    condition = alltrue([
      for queue in aws_s3_bucket_notification.this.queue :
      queue.queue_arn == "arn:aws:sqs:us-east-1:123456789012:u" && queue.events == toset(["s3:ObjectCreated:*"]) && queue.filter_prefix == "media/" && queue.filter_suffix == ".raw"
    ]) && length(aws_s3_bucket_notification.this.queue) == 1
    error_message = "The queue gets notifications of uploads, and of no other objects."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_sqs_queue_policy.uploads.policy).Statement :
      statement.Principal == { Service = "s3.amazonaws.com" } && statement.Action == "sqs:SendMessage" && statement.Condition == {
        ArnEquals                      = { "aws:SourceArn" = "arn:aws:s3:::soundoff-test-media-123456789012" }
        StringEquals                   = { "aws:SourceAccount" = "123456789012" }
      }
    ])
    error_message = "Only this account's bucket of pictures may send there."
  }
}
