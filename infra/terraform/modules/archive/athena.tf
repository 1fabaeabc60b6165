# Partitions are computed from their names: there is no crawler, and a new hour needs no work.

locals {
  database = replace("${var.prefix}archive", "-", "_")
  columns  = { id = "string", v = "int", ts = "string", ingest_ts = "string", user_key = "string", trace_id = "string", body = "string" }
  distinct = <<-SQL
    SELECT id, type, v, ts, ingest_ts, user_key, trace_id, body, dt, hour FROM (
      SELECT *, row_number() OVER (PARTITION BY type, id ORDER BY ingest_ts) AS copy FROM events
    ) WHERE copy = 1
  SQL
}

resource "aws_glue_catalog_database" "this" {
  count = var.create_catalog ? 1 : 0

  name        = local.database
  description = "What users did, for the data team"
}

resource "aws_glue_catalog_table" "events" {
  count = var.create_catalog ? 1 : 0

  name          = "events"
  database_name = aws_glue_catalog_database.this[0].name
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    "EXTERNAL"                  = "TRUE"
    "projection.enabled"        = "true"
    "projection.type.type"      = "enum"
    "projection.type.values"    = join(",", var.message_types)
    "projection.dt.type"        = "date"
    "projection.dt.format"      = "yyyy-MM-dd"
    "projection.dt.range"       = "${var.since},NOW"
    "projection.hour.type"      = "integer"
    "projection.hour.range"     = "0,23"
    "projection.hour.digits"    = "2"
    "storage.location.template" = "s3://${local.buckets.events}/events/type=$${type}/dt=$${dt}/hour=$${hour}/"
  }

  partition_keys {
    name = "type"
    type = "string"
  }
  partition_keys {
    name = "dt"
    type = "string"
  }
  partition_keys {
    name = "hour"
    type = "int"
  }

  storage_descriptor {
    location      = "s3://${local.buckets.events}/events/"
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    # This serializer returns the nested `body` as JSON text.
    ser_de_info {
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"
      parameters            = { "ignore.malformed.json" = "true" }
    }

    dynamic "columns" {
      for_each = local.columns
      content {
        name = columns.key
        type = columns.value
      }
    }
  }
}

resource "aws_athena_workgroup" "this" {
  count = var.create_catalog ? 1 : 0

  name          = "${var.prefix}archive"
  force_destroy = var.force_destroy

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = 1099511627776 # 1 TiB, about five dollars

    result_configuration {
      output_location = "s3://${local.buckets.results}/results/"
      encryption_configuration {
        encryption_option = "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

# Delivery is at least once: count `events_distinct`, not `events`. Run this once; it makes the view.
resource "aws_athena_named_query" "distinct" {
  count = var.create_catalog ? 1 : 0

  name        = "events_distinct"
  description = "Makes the view that shows each record once"
  workgroup   = aws_athena_workgroup.this[0].id
  database    = aws_glue_catalog_database.this[0].name
  query       = "CREATE OR REPLACE VIEW events_distinct AS\n${local.distinct}"
}
