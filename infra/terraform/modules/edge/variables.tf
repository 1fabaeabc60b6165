variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Public subnets."
  type        = list(string)
}

variable "users_paths" {
  description = "Paths of pages that the User service answers, and all below them."
  type        = list(string)
}

variable "certificate_arn" {
  description = "The certificate of the public name (ACM, this region)."
  type        = string
}

variable "idle_timeout_seconds" {
  description = "How long a silent connection is kept; clients ping each 30 s, and an edge closes after two missed pings."
  type        = number
}

variable "drain_seconds" {
  description = "How long clients have to leave a process that stops."
  type        = number
}

variable "deregistration_delay_seconds" {
  description = "How long connections to a process that stops are kept."
  type        = number

  validation {
    condition     = var.deregistration_delay_seconds > var.drain_seconds
    error_message = "The balancer would cut sockets before the edge has drained them: deregistration_delay_seconds must exceed drain_seconds."
  }
}

variable "requests_per_5_minutes" {
  description = "Requests (a websocket's upgrade is one) that one address may make in five minutes."
  type        = number
}

variable "kms_key_arn" {
  description = "The key for logs at rest."
  type        = string
}

variable "log_days" {
  description = "How long logs are kept."
  type        = number
}

variable "deletion_protection" {
  description = "Refuse to delete the balancer."
  type        = bool
}

variable "pictures_by_cdn" {
  description = "CloudFront asks for pictures: they count for no address."
  type        = bool
}
