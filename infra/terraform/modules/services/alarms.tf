# What only the processes' own words tell.

resource "aws_cloudwatch_log_metric_filter" "texts" {
  for_each = { for name, group in aws_cloudwatch_log_group.this : name => group.name if name == "users" }

  name           = "${var.prefix}texts-used-up"
  log_group_name = each.value
  pattern        = "\"the texts of this day are used up\""

  metric_transformation {
    name          = "${var.prefix}texts-used-up"
    namespace     = "SoundOff"
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "texts" {
  for_each = aws_cloudwatch_log_metric_filter.texts

  alarm_name          = "${var.prefix}texts-used-up"
  alarm_description   = "No more texts are sent today (SOUNDOFF_TEXTS_PER_DAY): many people sign in, or somebody earns with them."
  namespace           = each.value.metric_transformation[0].namespace
  metric_name         = each.value.metric_transformation[0].name
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
}
