# One deployment. The data plane is always made; network, cache, balancer and services only with create_compute.

locals {
  compute = var.create_compute ? 1 : 0

  # Backlog per task is counted in SQS messages. Each is a pack: what a sender gathers for one queue in 25 ms, a single
  # envelope where little comes and up to 245. It is what one busy task works off in half a minute, of the seven queues
  # that share a policy and have most; of the timelines' batches, which have a minute for all, in five seconds; of the
  # scan, which is four pages at a time, more than there ever are.
  sizes = {
    edge        = { cpu = 512, memory = 1024, min = 2, max = 100, spot = false, backlog_per_task = 0, out_cooldown = 30, in_cooldown = 900 }
    users       = { cpu = 512, memory = 1024, min = 2, max = 10, spot = false, backlog_per_task = 0, out_cooldown = 60, in_cooldown = 300 }
    router      = { cpu = 512, memory = 1024, min = 1, max = 40, spot = true, backlog_per_task = 7000, out_cooldown = 30, in_cooldown = 300 }
    workers     = { cpu = 1024, memory = 4096, min = 1, max = 350, spot = true, backlog_per_task = 1200, out_cooldown = 120, in_cooldown = 300 }
    schedule    = { cpu = 256, memory = 512, min = 1, max = 4, spot = true, backlog_per_task = 10, out_cooldown = 120, in_cooldown = 300 }
    compute     = { cpu = 2048, memory = 8192, min = 0, max = 15, spot = true, backlog_per_task = 200, out_cooldown = 120, in_cooldown = 600 }
    personalize = { cpu = 1024, memory = 2048, min = 0, max = 20, spot = true, backlog_per_task = 200, out_cooldown = 60, in_cooldown = 300 }
    fetch       = { cpu = 1024, memory = 4096, min = 1, max = 60, spot = true, backlog_per_task = 4500, out_cooldown = 120, in_cooldown = 300 }
  }

  services = {
    for name, size in local.sizes : name => merge(size, { for key, value in try(var.services[name], {}) : key => value if value != null }, {
      on_demand_base = 1
      command        = local.declared[name].command
      # Not the side queues: what waits there waits for one item, and more tasks would only race each other for it.
      queues = [for queue in local.declared[name].pulls : "${local.prefix}${queue}" if !local.queues[queue].side]
      public = local.declared[name].public
      policy = jsonencode({ Version = "2012-10-17", Statement = local.statements[name] })
    })
  }

  environment = merge({
    SOUNDOFF_AWS_REGION                                              = var.region
    SOUNDOFF_PREFIX                                                  = local.prefix
    SOUNDOFF_ARCHIVE_STREAM                                          = module.archive.stream
    SOUNDOFF_MEDIA_BUCKET                                            = module.media.bucket
    SOUNDOFF_MEDIA_MAX_AGE_S                                         = tostring(var.media_max_age_seconds)
    SOUNDOFF_DRAIN_MS                                                = tostring(var.drain_seconds * 1000)
    }, var.media_purge_url == null ? {} : { SOUNDOFF_MEDIA_PURGE_URL = var.media_purge_url }, var.create_compute ? {
    SOUNDOFF_MEMCACHED                                               = join(",", module.cache[0].addresses)
    SOUNDOFF_MEMCACHED_TLS                                           = "true"
    SOUNDOFF_PROXIES                                                 = "1"
    } : {}, length(var.origins) > 0 ? { SOUNDOFF_ORIGINS = join(",", var.origins) } : {},
    var.passkey_domain == null ? {} : { SOUNDOFF_PASSKEY_DOMAIN = var.passkey_domain },
    length(var.passkey_for) > 0 ? { SOUNDOFF_PASSKEY_FOR = join(",", var.passkey_for) } : {},
  var.extra_environment)
}

module "secrets" {
  source = "./modules/secrets"

  prefix     = local.prefix
  region     = var.region
  account_id = var.account_id
  roles      = toset([for service in values(local.declared) : service.secret])
}

module "queues" {
  source = "./modules/queues"

  prefix            = local.prefix
  queues            = local.queues
  max_receives      = var.max_receives
  alarm_age_seconds = var.alarm_age_seconds
  alarm_depth       = var.alarm_depth
  alarm_topic_arns  = [module.secrets.alarm_topic_arn]
}

module "tables" {
  source = "./modules/tables"

  prefix              = local.prefix
  kms_key_arn         = module.secrets.kms_key_arn
  deletion_protection = var.deletion_protection
}

module "archive" {
  source = "./modules/archive"

  prefix                = local.prefix
  account_id            = var.account_id
  region                = var.region
  kms_key_arn           = module.secrets.kms_key_arn
  message_types         = sort(distinct([for queue in local.queues : queue.type if queue.archived]))
  since                 = var.archive_since
  infrequent_after_days = var.archive_infrequent_after_days
  glacier_after_days    = var.archive_glacier_after_days
  create_catalog        = var.create_archive_catalog
  log_days              = var.log_days
  force_destroy         = var.force_destroy
}

