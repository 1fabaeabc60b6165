variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "account_id" {
  description = "The AWS account."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "roles" {
  description = "The roles of processes: each has a secret of its own."
  type        = set(string)
}
