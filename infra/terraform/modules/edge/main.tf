# The public entry. An ALB, not an NLB: one name serves websockets, sign-in and media by path, a WAF can stand in front
# of it, TLS ends here, and we can set its idle timeout. An NLB's advantages (a static address, no billing by new
# connections and rules) are worth less here: sockets live long, and a balancer that picks the least loaded edge spreads
# a reconnect herd.

locals {
  # The app, and the pages of all features: each of their paths and all below it.
  users_patterns = concat(["/", "/app/*", "/client/*"], flatten([for path in var.users_paths : [path, "${path}/*"]]))
  # A rule has at most five of them.
  users_rules = { for at, patterns in chunklist(local.users_patterns, 5) : 10 + at => patterns }
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}public"
  description = "The load balancer"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "tls" {
  security_group_id = aws_security_group.this.id
  description       = "TLS from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:deletion_protection is on unless a test turns it off
  #checkov:skip=CKV2_AWS_76:AWSManagedRulesKnownBadInputsRuleSet is the web ACL's third rule
  #checkov:skip=CKV_AWS_91:access logs would hold users' addresses; what the WAF blocks is logged
  name                       = "${var.prefix}public"
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.subnet_ids
  security_groups            = [aws_security_group.this.id]
  idle_timeout               = var.idle_timeout_seconds
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection
}

resource "aws_lb_target_group" "this" {
  #checkov:skip=CKV_AWS_378:TLS ends at the balancer; the way to the tasks is inside the VPC, between two security groups
  for_each = { edge = "least_outstanding_requests", users = "round_robin" }

  name                          = "${var.prefix}${each.key}"
  vpc_id                        = var.vpc_id
  target_type                   = "ip"
  protocol                      = "HTTP"
  port                          = 8080
  load_balancing_algorithm_type = each.value
  deregistration_delay          = var.deregistration_delay_seconds

  health_check {
    path                = "/readyz?own"
    port                = "9090"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "tls" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = 443
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
  certificate_arn   = var.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["edge"].arn
  }
}

resource "aws_lb_listener_rule" "users" {
  for_each = local.users_rules

  listener_arn = aws_lb_listener.tls.arn
  priority     = each.key

  condition {
    path_pattern {
      values = each.value
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["users"].arn
  }
}

# The internal port's paths are on another port. Should one ever appear on the public port, it stays closed.
resource "aws_lb_listener_rule" "internal" {
  listener_arn = aws_lb_listener.tls.arn
  priority     = 5

  condition {
    path_pattern {
      values = ["/deliver*", "/metrics", "/ops*", "/dev/*"]
    }
  }

  action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = "not found"
      status_code  = "404"
    }
  }
}

resource "aws_wafv2_web_acl" "this" {
  name        = "${var.prefix}public"
  description = "In front of the load balancer"
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate"
    priority = 1
    action {
      block {}
    }
    statement {
      rate_based_statement {
        limit              = var.requests_per_5_minutes
        aggregate_key_type = "IP"

        # CloudFront asks for the pictures of many from few addresses. The media pages have limits of their own.
        dynamic "scope_down_statement" {
          for_each = var.pictures_by_cdn ? [1] : []
          content {
            not_statement {
              statement {
                byte_match_statement {
                  positional_constraint = "STARTS_WITH"
                  search_string         = "/v1/media/"
                  field_to_match {
                    uri_path {}
                  }
                  text_transformation {
                    priority = 0
                    type     = "NONE"
                  }
                }
              }
            }
          }
        }
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = false
    }
  }

  rule {
    name     = "common"
    priority = 2
    override_action {
      none {}
    }
    statement {
      managed_rule_group_statement {
        vendor_name = "AWS"
        name        = "AWSManagedRulesCommonRuleSet"
        # An upload is larger than 8 KB, and the media pages have limits of their own.
        rule_action_override {
          name = "SizeRestrictions_BODY"
          action_to_use {
            count {}
          }
        }
        # A picture's bytes may look like anything; they are decoded and encoded again.
        rule_action_override {
          name = "CrossSiteScripting_BODY"
          action_to_use {
            count {}
          }
        }
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "common"
      sampled_requests_enabled   = false
    }
  }

  rule {
    name     = "known-bad-inputs"
    priority = 3
    override_action {
      none {}
    }
    statement {
      managed_rule_group_statement {
        vendor_name = "AWS"
        name        = "AWSManagedRulesKnownBadInputsRuleSet"
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "known-bad-inputs"
      sampled_requests_enabled   = false
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "public"
    sampled_requests_enabled   = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  resource_arn = aws_lb.this.arn
  web_acl_arn  = aws_wafv2_web_acl.this.arn
}

resource "aws_cloudwatch_log_group" "waf" {
  name              = "aws-waf-logs-${var.prefix}public"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

# Only blocked requests are logged, and no token.
resource "aws_wafv2_web_acl_logging_configuration" "this" {
  resource_arn            = aws_wafv2_web_acl.this.arn
  log_destination_configs = [aws_cloudwatch_log_group.waf.arn]

  redacted_fields {
    single_header {
      name = "authorization"
    }
  }

  logging_filter {
    default_behavior = "DROP"
    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"
      condition {
        action_condition {
          action = "BLOCK"
        }
      }
    }
  }
}
