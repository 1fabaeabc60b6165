# What runs: nothing is asked of AWS.

mock_provider "aws" {}

variables {
  environment     = "test"
  region          = "us-east-1"
  account_id      = "123456789012"
  zones           = ["us-east-1a", "us-east-1b"]
  image           = "123456789012.dkr.ecr.us-east-1.amazonaws.com/soundoff:1"
  certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"
}

run "drain_must_end_before_the_balancer_cuts" {
  command = plan
  variables {
    drain_seconds                = 100
    deregistration_delay_seconds = 100
  }
  expect_failures = [var.deregistration_delay_seconds]
}

run "fargate_kills_after_120_seconds" {
  command = plan
  variables {
    drain_seconds                = 101
    deregistration_delay_seconds = 200
  }
  expect_failures = [var.drain_seconds]
}

run "a_socket_may_be_silent_between_pings" {
  command = plan
  variables {
    idle_timeout_seconds = 60
  }
  expect_failures = [var.idle_timeout_seconds]
}

run "only_tls" {
  command = plan
  variables {
    certificate_arn = null
  }
  expect_failures = [var.certificate_arn]
}

run "a_service_that_is_none" {
  command = plan
  variables {
    services = { egde = { max = 3 } }
  }
  expect_failures = [var.services]
}

run "cloudfront_asks_the_public_name" {
  command = plan
  variables {
    create_cdn = true
  }
  expect_failures = [var.cdn_origin]
}

run "processes_are_told" {
  command = plan
  variables {
    media_max_age_seconds = 60
    media_purge_url       = "https://hooks.example.org/purge"
  }

  assert {
    condition     = output.environment["SOUNDOFF_MEDIA_MAX_AGE_S"] == "60" && output.environment["SOUNDOFF_MEDIA_PURGE_URL"] == "https://hooks.example.org/purge"
    error_message = "Processes know how long caches keep a picture, and who tells them to forget it."
  }

  assert {
    condition     = output.environment["SOUNDOFF_MEMCACHED_TLS"] == "true" && output.environment["SOUNDOFF_PROXIES"] == "1"
    error_message = "Processes speak TLS to the cache, and take a client's address from the one balancer."
  }

  assert {
    condition     = output.environment["SOUNDOFF_DRAIN_MS"] == "100000" && output.environment["SOUNDOFF_ARCHIVE_STREAM"] == "soundoff-test-archive" && output.environment["SOUNDOFF_MEDIA_BUCKET"] == "soundoff-test-media-123456789012"
    error_message = "How long to drain, where to archive, where pictures are stored."
  }
}

