output "kms_key_arn" {
  description = "The key for everything at rest."
  value       = aws_kms_key.this.arn
}

output "secret_arn" {
  description = "The deployment's secret. Fill it by hand."
  value       = aws_secretsmanager_secret.this.arn
}

output "alarm_topic_arn" {
  description = "The topic of alarms."
  value       = aws_sns_topic.alarms.arn
}
