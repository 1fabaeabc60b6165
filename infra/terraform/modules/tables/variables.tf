variable "prefix" {
  description = "What every table's name begins with."
  type        = string
}

variable "kms_key_arn" {
  description = "The key that encrypts the tables."
  type        = string
}

variable "deletion_protection" {
  description = "Refuse to delete a table."
  type        = bool
  default     = true
}
