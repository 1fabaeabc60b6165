locals {
  # The image's repository, if it is in ECR.
  ecr          = try(regex("^([0-9]{12})[.]dkr[.]ecr[.]([a-z0-9-]+)[.]amazonaws[.]com/([^:@]+)", var.image), null)
  repositories = local.ecr == null ? [] : ["arn:aws:ecr:${local.ecr[1]}:${local.ecr[0]}:repository/${local.ecr[2]}"]

  # An ARN may name a field behind the secret's own seven parts.
  secrets = distinct(flatten([for service in values(var.services) : [for arn in values(service.secrets) : join(":", slice(split(":", arn), 0, 7))]]))

  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

# The role that starts containers: image, secret, logs. No process has it.
resource "aws_iam_role" "execution" {
  name               = "${var.prefix}execution"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "execution" {
  name = "start"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([for repository in local.repositories : {
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
      Resource = [repository]
      }], [
      {
        # AWS has no resource for this action.
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = "*"
      },
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = concat([var.secret_arn], local.secrets)
      },
      {
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = [for group in aws_cloudwatch_log_group.this : "${group.arn}:*"]
      },
    ])
  })
}

resource "aws_iam_role" "task" {
  for_each = var.services

  name               = "${var.prefix}${each.key}"
  assume_role_policy = local.assume_by_tasks
}

resource "aws_iam_role_policy" "task" {
  for_each = var.services

  name   = "work"
  role   = aws_iam_role.task[each.key].id
  policy = each.value.policy

  lifecycle {
    precondition {
      condition     = length(each.value.policy) <= 10240
      error_message = "IAM takes 10,240 characters of inline policy for a role: take a shorter name or environment."
    }
  }
}
