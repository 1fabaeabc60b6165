output "names" {
  description = "Tables' full names by table."
  value       = { for table, made in aws_dynamodb_table.this : table => made.name }
}
