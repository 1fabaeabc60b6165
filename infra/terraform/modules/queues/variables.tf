variable "prefix" {
  description = "What every queue's name begins with."
  type        = string
}

variable "queues" {
  description = "The catalog's queues by name."
  type        = map(object({ tier = string }))
}

variable "max_receives" {
  description = "Receives after which SQS itself moves a message to its DLQ. Above the workers' own limit, at which the sender gets an error: this one only catches messages that kill processes."
  type        = number
  default     = 1000
}

variable "visibility_seconds" {
  description = "How long a received message stays out of sight; workers extend it while they work."
  type        = number
  default     = 30
}

variable "alarm_topic_arns" {
  description = "SNS topics that get alarms."
  type        = list(string)
  default     = []
}

variable "alarm_age_seconds" {
  description = "Age of the oldest message that raises an alarm."
  type        = number
  default     = 120
}

variable "alarm_depth" {
  description = "Visible messages that raise an alarm."
  type        = number
  default     = 50000
}