run "least_privilege" {
  command = plan
  variables {
    create_compute   = false
    create_dashboard = false
  }

  # The key's ARN is known only after it is made.
  override_resource {
    target          = module.secrets.aws_kms_key.this
    override_during = plan
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/k", key_id = "k" }
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : !strcontains(policy, "\"Resource\":\"*\"") && !strcontains(policy, "\"*\"") && !strcontains(policy, ":*\"")])
    error_message = "No process's role names every resource or every action."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.policies["edge"]).Statement : statement.Resource if statement.Sid == "Send"
    ])) == toset(["arn:aws:sqs:us-east-1:123456789012:soundoff-test-main_q"])
    error_message = "An edge sends to main_q and nowhere else."
  }

  assert {
    condition     = !strcontains(output.policies["edge"], "sqs:ReceiveMessage") && !strcontains(output.policies["edge"], "post_create_q")
    error_message = "An edge pulls nothing."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(output.policies["router"]).Statement : statement.Resource if statement.Sid == "Pull"
    ])) == toset([for name in ["archive_late_q", "main_q"] : "arn:aws:sqs:us-east-1:123456789012:soundoff-test-${name}*"])
    error_message = "The router pulls main_q and what the archive did not take, and nothing else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(output.policies["router"]).Statement : tolist(statement.Resource) == tolist(["arn:aws:dynamodb:us-east-1:123456789012:table/soundoff-test-relationships"])
      if contains(["Read", "Scan", "Write", "WriteRelationships"], statement.Sid)
    ]) && strcontains(output.policies["router"], "\"pseudonym#*\"") && !strcontains(output.policies["router"], "s3:GetObject")
    error_message = "The router reads relationships, writes pseudonyms, and touches no other table and no picture."
  }

  assert {
    condition = alltrue([
      for name, queue in jsondecode(file("deployment.json")).queues : can(regex("soundoff-test-${name}\\*?\"", output.policies["router"])) != queue.side
    ])
    error_message = "The router sends to each queue of the catalog, and to no side queue."
  }

  assert {
    condition = length([for queue in jsondecode(file("deployment.json")).queues : 1 if queue.side]) > 3 && alltrue([
      for name, queue in jsondecode(file("deployment.json")).queues : anytrue([
        for statement in jsondecode(output.policies[queue.tier]).Statement : contains(statement.Action, "sqs:SendMessage") && contains(statement.Resource, "arn:aws:sqs:us-east-1:123456789012:soundoff-test-${name}*")
      ]) if queue.side
    ])
    error_message = "Who pulls a side queue moves messages there."
  }

  # What each service does to tables is what the features declare for it, no more and no less.
  assert {
    condition = {
      for service, policy in output.policies : service => {
        for statement in jsondecode(policy).Statement : statement.Sid => [for resource in statement.Resource : trimprefix(resource, "arn:aws:dynamodb:us-east-1:123456789012:table/soundoff-test-")]
        if contains(["Read", "Scan", "Write"], statement.Sid)
      }
      } == {
      for service, may in jsondecode(file("deployment.json")).services : service => {
        for sid, tables in { Read = may.reads, Scan = may.scans, Write = may.writes } : sid => tables if length(tables) > 0
      }
    }
    error_message = "A service reads or writes a table that is none of its business, or may not reach one that is."
  }

  # Token keys, sign-ins and identities are in the same table as clocks and posts.
  assert {
    condition = {
      for service, policy in output.policies : service => {
        for statement in jsondecode(policy).Statement : statement.Resource[0] => statement.Condition if startswith(statement.Sid, "Write") && statement.Sid != "Write"
      }
      } == {
      for service, may in jsondecode(file("deployment.json")).services : service => {
        for table, patterns in may.partitions : "arn:aws:dynamodb:us-east-1:123456789012:table/soundoff-test-${table}" => { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = patterns } }
      }
    }
    error_message = "A service writes items of a table that other services keep there, or may not write its own."
  }

  assert {
    condition = [
      for service, policy in output.policies : service if anytrue([
        for statement in jsondecode(policy).Statement : contains(statement.Action, "dynamodb:PutItem") && contains(statement.Resource, "arn:aws:dynamodb:us-east-1:123456789012:table/soundoff-test-entities") && (!can(statement.Condition) || strcontains(jsonencode(statement), "token-keys"))
      ])
    ] == ["users"]
    error_message = "Only the User service makes token keys."
  }

  # The right to pull a queue is that to its dead letters, too: operators deal with them on the pages of those who pull it.
  assert {
    condition = length(output.policies) > 0 && alltrue([
      for one in keys(jsondecode(file("deployment.json")).queues) : alltrue([
        for other in keys(jsondecode(file("deployment.json")).queues) : one == other || !startswith(other, one)
      ])
    ])
    error_message = "The name of a queue begins with another's: who pulls the one could pull both."
  }

  # Each sends to its own queues too (of a pack, what is to be tried again) and to their DLQs: with the right to pull.
  assert {
    condition = {
      for service, policy in output.policies : service => [
        for name in flatten([for statement in jsondecode(policy).Statement : statement.Resource if statement.Sid == "Send"]) : trimprefix(name, "arn:aws:sqs:us-east-1:123456789012:soundoff-test-")
        if service != "router" && !contains(flatten([for statement in jsondecode(policy).Statement : statement.Resource if statement.Sid == "Pull"]), "${trimsuffix(name, "_dlq")}*")
      ]
      } == {
      for service, may in jsondecode(file("deployment.json")).services : service => [
        for name in may.sends : name if service != "router" && !contains(may.pulls, name)
      ]
    }
    error_message = "A service sends to a queue that is none of its business, or may not reach one that is."
  }

  assert {
    condition = {
      for service, policy in output.policies : service => length([
        for statement in jsondecode(policy).Statement : statement if length(setsubtract(statement.Action, [
          "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:SendMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl",
          "dynamodb:DescribeTable", "dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan",
          "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem",
          "firehose:DescribeDeliveryStream", "firehose:PutRecordBatch",
          "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "kms:Decrypt", "kms:GenerateDataKey",
        ])) > 0
      ])
    } == { for service in keys(output.policies) : service => 0 }
    error_message = "An action is granted that no adapter in aws/src calls."
  }

  assert {
    condition     = alltrue([for policy in values(output.policies) : length(policy) <= 10240])
    error_message = "IAM takes 10,240 characters of inline policy for a role."
  }

  assert {
    condition     = [for name, policy in output.policies : name if strcontains(policy, "firehose:")] == ["router"]
    error_message = "Only the router archives."
  }

  assert {
    condition     = [for name, policy in output.policies : name if strcontains(policy, "dynamodb:Scan")] == ["schedule"]
    error_message = "Only the schedule scans the users."
  }

  assert {
    condition = alltrue([
      for name in keys(jsondecode(file("deployment.json")).queues) : length([
        for policy in values(output.policies) : 1
        if length([for statement in jsondecode(policy).Statement : 1 if statement.Sid == "Pull" && contains(statement.Resource, "arn:aws:sqs:us-east-1:123456789012:soundoff-test-${name}*")]) > 0
      ]) == 1
    ])
    error_message = "Each queue is pulled by exactly one service."
  }
}
