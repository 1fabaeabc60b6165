# One screen: waiting messages and their age, dead letters, running tasks, the public side, and what the tables
# throttle.

locals {
  sqs = "AWS/SQS"
  graphs = concat(
    [
      { title = "Waiting", metrics = [for name in var.queue_names : [local.sqs, "ApproximateNumberOfMessagesVisible", "QueueName", name]], stat = "Maximum" },
      { title = "Oldest, seconds", metrics = [for name in var.queue_names : [local.sqs, "ApproximateAgeOfOldestMessage", "QueueName", name]], stat = "Maximum" },
      { title = "Given up (DLQ)", metrics = [for name in var.queue_names : [local.sqs, "ApproximateNumberOfMessagesVisible", "QueueName", "${name}_dlq"]], stat = "Maximum" },
      { title = "SQS requests that cost: empty receives", metrics = [for name in var.queue_names : [local.sqs, "NumberOfEmptyReceives", "QueueName", name]], stat = "Sum" },
      { title = "DynamoDB: throttled", metrics = concat([for kind in ["ReadThrottleEvents", "WriteThrottleEvents"] : [for name in var.table_names : ["AWS/DynamoDB", kind, "TableName", name]]]...), stat = "Sum" },
      { title = "DynamoDB: units consumed", metrics = concat([for kind in ["ConsumedReadCapacityUnits", "ConsumedWriteCapacityUnits"] : [for name in var.table_names : ["AWS/DynamoDB", kind, "TableName", name]]]...), stat = "Sum" },
    ],
    var.cluster == null ? [] : [
      { title = "Running tasks", metrics = [for name in var.services : ["ECS/ContainerInsights", "RunningTaskCount", "ClusterName", var.cluster, "ServiceName", name]], stat = "Average" },
    ],
    var.balancer == null ? [] : [
      { title = "Public: connections and errors", metrics = [for kind in ["ActiveConnectionCount", "NewConnectionCount", "HTTPCode_ELB_5XX_Count", "HTTPCode_Target_5XX_Count"] : ["AWS/ApplicationELB", kind, "LoadBalancer", var.balancer]], stat = "Sum" },
    ],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = "${var.prefix}overview"
  dashboard_body = jsonencode({
    widgets = [
      for index, graph in local.graphs : {
        type   = "metric"
        x      = index % 2 * 12
        y      = floor(index / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          region  = var.region
          view    = "timeSeries"
          period  = 60
          stat    = graph.stat
          metrics = graph.metrics
        }
      }
    ]
  })
}
