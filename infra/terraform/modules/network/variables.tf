variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "cidr" {
  description = "The VPC's range."
  type        = string
}

variable "zones" {
  description = "Availability zones, two or three."
  type        = list(string)
}

variable "nat" {
  description = "A NAT gateway per zone, for calls to the outside: mail, texts, Apple, Twitter. AWS itself is always reached by endpoints."
  type        = bool
}

variable "kms_key_arn" {
  description = "The key for flow logs."
  type        = string
}

variable "log_days" {
  description = "How long flow logs are kept."
  type        = number
}
