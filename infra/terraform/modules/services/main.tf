# One task definition, role and service for each tier, on one Fargate cluster.

locals {
  internal_port = 9090
  public_port   = 8080
}

resource "aws_ecs_cluster" "this" {
  name = "${var.prefix}cluster"

  # This gives RunningTaskCount, by which the scaling divides.
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = var.services

  name              = "/${var.prefix}${each.key}"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_ecs_task_definition" "this" {
  for_each = var.services

  family                   = "${var.prefix}${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task[each.key].arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  container_definitions = jsonencode([{
    name                   = "soundoff"
    image                  = var.image
    command                = each.value.command
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout_seconds
    linuxParameters        = { initProcessEnabled = false, capabilities = { add = [], drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 1048576, hardLimit = 1048576 }]
    environment = [
      for name, value in merge(
        var.environment,
        { SOUNDOFF_INTERNAL_LISTEN = "0.0.0.0:${local.internal_port}" },
        each.value.public ? { SOUNDOFF_LISTEN = "0.0.0.0:${local.public_port}" } : {},
        each.value.environment,
      ) : { name = name, value = value }
    ]
    secrets = concat(
      [{ name = "SOUNDOFF_SECRET", valueFrom = var.secret_arn }],
      [for name, arn in each.value.secrets : { name = name, valueFrom = arn }],
    )
    portMappings = [
      for port in each.value.public ? [local.public_port, local.internal_port] : [local.internal_port] :
      { containerPort = port, hostPort = port, protocol = "tcp" }
    ]
    healthCheck = {
      command     = var.health_command
      interval    = 15
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        "awslogs-group"         = aws_cloudwatch_log_group.this[each.key].name
        "awslogs-region"        = var.region
        "awslogs-stream-prefix" = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  for_each = var.services

  name                               = each.key
  cluster                            = aws_ecs_cluster.this.id
  task_definition                    = aws_ecs_task_definition.this[each.key].arn
  desired_count                      = max(each.value.min, 1)
  propagate_tags                     = "SERVICE"
  enable_ecs_managed_tags            = true
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = each.value.public ? 60 : null

  # Some tasks are always on demand. The rest may be spot where losing a task only means that work is done again.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = each.value.on_demand_base
    weight            = each.value.spot ? 0 : 1
  }

  dynamic "capacity_provider_strategy" {
    for_each = each.value.spot ? [1] : []
    content {
      capacity_provider = "FARGATE_SPOT"
      weight            = 1
    }
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  dynamic "load_balancer" {
    for_each = each.value.public ? [1] : []
    content {
      target_group_arn = each.value.target_group_arn
      container_name   = "soundoff"
      container_port   = local.public_port
    }
  }

  lifecycle {
    ignore_changes = [desired_count] # set by the scaling
  }

  depends_on = [aws_ecs_cluster_capacity_providers.this, aws_iam_role_policy.task, aws_iam_role_policy.execution]
}
