# The data plane on a stand-in for AWS: queues, tables, archive, media and keys; no services.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "endpoint" {
  description = "Where the stand-in listens."
  type        = string
  default     = "http://127.0.0.1:4566"
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = false # the stand-in knows it; ARNs of Glue and Athena need it
  skip_metadata_api_check     = true
  skip_region_validation      = true
  s3_use_path_style           = true

  endpoints {
    athena         = var.endpoint
    cloudwatch     = var.endpoint
    dynamodb       = var.endpoint
    firehose       = var.endpoint
    glue           = var.endpoint
    iam            = var.endpoint
    kms            = var.endpoint
    logs           = var.endpoint
    s3             = var.endpoint
    secretsmanager = var.endpoint
    sns            = var.endpoint
    sqs            = var.endpoint
    sts            = var.endpoint
  }
}

module "soundoff" {
  source = "../.."

  environment         = "local"
  region              = "us-east-1"
  account_id          = "000000000000"
  create_compute      = false
  deletion_protection = false
  force_destroy       = true
}

output "environment" {
  description = "For processes on this machine."
  value       = module.soundoff.environment
}

output "commands" {
  description = "What each service's process is started with."
  value       = module.soundoff.commands
}

output "policies" {
  description = "What each service may do."
  value       = module.soundoff.policies
}

output "archive_bucket" {
  description = "The archive's bucket."
  value       = module.soundoff.archive_bucket
}

output "queue_urls" {
  description = "Queue URLs."
  value       = module.soundoff.queue_urls
}

output "table_names" {
  description = "Tables."
  value       = module.soundoff.table_names
}
