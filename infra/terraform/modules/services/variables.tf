variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "security_group_id" {
  description = "The processes' security group."
  type        = string
}

variable "image" {
  description = "The container image, by tag or digest."
  type        = string
}

variable "kms_key_arn" {
  description = "The key for everything at rest."
  type        = string
}

variable "alarm_topic_arns" {
  description = "Who hears of alarms."
  type        = list(string)
}

variable "secret_arn" {
  description = "The deployment's secret."
  type        = string
}

variable "environment" {
  description = "SOUNDOFF_… variables that every process gets."
  type        = map(string)
}

variable "health_command" {
  description = "How ECS asks a container for its health; the image has no shell."
  type        = list(string)
}

variable "stop_timeout_seconds" {
  description = "Between SIGTERM and SIGKILL; Fargate allows 120."
  type        = number

  validation {
    condition     = var.stop_timeout_seconds >= 30 && var.stop_timeout_seconds <= 120
    error_message = "Fargate takes a stopTimeout of up to 120 seconds."
  }
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
}

variable "autoscaling" {
  description = "Scale services; without it each keeps its `min` tasks (or one)."
  type        = bool
}

variable "services" {
  description = "What runs. `queues` are the full names of the queues whose backlog scales the service; none: it scales on memory. All scale on their processors. `secrets` are variables by name, with ARNs of secrets. `policy` is the task role's document."
  type = map(object({
    command          = list(string)
    cpu              = number
    memory           = number
    min              = number
    max              = number
    spot             = bool
    on_demand_base   = optional(number, 1)
    backlog_per_task = optional(number, 0)
    out_cooldown     = optional(number, 60)
    in_cooldown      = optional(number, 300)
    queues           = optional(list(string), [])
    target_group_arn = optional(string)
    public           = optional(bool, false)
    environment      = optional(map(string), {})
    secrets          = optional(map(string), {})
    policy           = string
  }))

  validation {
    condition     = alltrue([for service in values(var.services) : service.min > 0 || length(service.queues) > 0])
    error_message = "A service without queues keeps a task: nothing would wake it."
  }
}
