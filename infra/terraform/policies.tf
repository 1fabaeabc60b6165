# What each process may do, and nothing else. All names are known in advance, so ARNs are written out and a plan shows
# them in full.

locals {
  prefix = "${var.name}-${var.environment}-"

  # What the features of the code declare: `./generate` writes it, and debug builds of the code hold each service to it.
  deployment = jsondecode(file("${path.module}/deployment.json"))
  queues     = local.deployment.queues
  declared   = local.deployment.services

  sqs    = "arn:aws:sqs:${var.region}:${var.account_id}:${local.prefix}"
  ddb    = "arn:aws:dynamodb:${var.region}:${var.account_id}:table/${local.prefix}"
  stream = "arn:aws:firehose:${var.region}:${var.account_id}:deliverystream/${local.prefix}archive"
  media  = "arn:aws:s3:::${local.prefix}media-${var.account_id}"

  all_tables = ["users", "entities", "relationships", "inbox", "dedupe"]

  statements = {
    for service, may in local.declared : service => [
      for statement in concat([
        {
          # It sends to its own queues as well: of a pack, what is to be tried again goes back on its own, and what is hot
          # moves aside. It buries, and operators on its page /ops see and move the dead letters of its own queues: so
          # the name of a queue stands for its `_dlq`, too. No queue's name begins with another's. All this is said here
          # and not below, since a role has 10,240 characters for all of it.
          Sid      = "Pull"
          Effect   = "Allow"
          Action   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility", "sqs:SendMessage"]
          Resource = [for name in may.pulls : "${local.sqs}${name}*"]
        },
        {
          Sid      = "Send"
          Effect   = "Allow"
          Action   = ["sqs:SendMessage"]
          Resource = [for name in may.sends : "${local.sqs}${name}" if !contains(may.pulls, name)]
        },
        {
          # Each process checks at its start that everything exists, by name; later that queues and DLQs answer, and how
          # full they are.
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
          Resource = may.blobs ? [local.media] : []
        },
        {
          Sid      = "Read"
          Effect   = "Allow"
          Action   = ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query"]
          Resource = [for table in may.reads : "${local.ddb}${table}"]
        },
        {
          Sid      = "Scan"
          Effect   = "Allow"
          Action   = ["dynamodb:Scan"]
          Resource = [for table in may.scans : "${local.ddb}${table}"]
        },
        {
          Sid      = "Write"
          Effect   = "Allow"
          Action   = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"]
          Resource = [for table in may.writes : "${local.ddb}${table}"]
        },
        {
          Sid      = "Archive"
          Effect   = "Allow"
          Action   = ["firehose:DescribeDeliveryStream", "firehose:PutRecordBatch"]
          Resource = may.archive ? [local.stream] : []
        },
        {
          Sid      = "Pictures"
          Effect   = "Allow"
          Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
          Resource = may.blobs ? ["${local.media}/*"] : []
        },
        {
          Sid       = "Unseal"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = length(concat(may.reads, may.scans)) > 0 || may.blobs ? [module.secrets.kms_key_arn] : []
          Condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${var.region}.amazonaws.com", "s3.${var.region}.amazonaws.com"] } }
        },
        ], [
        # Of a table with items of several services it writes the partitions of its own, and no others.
        for table, patterns in may.partitions : {
          Sid       = "Write${title(table)}"
          Effect    = "Allow"
          Action    = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:ConditionCheckItem"]
          Resource  = ["${local.ddb}${table}"]
          Condition = { "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = patterns } }
        }
      ]) : statement if length(statement.Resource) > 0
    ]
  }
}
