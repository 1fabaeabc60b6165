output "kms_key_arn" {
  description = "The key for everything at rest."
  value       = aws_kms_key.this.arn
}

output "secret_arns" {
  description = "The secret of each role. Fill them by hand."
  value       = { for role, secret in aws_secretsmanager_secret.role : role => secret.arn }
}

output "alarm_topic_arn" {
  description = "The topic of alarms."
  value       = aws_sns_topic.alarms.arn
}
