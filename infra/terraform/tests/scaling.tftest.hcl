# How services stop and scale.

mock_provider "aws" {}

variables {
  prefix               = "soundoff-test-"
  region               = "us-east-1"
  vpc_id               = "vpc-1"
  subnet_ids           = ["subnet-1", "subnet-2"]
  security_group_id    = "sg-1"
  image                = "soundoff:1"
  kms_key_arn          = "arn:aws:kms:us-east-1:123456789012:key/k"
  alarm_topic_arns     = ["arn:aws:sns:us-east-1:123456789012:alarms"]
  secret_arn           = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s"
  environment          = { SOUNDOFF_PREFIX = "soundoff-test-" }
  health_command       = ["CMD", "/soundoff", "health"]
  stop_timeout_seconds = 120
  log_days             = 365
  autoscaling          = true
  services = {
    edge = {
      command          = ["edge"], cpu = 256, memory = 512, min = 2, max = 4, spot = false, public = true, policy = "{}"
      secrets          = { SOUNDOFF_FOREIGN_TOKENS = "arn:aws:secretsmanager:us-east-1:123456789012:secret:tokens-AbCdEf:json::" }
      target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/1"
    }
    router = {
      command = ["router"], cpu = 256, memory = 512, min = 1, max = 4, spot = true, policy = "{}", backlog_per_task = 100
      queues  = ["soundoff-test-main_q"]
    }
    users = {
      command          = ["users"], cpu = 256, memory = 512, min = 2, max = 4, spot = false, public = true, policy = "{}"
      target_group_arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/x/2"
    }
    workers = {
      command = ["workers"], cpu = 256, memory = 512, min = 0, max = 4, spot = true, policy = "{}", backlog_per_task = 100
      queues  = [for number in range(16) : "soundoff-test-${number}_q"]
    }
  }
}

run "scaling" {
  command = plan
  module {
    source = "./modules/services"
  }

  assert {
    condition     = keys(aws_appautoscaling_policy.backlog) == ["router-0", "workers-0", "workers-1", "workers-2"]
    error_message = "Sixteen queues are three policies of at most seven: an alarm takes ten metrics."
  }

  assert {
    condition = alltrue([
      for policy in values(aws_appautoscaling_policy.backlog) : alltrue([
        for metric in policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
        startswith(metric.expression, "IF(FILL(running,0)>0,") && strcontains(metric.expression, "/FILL(running,1)") && metric.return_data if metric.id == "backlog"
      ]) && length(policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics) <= 10
    ])
    error_message = "The division by running tasks is guarded, within ten metrics."
  }

  assert {
    condition     = alltrue([for policy in values(aws_appautoscaling_policy.backlog) : policy.target_tracking_scaling_policy_configuration[0].target_value == 100])
    error_message = "The target is the backlog one task may have."
  }

  assert {
    condition = alltrue([
      for policy in values(aws_appautoscaling_policy.wake) :
      policy.step_scaling_policy_configuration[0].adjustment_type == "ExactCapacity" && one(policy.step_scaling_policy_configuration[0].step_adjustment).scaling_adjustment == 1
    ]) && length(aws_cloudwatch_metric_alarm.wake) == 4
    error_message = "From zero tasks, an alarm starts one."
  }

  assert {
    condition     = alltrue([for alarm in values(aws_cloudwatch_metric_alarm.wake) : alltrue([for query in alarm.metric_query : startswith(query.expression, "IF(FILL(running,0)>0,0,") if query.id == "waiting"])])
    error_message = "The alarm that sets an exact number is silent while tasks run."
  }

  assert {
    condition     = aws_appautoscaling_target.this["workers"].min_capacity == 0 && aws_appautoscaling_target.this["workers"].max_capacity == 4
    error_message = "Each tier has its own cap."
  }

  assert {
    condition = keys(aws_appautoscaling_policy.cpu) == ["edge", "router", "users"] && keys(aws_appautoscaling_policy.cpu_from_zero) == ["workers-0", "workers-1", "workers-2"] && alltrue([
      for policy in concat(values(aws_appautoscaling_policy.cpu), values(aws_appautoscaling_policy.cpu_from_zero)) :
      policy.target_tracking_scaling_policy_configuration[0].target_value == 50
    ])
    error_message = "Every service scales on its processors, with queues or without."
  }

  assert {
    condition = alltrue([
      for policy in values(aws_appautoscaling_policy.cpu_from_zero) : alltrue([
        for metric in policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics :
        startswith(metric.expression, "IF((FILL(q0,0)") && endswith(metric.expression, ")>0,IF(FILL(cpu,0)>1,FILL(cpu,0),1),0)") if metric.return_data
        ]) && length([
        for metric in policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics : metric if metric.return_data
      ]) == 1 && length(policy.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics) <= 10
    ])
    error_message = "A service that may go to zero tasks is at 0 % without a message, however much an idle process takes, and at least at 1 % with one; within ten metrics."
  }

  assert {
    condition     = keys(aws_appautoscaling_policy.memory) == ["edge", "users"]
    error_message = "Services without queues scale on memory, and no others."
  }

  assert {
    condition = alltrue([
      for service in values(aws_ecs_service.this) :
      length([for strategy in service.capacity_provider_strategy : 1 if strategy.capacity_provider == "FARGATE" && strategy.base == 1]) == 1
    ]) && length([for strategy in aws_ecs_service.this["edge"].capacity_provider_strategy : 1 if strategy.capacity_provider == "FARGATE_SPOT"]) == 0
    error_message = "Every service has one task on demand; edges are never spot."
  }
}

