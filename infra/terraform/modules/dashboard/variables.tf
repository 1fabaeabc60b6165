variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "queue_names" {
  description = "Queues' full names."
  type        = list(string)
}

variable "table_names" {
  description = "Tables' full names."
  type        = list(string)
}

variable "cluster" {
  description = "The cluster, or null."
  type        = string
}

variable "services" {
  description = "The services' names."
  type        = list(string)
}

variable "balancer" {
  description = "The load balancer's name in metrics, or null."
  type        = string
}
