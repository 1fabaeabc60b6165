output "addresses" {
  description = "host:port of every node, for SOUNDOFF_MEMCACHED."
  value       = [for node in aws_elasticache_cluster.this.cache_nodes : "${node.address}:${node.port}"]
}
