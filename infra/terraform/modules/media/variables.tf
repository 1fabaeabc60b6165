variable "prefix" {
  description = "What names begin with."
  type        = string
}

variable "account_id" {
  description = "The AWS account; part of the bucket's name."
  type        = string
}

variable "kms_key_arn" {
  description = "The key for everything at rest."
  type        = string
}

variable "origins" {
  description = "Web origins that may upload with signed URLs."
  type        = list(string)
}

variable "upload_queue" {
  description = "The queue on which the bucket reports uploads."
  type        = object({ url = string, arn = string })
}

variable "create_cdn" {
  description = "Put CloudFront in front of the media pages."
  type        = bool
}

variable "cdn_origin" {
  description = "The public name, which CloudFront asks for pictures; null without it."
  type        = string
}

variable "web_acl_arn" {
  description = "A web ACL of scope CLOUDFRONT (us-east-1) for the distribution, or null."
  type        = string
}

variable "force_destroy" {
  description = "Let `destroy` delete a bucket that is not empty."
  type        = bool
}
