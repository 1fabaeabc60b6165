variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets, one for each zone."
  type        = list(string)
}

variable "client_security_group_id" {
  description = "The processes' security group: nobody else reaches the cache."
  type        = string
}

variable "node_type" {
  description = "The nodes' type."
  type        = string
}

variable "nodes" {
  description = "How many nodes; two or more are spread over several zones."
  type        = number
}

variable "alarm_topic_arns" {
  description = "SNS topics that get alarms."
  type        = list(string)
  default     = []
}
