# The Session Cache and the timelines. Losing it costs time, never data.

resource "aws_elasticache_subnet_group" "this" {
  name       = "${var.prefix}cache"
  subnet_ids = var.subnet_ids
}

resource "aws_elasticache_parameter_group" "this" {
  name        = "${var.prefix}memcached16"
  family      = "memcached1.6"
  description = "Rings may grow beyond one megabyte"

  parameter {
    name  = "max_item_size"
    value = "2097152"
  }
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}cache"
  description = "memcached, for Sound Off's processes only"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  security_group_id            = aws_security_group.this.id
  description                  = "memcached over TLS from the processes"
  referenced_security_group_id = var.client_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 11211
  to_port                      = 11211
}

resource "aws_elasticache_cluster" "this" {
  cluster_id                 = "${var.prefix}cache"
  engine                     = "memcached"
  engine_version             = "1.6.22" # TLS needs 1.6.12
  node_type                  = var.node_type
  num_cache_nodes            = var.nodes # change it by one at a time: each user's sockets are on two nodes (README)
  az_mode                    = var.nodes > 1 ? "cross-az" : "single-az"
  parameter_group_name       = aws_elasticache_parameter_group.this.name
  subnet_group_name          = aws_elasticache_subnet_group.this.name
  security_group_ids         = [aws_security_group.this.id]
  transit_encryption_enabled = true
}

resource "aws_cloudwatch_metric_alarm" "evictions" {
  alarm_name          = "${var.prefix}cache-evictions"
  alarm_description   = "The cache evicts entries that are still wanted, such as registrations of sockets: give it more memory."
  namespace           = "AWS/ElastiCache"
  metric_name         = "Evictions"
  dimensions          = { CacheClusterId = aws_elasticache_cluster.this.cluster_id }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 1000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
}
