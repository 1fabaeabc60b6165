output "domain" {
  description = "The balancer's name; point the public name at it."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "The balancer's hosted zone, for an alias record."
  value       = aws_lb.this.zone_id
}

output "arn_suffix" {
  description = "The balancer's name in metrics."
  value       = aws_lb.this.arn_suffix
}

output "target_group_arns" {
  description = "Target groups by service; known once the listener forwards to them."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn }
  depends_on  = [aws_lb_listener.tls, aws_lb_listener_rule.users]
}

output "security_group_id" {
  description = "The balancer's security group."
  value       = aws_security_group.this.id
}
