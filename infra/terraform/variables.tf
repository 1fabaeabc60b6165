variable "name" {
  description = "The product's name in everything's name."
  type        = string
  default     = "soundoff"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,11}$", var.name))
    error_message = "2 to 12 lower-case letters and digits, a letter first: names of load balancers and buckets are short."
  }
}

variable "environment" {
  description = "The deployment's name, such as prod."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{0,7}$", var.environment))
    error_message = "1 to 8 lower-case letters and digits, a letter first."
  }
}

variable "region" {
  description = "The AWS region, the same as the provider's."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Such as us-east-1."
  }
}

variable "account_id" {
  description = "The AWS account. Give it to the provider's allowed_account_ids as well, so that nothing is applied elsewhere."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "Twelve digits."
  }
}

variable "create_compute" {
  description = "Make network, cache, load balancer and services. Off: only queues, tables, archive, media and keys, for processes that run elsewhere."
  type        = bool
  default     = true
}

variable "create_autoscaling" {
  description = "Scale services automatically."
  type        = bool
  default     = true
}

variable "create_archive_catalog" {
  description = "Make the Glue table and the Athena workgroup over the archive."
  type        = bool
  default     = true
}

variable "create_dashboard" {
  description = "Make the CloudWatch dashboard."
  type        = bool
  default     = true
}

variable "create_cdn" {
  description = "Put CloudFront in front of the media pages. It keeps what everybody may see, and hands all else on."
  type        = bool
  default     = false
}

variable "cdn_origin" {
  description = "The public name, such as example.org: CloudFront asks it for pictures. Needed with create_cdn."
  type        = string
  default     = null

  validation {
    condition     = var.cdn_origin == null || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z][a-z0-9-]*$", var.cdn_origin))
    error_message = "A name: no https://, no port, no path."
  }

  validation {
    condition     = var.cdn_origin != null || !var.create_cdn
    error_message = "CloudFront needs the public name: only the media pages know who may see a picture."
  }
}

variable "media_max_age_seconds" {
  description = "How long browsers and CloudFront may keep a picture that everybody may see. One that is hidden or deleted is seen there for so long."
  type        = number
  default     = 3600

  validation {
    condition     = var.media_max_age_seconds >= 1 && var.media_max_age_seconds <= 86400
    error_message = "1 to 86400."
  }
}

variable "media_purge_url" {
  description = "Your hook that has caches forget pictures, for services users and workers; its token is SOUNDOFF_MEDIA_PURGE_TOKEN of workers in secret_environment. Null: none."
  type        = string
  default     = null

  validation {
    condition     = var.media_purge_url == null || can(regex("^https://", var.media_purge_url))
    error_message = "It begins with https://."
  }
}

variable "cdn_web_acl_arn" {
  description = "A web ACL of scope CLOUDFRONT for the distribution."
  type        = string
  default     = null
}

variable "image" {
  description = "The container image; by digest it is always the same. Needed with create_compute."
  type        = string
  default     = null

  validation {
    condition     = var.image != null || !var.create_compute
    error_message = "Services need an image."
  }
}

variable "certificate_arn" {
  description = "The ACM certificate of the public name, in this region. Needed with create_compute."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn != null || !var.create_compute
    error_message = "The public listener speaks TLS only: it needs a certificate."
  }
}

variable "zones" {
  description = "Two or three availability zones. Needed with create_compute."
  type        = list(string)
  default     = []

  validation {
    condition     = !var.create_compute || contains([2, 3], length(var.zones))
    error_message = "Two or three zones."
  }
}

variable "vpc_cidr" {
  description = "The VPC's range."
  type        = string
  default     = "10.40.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("/(1[6-9]|2[0-2])$", var.vpc_cidr))
    error_message = "An IPv4 range between /16 and /22."
  }
}

variable "nat" {
  description = "NAT gateways, for calls to mail servers and identity providers. Without them only AWS is reached."
  type        = bool
  default     = true
}

