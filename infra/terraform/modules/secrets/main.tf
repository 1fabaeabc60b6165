# One key for everything at rest, and a secret for each role, with the keys that its processes need. Terraform sees none
# of them: its state would hold them in plain text. The root, from which they are derived, is not in AWS at all.

resource "aws_kms_key" "this" {
  description             = "${var.prefix}data at rest"
  enable_key_rotation     = true
  deletion_window_in_days = 30

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountDecidesByIam"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::${var.account_id}:root" }
        Action    = "kms:*"
        # In a key's own policy `*` is this key.
        Resource = "*"
      },
      {
        Sid       = "Logs"
        Effect    = "Allow"
        Principal = { Service = "logs.${var.region}.amazonaws.com" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:Describe*"]
        Resource  = "*"
        Condition = { ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:${var.region}:${var.account_id}:*" } }
      },
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        Resource  = "*"
        Condition = { StringEquals = { "aws:SourceAccount" = var.account_id } }
      },
    ]
  })
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.prefix}data"
  target_key_id = aws_kms_key.this.key_id
}

resource "aws_secretsmanager_secret" "role" {
  #checkov:skip=CKV2_AWS_57:it follows from the root, which an operator rotates with `soundoff secret rotate` (docs/sign-in.md)
  for_each = var.roles

  name                    = "${var.prefix}secret-${each.key}"
  description             = "What `soundoff secret derive --role ${each.key}` prints. Fill it by hand: see README.md."
  kms_key_id              = aws_kms_key.this.arn
  recovery_window_in_days = 30
}

# In 0.1.0 every process was given the root. Its secret stays in AWS until an operator has fetched the root and deletes it.
removed {
  from = aws_secretsmanager_secret.this

  lifecycle {
    destroy = false
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.prefix}alarms"
  kms_master_key_id = aws_kms_key.this.arn
}