module "media" {
  source = "./modules/media"

  prefix        = local.prefix
  account_id    = var.account_id
  kms_key_arn   = module.secrets.kms_key_arn
  origins       = var.media_origins
  upload_queue  = { url = module.queues.urls["media_uploaded_q"], arn = module.queues.arns["media_uploaded_q"] }
  create_cdn    = var.create_cdn
  cdn_origin    = var.cdn_origin
  web_acl_arn   = var.cdn_web_acl_arn
  force_destroy = var.force_destroy
}

module "network" {
  source = "./modules/network"
  count  = local.compute

  prefix      = local.prefix
  region      = var.region
  cidr        = var.vpc_cidr
  zones       = var.zones
  nat         = var.nat
  kms_key_arn = module.secrets.kms_key_arn
  log_days    = var.log_days
}

# The processes' group is made here, because cache and balancer refer to it, too.
resource "aws_security_group" "processes" {
  #checkov:skip=CKV2_AWS_5:the services module attaches it
  count = local.compute

  name        = "${local.prefix}processes"
  description = "Sound Off's processes"
  vpc_id      = module.network[0].vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "public" {
  for_each = var.create_compute ? { public = 8080, health = 9090 } : {}

  security_group_id            = aws_security_group.processes[0].id
  description                  = "From the load balancer: ${each.key}"
  referenced_security_group_id = module.edge[0].security_group_id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

resource "aws_vpc_security_group_ingress_rule" "deliver" {
  count = local.compute

  security_group_id            = aws_security_group.processes[0].id
  description                  = "Deliveries to edges"
  referenced_security_group_id = aws_security_group.processes[0].id
  ip_protocol                  = "tcp"
  from_port                    = 9090
  to_port                      = 9090
}

resource "aws_vpc_security_group_egress_rule" "processes" {
  #checkov:skip=CKV_AWS_382:mail servers and webhooks are on any port that an operator names
  count = local.compute

  security_group_id = aws_security_group.processes[0].id
  description       = "AWS, mail servers, identity providers"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_security_group_egress_rule" "balancer" {
  for_each = var.create_compute ? { public = 8080, health = 9090 } : {}

  security_group_id            = module.edge[0].security_group_id
  description                  = "To the processes: ${each.key}"
  referenced_security_group_id = aws_security_group.processes[0].id
  ip_protocol                  = "tcp"
  from_port                    = each.value
  to_port                      = each.value
}

module "cache" {
  source = "./modules/cache"
  count  = local.compute

  prefix                   = local.prefix
  vpc_id                   = module.network[0].vpc_id
  subnet_ids               = module.network[0].private_subnet_ids
  client_security_group_id = aws_security_group.processes[0].id
  node_type                = var.cache_node_type
  nodes                    = var.cache_nodes
  alarm_topic_arns         = [module.secrets.alarm_topic_arn]
}

module "edge" {
  source = "./modules/edge"
  count  = local.compute

  prefix                       = local.prefix
  vpc_id                       = module.network[0].vpc_id
  subnet_ids                   = module.network[0].public_subnet_ids
  users_paths                  = local.declared["users"].paths
  certificate_arn              = var.certificate_arn
  idle_timeout_seconds         = var.idle_timeout_seconds
  drain_seconds                = var.drain_seconds
  deregistration_delay_seconds = var.deregistration_delay_seconds
  requests_per_5_minutes       = var.requests_per_5_minutes
  pictures_by_cdn              = var.create_cdn
  kms_key_arn                  = module.secrets.kms_key_arn
  log_days                     = var.log_days
  deletion_protection          = var.deletion_protection
}

module "services" {
  source = "./modules/services"
  count  = local.compute

  prefix               = local.prefix
  region               = var.region
  vpc_id               = module.network[0].vpc_id
  subnet_ids           = module.network[0].private_subnet_ids
  security_group_id    = aws_security_group.processes[0].id
  image                = var.image
  kms_key_arn          = module.secrets.kms_key_arn
  alarm_topic_arns     = [module.secrets.alarm_topic_arn]
  environment          = local.environment
  health_command       = var.health_command
  stop_timeout_seconds = min(120, max(30, var.drain_seconds + 10))
  log_days             = var.log_days
  autoscaling          = var.create_autoscaling
  services = {
    for name, service in local.services : name => merge(service, {
      target_group_arn = service.public ? module.edge[0].target_group_arns[name] : null
      secrets          = lookup(var.secret_environment, name, {})
      secret_arn       = module.secrets.secret_arns[local.declared[name].secret]
    })
  }
}

module "dashboard" {
  source = "./modules/dashboard"
  count  = var.create_dashboard ? 1 : 0

  prefix      = local.prefix
  region      = var.region
  queue_names = [for name in keys(local.queues) : "${local.prefix}${name}"]
  table_names = values(module.tables.names)
  cluster     = var.create_compute ? module.services[0].cluster : null
  services    = var.create_compute ? module.services[0].names : []
  balancer    = var.create_compute ? module.edge[0].arn_suffix : null
}
