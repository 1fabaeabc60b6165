variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "account_id" {
  description = "The AWS account; part of the buckets' names, which must be globally unique."
  type        = string
}

variable "region" {
  description = "The AWS region."
  type        = string
}

variable "kms_key_arn" {
  description = "The key for everything at rest."
  type        = string
}

variable "message_types" {
  description = "The MessageTypes that are archived: partitions that Athena looks for."
  type        = list(string)
}

variable "since" {
  description = "The archive's first day, as YYYY-MM-DD."
  type        = string
}

variable "infrequent_after_days" {
  description = "When records move to Infrequent Access."
  type        = number
}

variable "glacier_after_days" {
  description = "When records move to Glacier, out of Athena's reach. 0: never."
  type        = number
}

variable "create_catalog" {
  description = "Make the Glue table and the Athena workgroup."
  type        = bool
}

variable "log_days" {
  description = "How long the stream's errors are kept."
  type        = number
}

variable "force_destroy" {
  description = "Let `destroy` delete a bucket that is not empty."
  type        = bool
}
