# A whole deployment. Fill in account, image and certificate.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "offline" {
  description = "Plan without an account, for tests."
  type        = bool
  default     = false
}

variable "account_id" {
  description = "The AWS account."
  type        = string
}

variable "image" {
  description = "The container image."
  type        = string
}

variable "certificate_arn" {
  description = "The certificate of the public name."
  type        = string
}

provider "aws" {
  region                      = "us-east-1"
  allowed_account_ids         = var.offline ? null : [var.account_id]
  access_key                  = var.offline ? "offline" : null
  secret_key                  = var.offline ? "offline" : null
  skip_credentials_validation = var.offline
  skip_requesting_account_id  = var.offline
  skip_metadata_api_check     = var.offline

  default_tags {
    tags = { product = "soundoff", environment = "prod" }
  }
}

module "soundoff" {
  source = "../.."

  environment     = "prod"
  region          = "us-east-1"
  account_id      = var.account_id
  zones           = ["us-east-1a", "us-east-1b", "us-east-1c"]
  image           = var.image
  certificate_arn = var.certificate_arn
  create_cdn      = true
  cdn_origin      = "soundoff.example.org"
  media_origins   = ["https://app.example.org"]

  services = {
    edge = { max = 60 }
  }
}

output "domain" {
  description = "Point the public name here."
  value       = module.soundoff.domain
}

output "secret_arns" {
  description = "Fill these: README.md says how."
  value       = module.soundoff.secret_arns
}
