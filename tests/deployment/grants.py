"""Services that may do only what their policy says, on a stand-in that enforces policies (MiniStack with AUTH=true)."""

import json
import os
import pathlib
import secrets

import boto3
from botocore.exceptions import ClientError

# AWS checks a batch by the right to one of its kind. MiniStack 1.5 asks for rights of these names, which AWS does not
# know.
BATCHES = {
    "sqs:SendMessage": "sqs:SendMessageBatch",
    "sqs:DeleteMessage": "sqs:DeleteMessageBatch",
    "sqs:ChangeMessageVisibility": "sqs:ChangeMessageVisibilityBatch",
}


def as_ministack_asks(policy):
    document = json.loads(policy)
    for statement in document["Statement"]:
        statement["Action"] += [BATCHES[action] for action in statement["Action"] if action in BATCHES]
    return json.dumps(document)


def client(service, keys=None):
    names = {"AWS_ACCESS_KEY_ID": "aws_access_key_id", "AWS_SECRET_ACCESS_KEY": "aws_secret_access_key"}
    more = {names[name]: value for name, value in (keys or {}).items()}
    return boto3.client(service, endpoint_url=os.environ["TEST_MINISTACK"], region_name="us-east-1", **more)


def hold_to_policies(policies, media_bucket):
    """The keys of a principal for each service, as environment. It has only the service's policy; this is proven."""
    iam, keys, run = client("iam"), {}, secrets.token_hex(4)
    for name, policy in policies.items():
        user = f"{name}-{run}"
        iam.create_user(UserName=user)
        iam.put_user_policy(UserName=user, PolicyName="work", PolicyDocument=as_ministack_asks(policy))
        key = iam.create_access_key(UserName=user)["AccessKey"]
        keys[name] = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    must_refuse(lambda: client("sqs", keys["edge"]).list_queues(), "policies are not enforced: start the stand-in with AUTH=true")
    # The bucket's own policy refuses requests without TLS, and this stand-in speaks none.
    must_refuse(lambda: client("s3", keys["workers"]).head_bucket(Bucket=media_bucket), "the media bucket is open without TLS")
    client("s3").delete_bucket_policy(Bucket=media_bucket)
    return keys


def must_refuse(ask, otherwise):
    try:
        ask()
    except ClientError as refusal:
        assert refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 403, refusal
        return
    raise SystemExit(otherwise)


def denied(logs):
    """Requests that services were refused, from the processes' logs."""
    found = []
    for path in filter(pathlib.Path.is_file, logs.iterdir()):
        lines = [line for line in path.read_text().splitlines() if "not authorized" in line or "AccessDenied" in line]
        found += [f"{path.name} was refused something, {len(lines)} times; at first: {line[:400]}" for line in lines[:1]]
    return found
