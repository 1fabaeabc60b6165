# What each process may do, and nothing else. All names are known in advance, so ARNs are written out and a plan shows them in full.

locals {
  prefix = "${var.name}-${var.environment}-"
  queues = jsondecode(file("${path.module}/queues.json"))

  sqs    = "arn:aws:sqs:${var.region}:${var.account_id}:${local.prefix}"
  ddb    = "arn:aws:dynamodb:${var.region}:${var.account_id}:table/${local.prefix}"
  stream = "arn:aws:firehose:${var.region}:${var.account_id}:deliverystream/${local.prefix}archive"
  media  = "arn:aws:s3:::${local.prefix}media-${var.account_id}"

  by_tier  = { for tier in ["router", "workers", "timeline", "media"] : tier => [for name, queue in local.queues : name if queue.tier == tier] }
  stages   = { schedule = ["schedule_q"], compute = ["precompute_q"], personalize = ["personalize_q"] }
  fetching = [for name in local.by_tier.timeline : name if !contains(flatten(values(local.stages)), name)]

  # Which queues a service pulls.
  pulls = merge(local.stages, {
    edge    = []
    users   = []
    router  = local.by_tier.router
    workers = concat(local.by_tier.workers, local.by_tier.media)
    fetch   = local.fetching
  })

  # Which it sends to, besides the DLQs of those it pulls: clients' messages go through main_q, what follows from a message straight to its type's queues.
  sends = {
    edge        = ["main_q"]
    users       = ["media_check_q"]
    router      = [for name in keys(local.queues) : name if name != "main_q"]
    workers     = ["fanout_q", "recent_q", "media_check_q", "media_checked_q"]
    schedule    = ["schedule_q", "precompute_q"]
    compute     = ["personalize_q"]
    personalize = []
    fetch       = ["precompute_q"]
  }

  all_tables = ["users", "entities", "relationships", "inbox", "dedupe"]
  reads = {
    edge        = ["users", "entities", "relationships", "inbox"]
    users       = ["users", "entities"]
    router      = []
    workers     = local.all_tables
    schedule    = []
    compute     = ["users", "entities", "relationships"]
    personalize = ["relationships"]
    fetch       = ["users", "entities", "relationships"]
  }
  scans = { schedule = ["users"] }
  writes = {
    edge        = ["inbox"]
    users       = ["users", "entities"]
    router      = []
    workers     = local.all_tables
    schedule    = []
    compute     = []
    personalize = []
    fetch       = ["users"]
  }

  # The router answers senders of what it gives up; everybody who replies reads only the cache, which is no matter of IAM.
  archives = ["router"]
  pictures = ["users", "workers"]

  statements = {
    for service in keys(local.pulls) : service => [
      for statement in [
        {
          Sid      = "Pull"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
          Resource = [for name in local.pulls[service] : "${local.sqs}${name}"]
        },
        {
          # For operators on the process's page /ops: see and move the dead letters of its own queues.
          Sid      = "Redrive"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
          Resource = [for name in local.pulls[service] : "${local.sqs}${name}_dlq"]
        },
        {
          Sid    = "Send"
          Effect = "Allow"
          Action = ["sqs:SendMessage"]
          # To its own queues as well: of a pack, what is to be tried again goes back on its own.
          Resource = distinct([for name in concat(local.sends[service], local.pulls[service], [for name in local.pulls[service] : "${name}_dlq"]) : "${local.sqs}${name}"])
        },
        {
          # Each process checks at its start that everything exists, by name; later that queues and DLQs answer, and how full they are.
          Sid      = "Find"
          Effect   = "Allow"
          Action   = ["sqs:GetQueueUrl", "sqs:GetQueueAttributes"]
          Resource = ["${local.sqs}*"]
        },
        {
          Sid      = "FindTables"
          Effect   = "Allow"
          Action   = ["dynamodb:DescribeTable"]
          Resource = [for table in local.all_tables : "${local.ddb}${table}"]
        },
        {
          Sid      = "FindPictures"
          Effect   = "Allow"
          Action   = ["s3:ListBucket"]
          Resource = contains(local.pictures, service) ? [local.media] : []
        },
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"]
          Resource = [for table in local.reads[service] : "${local.ddb}${table}"]
        },
        {
          Sid      = "Scan"
          Effect   = "Allow"
          Action   = ["dynamodb:Scan"]
          Resource = [for table in lookup(local.scans, service, []) : "${local.ddb}${table}"]
        },
        {
          Sid      = "Write"
          Effect   = "Allow"
          Action   = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"]
          Resource = [for table in local.writes[service] : "${local.ddb}${table}"]
        },
        {
          Sid      = "Archive"
          Effect   = "Allow"
          Action   = ["firehose:DescribeDeliveryStream", "firehose:PutRecordBatch"]
          Resource = contains(local.archives, service) ? [local.stream] : []
        },
        {
          Sid      = "Pictures"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
          Resource = contains(local.pictures, service) ? ["${local.media}/*"] : []
        },
        {
          Sid       = "Unseal"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = length(concat(local.reads[service], lookup(local.scans, service, []))) > 0 || contains(local.pictures, service) ? [module.secrets.kms_key_arn] : []
          Condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${var.region}.amazonaws.com", "s3.${var.region}.amazonaws.com"] } }
        },
      ] : statement if length(statement.Resource) > 0
    ]
  }
}
