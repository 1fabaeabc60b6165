# One standard queue and one DLQ for each name in the catalog.

locals {
  alarms = {
    age   = { metric = "ApproximateAgeOfOldestMessage", threshold = var.alarm_age_seconds }
    depth = { metric = "ApproximateNumberOfMessagesVisible", threshold = var.alarm_depth }
  }
  queue_alarms = merge([
    for queue in keys(var.queues) : {
      for kind, alarm in local.alarms : "${queue}/${kind}" => merge(alarm, { queue = queue, kind = kind })
    }
  ]...)
}

resource "aws_sqs_queue" "dead" {
  for_each = var.queues

  name                      = "${var.prefix}${each.key}_dlq"
  message_retention_seconds = 14 * 24 * 3600
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "this" {
  for_each = var.queues

  name                       = "${var.prefix}${each.key}"
  visibility_timeout_seconds = var.visibility_seconds
  message_retention_seconds  = 14 * 24 * 3600
  receive_wait_time_seconds  = 20
  sqs_managed_sse_enabled    = true

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[each.key].arn
    maxReceiveCount     = var.max_receives
  })
}

# No other queue may use ours as its DLQ.
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  for_each = var.queues

  queue_url = aws_sqs_queue.dead[each.key].id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.this[each.key].arn]
  })
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  for_each = local.queue_alarms

  alarm_name          = "${var.prefix}${each.value.queue}-${each.value.kind}"
  alarm_description   = "${each.value.queue}: workers do not keep up."
  namespace           = "AWS/SQS"
  metric_name         = each.value.metric
  dimensions          = { QueueName = aws_sqs_queue.this[each.value.queue].name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 5
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

resource "aws_cloudwatch_metric_alarm" "dead" {
  for_each = var.queues

  alarm_name          = "${var.prefix}${each.key}-dlq"
  alarm_description   = "${each.key}: messages were given up. `soundoff dlq list ${each.key}` shows them."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead[each.key].name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}