run "containers" {
  command = apply
  module {
    source = "./modules/services"
  }
  variables {
    autoscaling = false
  }

  override_resource {
    target = aws_iam_role.task
    values = { arn = "arn:aws:iam::123456789012:role/task" }
  }
  override_resource {
    target = aws_iam_role.execution
    values = { arn = "arn:aws:iam::123456789012:role/execution" }
  }

  assert {
    condition = alltrue([
      for definition in values(aws_ecs_task_definition.this) : alltrue([
        for container in jsondecode(definition.container_definitions) :
        container.stopTimeout == 120 && container.readonlyRootFilesystem && container.user == "65532:65532"
        && container.secrets[0] == { name = "SOUNDOFF_SECRET", valueFrom = "arn:aws:secretsmanager:us-east-1:123456789012:secret:s" }
        && !contains([for variable in container.environment : variable.name], "SOUNDOFF_SECRET")
      ])
    ])
    error_message = "Time to drain, nothing to write to, no root, and the secret comes from Secrets Manager."
  }

  assert {
    condition = alltrue([
      for name, definition in aws_ecs_task_definition.this : alltrue([
        for container in jsondecode(definition.container_definitions) :
        join(" ", [for secret in container.secrets : secret.name]) == (name == "edge" ? "SOUNDOFF_SECRET SOUNDOFF_FOREIGN_TOKENS" : "SOUNDOFF_SECRET")
      ])
    ]) && strcontains(aws_iam_role_policy.execution.policy, "\"arn:aws:secretsmanager:us-east-1:123456789012:secret:tokens-AbCdEf\"")
    error_message = "A secret of the operator's goes to its service only, and the role that starts containers may read it."
  }

  assert {
    condition     = length(aws_appautoscaling_target.this) == 0
    error_message = "Without autoscaling there is none."
  }
}

run "what_nothing_would_wake" {
  command = plan
  module {
    source = "./modules/services"
  }
  variables {
    services = { edge = { command = ["edge"], cpu = 256, memory = 512, min = 0, max = 4, spot = false, policy = "{}" } }
  }
  expect_failures = [var.services]
}

run "longer_than_fargate_waits" {
  command = plan
  module {
    source = "./modules/services"
  }
  variables {
    stop_timeout_seconds = 121
  }
  expect_failures = [var.stop_timeout_seconds]

  assert {
    condition     = [for alarm in values(aws_cloudwatch_metric_alarm.texts) : alarm.alarm_actions] == [toset(var.alarm_topic_arns)] && keys(aws_cloudwatch_log_metric_filter.texts) == ["users"]
    error_message = "An alarm rings when the texts of a day are used up."
  }
}
