output "cluster" {
  description = "The cluster's name."
  value       = aws_ecs_cluster.this.name
}

output "names" {
  description = "The services' names."
  value       = [for service in aws_ecs_service.this : service.name]
}
