output "urls" {
  description = "Queue URLs by name in the catalog."
  value       = { for name, queue in aws_sqs_queue.this : name => queue.url }
}

output "arns" {
  description = "Queues' ARNs by name in the catalog."
  value       = { for name, queue in aws_sqs_queue.this : name => queue.arn }
}

output "dead_urls" {
  description = "URLs of the DLQs by name in the catalog."
  value       = { for name, queue in aws_sqs_queue.dead : name => queue.url }
}

output "names" {
  description = "Queues' full names by name in the catalog."
  value       = { for name, queue in aws_sqs_queue.this : name => queue.name }
}
