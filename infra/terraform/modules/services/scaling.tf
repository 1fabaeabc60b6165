# Services scale on backlog per task (visible SQS messages over running tasks), on processors, and where there is no
# queue on memory. With several policies a service gets the largest number that any of them asks for, and shrinks only
# when all agree.
#
# An alarm takes ten metrics, and must not search, so a tier of many queues has one policy for each seven of them.

locals {
  scaled = var.autoscaling ? { for name, service in var.services : name => service if service.max > 0 } : {}
  chunks = merge([
    for name, service in local.scaled : {
      for index, queues in chunklist(service.queues, 7) : "${name}-${index}" => {
        service = name
        queues  = queues
        sum     = join("+", [for number in range(length(queues)) : "FILL(q${number},0)"])
      }
    }
  ]...)
}

resource "aws_appautoscaling_target" "this" {
  for_each = local.scaled

  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.this.name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = each.value.min
  max_capacity       = each.value.max
}

resource "aws_appautoscaling_policy" "backlog" {
  for_each = local.chunks

  name               = "${var.prefix}${each.key}-backlog"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = local.scaled[each.value.service].backlog_per_task
    scale_out_cooldown = local.scaled[each.value.service].out_cooldown
    scale_in_cooldown  = local.scaled[each.value.service].in_cooldown

    customized_metric_specification {
      dynamic "metrics" {
        for_each = each.value.queues
        content {
          id          = "q${metrics.key}"
          return_data = false
          metric_stat {
            stat = "Maximum"
            metric {
              namespace   = "AWS/SQS"
              metric_name = "ApproximateNumberOfMessagesVisible"
              dimensions {
                name  = "QueueName"
                value = metrics.value
              }
            }
          }
        }
      }

      metrics {
        id          = "running"
        return_data = false
        metric_stat {
          stat = "Average"
          metric {
            namespace   = "ECS/ContainerInsights"
            metric_name = "RunningTaskCount"
            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.this.name
            }
            dimensions {
              name  = "ServiceName"
              value = each.value.service
            }
          }
        }
      }

      metrics {
        id          = "backlog"
        label       = "Visible messages per running task"
        return_data = true
        expression  = "IF(FILL(running,0)>0,(${each.value.sum})/FILL(running,1),${each.value.sum})"
      }
    }
  }
}

# Target tracking multiplies the running tasks, and zero times anything is zero: from zero tasks an alarm starts the
# first.
resource "aws_appautoscaling_policy" "wake" {
  for_each = local.chunks

  name               = "${var.prefix}${each.key}-wake"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id

  step_scaling_policy_configuration {
    adjustment_type         = "ExactCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60

    step_adjustment {
      metric_interval_lower_bound = 0
      scaling_adjustment          = max(1, local.scaled[each.value.service].min)
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "wake" {
  for_each = local.chunks

  alarm_name          = "${var.prefix}${each.key}-wake"
  alarm_description   = "Messages wait and no task runs: start one."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.wake[each.key].arn]

  dynamic "metric_query" {
    for_each = each.value.queues
    content {
      id          = "q${metric_query.key}"
      return_data = false
      metric {
        namespace   = "AWS/SQS"
        metric_name = "ApproximateNumberOfMessagesVisible"
        dimensions  = { QueueName = metric_query.value }
        period      = 60
        stat        = "Maximum"
      }
    }
  }

  metric_query {
    id          = "running"
    return_data = false
    metric {
      namespace   = "ECS/ContainerInsights"
      metric_name = "RunningTaskCount"
      dimensions  = { ClusterName = aws_ecs_cluster.this.name, ServiceName = each.value.service }
      period      = 60
      stat        = "Maximum"
    }
  }

  # Only while nothing runs: this policy sets an exact number, and must never shrink a busy service to it.
  metric_query {
    id          = "waiting"
    label       = "Visible messages while no task runs"
    return_data = true
    expression  = "IF(FILL(running,0)>0,0,${each.value.sum})"
  }
}

# Processors. Backlog alone swings: a service that keeps up has none, so it would lose one task after the other until
# one too many is gone. Three minutes later it would get far too many, since a backlog does not say how many tasks are
# enough.
resource "aws_appautoscaling_policy" "cpu" {
  for_each = { for name, service in local.scaled : name => service if service.min > 0 }

  name               = "${var.prefix}${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = each.value.out_cooldown
    scale_in_cooldown  = each.value.in_cooldown
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

# The same for a service that may go to zero tasks. There is no figure then, and a policy without a figure neither grows
# nor shrinks anything: the wake alarm starts the first task and asks no policy. But on the way to zero an idle
# processor is never quite at 0 %, and a part of a task counts as one. So the figure is 0 in a minute in which the
# queues gave out nothing, and at least 1 in others: a service that does a little each minute keeps its last task,
# though no message ever waits for it.
resource "aws_appautoscaling_policy" "cpu_from_zero" {
  for_each = { for name, chunk in local.chunks : name => chunk if local.scaled[chunk.service].min == 0 }

  name               = "${var.prefix}${each.key}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.value.service].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.value.service].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.value.service].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = local.scaled[each.value.service].out_cooldown
    scale_in_cooldown  = local.scaled[each.value.service].in_cooldown

    customized_metric_specification {
      dynamic "metrics" {
        for_each = each.value.queues
        content {
          id          = "q${metrics.key}"
          return_data = false
          metric_stat {
            stat = "Sum"
            metric {
              namespace   = "AWS/SQS"
              metric_name = "NumberOfMessagesReceived"
              dimensions {
                name  = "QueueName"
                value = metrics.value
              }
            }
          }
        }
      }

      metrics {
        id          = "cpu"
        return_data = false
        metric_stat {
          stat = "Average"
          metric {
            namespace   = "AWS/ECS"
            metric_name = "CPUUtilization"
            dimensions {
              name  = "ClusterName"
              value = aws_ecs_cluster.this.name
            }
            dimensions {
              name  = "ServiceName"
              value = each.value.service
            }
          }
        }
      }

      metrics {
        id          = "busy"
        label       = "Processors, in percent, while there is work"
        return_data = true
        expression  = "IF((${each.value.sum})>0,IF(FILL(cpu,0)>1,FILL(cpu,0),1),0)"
      }
    }
  }
}

# A service without queues holds sockets, and those cost memory: an edge with many silent sockets is not busy. At 50 %
# of 1 GB it has some 85,000 sockets, and sheds load at 100,000.
resource "aws_appautoscaling_policy" "memory" {
  for_each = { for name, service in local.scaled : name => service if length(service.queues) == 0 }

  name               = "${var.prefix}${each.key}-memory"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this[each.key].service_namespace
  scalable_dimension = aws_appautoscaling_target.this[each.key].scalable_dimension
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 50
    scale_out_cooldown = each.value.out_cooldown
    scale_in_cooldown  = each.value.in_cooldown
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageMemoryUtilization"
    }
  }
}