variable "drain_seconds" {
  description = "How long clients have to leave a process that stops."
  type        = number
  default     = 100

  validation {
    condition     = var.drain_seconds >= 5 && var.drain_seconds <= 100
    error_message = "5 to 100, which is what a process takes (SOUNDOFF_DRAIN_MS): Fargate kills after 120, and closing the rest takes up to 10."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long the balancer keeps connections to a process that stops. Must be above drain_seconds."
  type        = number
  default     = 120

  validation {
    condition     = var.deregistration_delay_seconds > var.drain_seconds && var.deregistration_delay_seconds <= 3600
    error_message = "It must exceed drain_seconds: otherwise the balancer cuts sockets that the edge is still draining."
  }
}

variable "idle_timeout_seconds" {
  description = "How long the balancer keeps a silent connection; clients ping each 30 s."
  type        = number
  default     = 120

  validation {
    condition     = var.idle_timeout_seconds > 60 && var.idle_timeout_seconds <= 4000
    error_message = "Above 60: an edge closes by itself after two missed pings of 30 s."
  }
}

variable "requests_per_5_minutes" {
  description = "Requests that one address may make in five minutes before the WAF refuses it."
  type        = number
  default     = 3000

  validation {
    condition     = var.requests_per_5_minutes >= 10
    error_message = "WAF takes 10 at least."
  }
}

variable "max_receives" {
  description = "Receives after which SQS moves a message to its DLQ by itself; above the workers' own limit of 5, at which the sender gets an error. An engine that is away lets messages be received without a try, so it is far above."
  type        = number
  default     = 1000

  validation {
    condition     = var.max_receives > 5
    error_message = "Above 5: workers give up after five tries and answer the sender; SQS only catches what kills them."
  }
}

variable "alarm_age_seconds" {
  description = "Age of a queue's oldest message that raises an alarm."
  type        = number
  default     = 120
}

variable "alarm_depth" {
  description = "Visible SQS messages in a queue, packs of envelopes, that raise an alarm."
  type        = number
  default     = 50000
}

variable "cache_node_type" {
  description = "The cache nodes' type."
  type        = string
  default     = "cache.t4g.small"
}

variable "cache_nodes" {
  description = "How many cache nodes. With two or more, one may be away. Change it by one at a time."
  type        = number
  default     = 2

  validation {
    condition     = var.cache_nodes >= 1 && var.cache_nodes <= 40
    error_message = "1 to 40."
  }
}

variable "services" {
  description = "What to change of a service's size, by service: edge, router, workers, schedule, compute, personalize, fetch, users."
  type = map(object({
    cpu              = optional(number)
    memory           = optional(number)
    min              = optional(number)
    max              = optional(number)
    spot             = optional(bool)
    backlog_per_task = optional(number)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.services), ["edge", "router", "workers", "schedule", "compute", "personalize", "fetch", "users"])) == 0
    error_message = "A service is one of edge, router, workers, schedule, compute, personalize, fetch, users."
  }
}

variable "extra_environment" {
  description = "More SOUNDOFF_… variables for every process, without secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.extra_environment) : startswith(name, "SOUNDOFF_")])
    error_message = "Names begin with SOUNDOFF_."
  }
}

variable "secret_environment" {
  description = "SOUNDOFF_… variables with secrets, by service: ARNs of secrets of yours in Secrets Manager (ARN:field:: for a field of one). OpenID providers and mail are for users; your own tokens are for edge and users."
  type        = map(map(string))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.secret_environment), ["edge", "router", "workers", "schedule", "compute", "personalize", "fetch", "users"])) == 0
    error_message = "A service is one of edge, router, workers, schedule, compute, personalize, fetch, users."
  }
  validation {
    condition = alltrue(flatten([for service in values(var.secret_environment) : [
      for name, arn in service : startswith(name, "SOUNDOFF_") && name != "SOUNDOFF_SECRET" && can(regex("^arn:[^:]+:secretsmanager:", arn))
    ]]))
    error_message = "Names begin with SOUNDOFF_, values are ARNs of secrets; SOUNDOFF_SECRET is set already."
  }
}

variable "health_command" {
  description = "How ECS asks a container for its health."
  type        = list(string)
  default     = ["CMD", "/soundoff", "health"]
}

variable "log_days" {
  description = "How long logs are kept; a number that CloudWatch offers."
  type        = number
  default     = 365
}

variable "deletion_protection" {
  description = "Refuse to delete tables and the load balancer."
  type        = bool
  default     = true
}

variable "force_destroy" {
  description = "Let `destroy` delete buckets that are not empty."
  type        = bool
  default     = false
}

variable "origins" {
  description = "Pages of which other origins may sign in and open websockets, such as https://app.example.org, https://*.example.org or capacitor://localhost."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.origins : can(regex("^([a-z][a-z0-9+.-]*://[^/,]+|null)$", origin))])
    error_message = "Origins, without path: scheme, host and port."
  }
}

variable "passkey_domain" {
  description = "The domain that passkeys belong to, such as example.org: the public name, or one above it. Null: no passkeys. They stay with their domain: choose one that you keep."
  type        = string
  default     = null

  validation {
    condition     = var.passkey_domain == null || can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?[.])+[a-z0-9-]*[a-z][a-z0-9-]*$", var.passkey_domain))
    error_message = "A domain: no https://, no port, no path."
  }
}

variable "passkey_for" {
  description = "Roles that are for sessions with a passkey: moderator, admin. Who is to have one adds a passkey first."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for role in var.passkey_for : contains(["moderator", "admin"], role)])
    error_message = "moderator, admin or both."
  }

  validation {
    condition     = length(var.passkey_for) == 0 || var.passkey_domain != null
    error_message = "Roles that want a passkey need passkey_domain."
  }
}

variable "media_origins" {
  description = "Web origins that may upload pictures with signed URLs, such as https://app.example.org."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for origin in var.media_origins : can(regex("^https://[^/*]+$", origin))])
    error_message = "https origins, without path or wildcard."
  }
}

variable "archive_since" {
  description = "The archive's first day."
  type        = string
  default     = "2026-01-01"

  validation {
    condition     = can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.archive_since))
    error_message = "As YYYY-MM-DD."
  }
}

variable "archive_infrequent_after_days" {
  description = "When records move to Infrequent Access."
  type        = number
  default     = 30

  validation {
    condition     = var.archive_infrequent_after_days >= 30
    error_message = "S3 takes 30 at least."
  }
}

variable "archive_glacier_after_days" {
  description = "When records move to Glacier, out of Athena's reach. 0: never."
  type        = number
  default     = 180

  validation {
    condition     = var.archive_glacier_after_days == 0 || var.archive_glacier_after_days >= var.archive_infrequent_after_days + 30
    error_message = "0, or 30 days after Infrequent Access at least."
  }
}
