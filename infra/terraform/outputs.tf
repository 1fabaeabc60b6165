output "prefix" {
  description = "What queues and tables begin with (SOUNDOFF_PREFIX)."
  value       = local.prefix
}

output "domain" {
  description = "The load balancer's name: point the public name at it. Null without compute."
  value       = one(module.edge[*].domain)
}

output "zone_id" {
  description = "The load balancer's hosted zone, for an alias record. Null without compute."
  value       = one(module.edge[*].zone_id)
}

output "queue_urls" {
  description = "Queue URLs by name in the catalog."
  value       = module.queues.urls
}

output "dead_letter_urls" {
  description = "URLs of the DLQs by name in the catalog."
  value       = module.queues.dead_urls
}

output "table_names" {
  description = "Tables' full names by table."
  value       = module.tables.names
}

output "archive_bucket" {
  description = "The archive's bucket; records are under events/."
  value       = module.archive.bucket
}

output "athena_workgroup" {
  description = "Athena's workgroup, for the data team. Null without the archive's catalog."
  value       = module.archive.workgroup
}

output "media_bucket" {
  description = "The bucket of pictures."
  value       = module.media.bucket
}

output "cdn_id" {
  description = "CloudFront's id, for invalidations. Null without it."
  value       = module.media.cdn_id
}

output "cdn_domain" {
  description = "CloudFront's name. Null without it."
  value       = module.media.cdn_domain
}

output "secret_arns" {
  description = "The secret of each role. Fill them by hand."
  value       = module.secrets.secret_arns
}

output "alarm_topic_arn" {
  description = "The topic of alarms: subscribe the people on call."
  value       = module.secrets.alarm_topic_arn
}

output "environment" {
  description = "SOUNDOFF_… variables of every process, without secrets."
  value       = local.environment
}

output "commands" {
  description = "What each service's container is started with."
  value       = { for name, service in local.services : name => service.command }
}

output "policies" {
  description = "What each service's role may do."
  value       = { for name, service in local.services : name => service.policy }
}

output "cluster" {
  description = "The ECS cluster. Null without compute."
  value       = one(module.services[*].cluster)
}
