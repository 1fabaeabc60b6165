#!/usr/bin/env python3
"""Asserts what a plan of examples/complete says: `terraform show -json FILE | plan.py DEPLOYMENT.JSON`. Standard library only."""
import json
import sys


def resources(module):
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from resources(child)


def main():
    deployment = json.load(open(sys.argv[1]))
    catalog = deployment["queues"]
    every = list(resources(json.load(sys.stdin)["planned_values"]["root_module"]))

    def of(kind):
        return [r.get("values", {}) for r in every if r["type"] == kind]

    faults = []

    def check(holds, what):
        if not holds:
            faults.append(what)

    names = {q["name"] for q in of("aws_sqs_queue")}
    wanted = {f"soundoff-prod-{name}{end}" for name in catalog for end in ("", "_dlq")}
    check(names == wanted, f"queues differ from the catalog: {sorted(names ^ wanted)}")
    check(all(q["sqs_managed_sse_enabled"] for q in of("aws_sqs_queue")), "a queue is not encrypted")

    services = {s["name"] for s in of("aws_ecs_service")}
    roles = set(deployment["services"])
    check(services == roles, f"services are {sorted(services)}")
    check(all(not n["assign_public_ip"] for s in of("aws_ecs_service") for n in s["network_configuration"]), "a task has a public address")

    groups = of("aws_lb_target_group")
    check(len(groups) == 2 and all(int(g["deregistration_delay"]) > 110 for g in groups), "the balancer cuts before the drain ends")
    check(all(l["protocol"] == "HTTPS" and l["port"] == 443 for l in of("aws_lb_listener")), "a listener without TLS")
    check(all(l["ssl_policy"] == "ELBSecurityPolicy-TLS13-1-2-Res-2021-06" for l in of("aws_lb_listener")), "a listener takes old TLS, or ciphers with CBC")
    check(len(of("aws_wafv2_web_acl_association")) == 1, "no WAF before the balancer")
    paths = {p for r in of("aws_lb_listener_rule") for c in r["condition"] for e in c["path_pattern"] for p in e["values"]}
    pages = {pattern for path in deployment["services"]["users"]["paths"] for pattern in (path, f"{path}/*")}
    check({"/v1/auth/*", "/v1/media/*", "/", "/app/*", "/client/*"} | pages <= paths, f"paths of the User service are missing: {sorted(paths)}")

    opened = [r for r in of("aws_vpc_security_group_ingress_rule") if r.get("cidr_ipv4") == "0.0.0.0/0"]
    check([r["from_port"] for r in opened] == [443], "something besides 443 is open to the world")
    check(all(c["transit_encryption_enabled"] and c["engine"] == "memcached" for c in of("aws_elasticache_cluster")), "the cache speaks in clear")
    check(len(of("aws_s3_bucket")) == len(of("aws_s3_bucket_public_access_block")) == 3, "a bucket without public access block")
    heard = [(q["filter_prefix"], q["filter_suffix"]) for n in of("aws_s3_bucket_notification") for q in n["queue"]]
    check(heard == [("media/", ".raw")] and len(of("aws_sqs_queue_policy")) == 1, "no queue is notified of uploads")
    check(len(of("aws_dynamodb_table")) == 5, "five tables")
    check(not of("aws_secretsmanager_secret_version"), "the secret is in Terraform's state")

    secrets = {s["name"] for s in of("aws_secretsmanager_secret")}
    kept = {f"soundoff-prod-secret-{service['secret']}" for service in deployment["services"].values()}
    check(secrets == kept, f"secrets are {sorted(secrets)}")
    starting = [r for r in every if r["type"] == "aws_iam_role_policy" and r["name"] == "execution"]
    check({r["index"] for r in starting} == roles, "services share what starts them, and so what it reads")

    pulled = {m["metric_stat"][0]["metric"][0]["dimensions"][0]["value"]
              for p in of("aws_appautoscaling_policy") for t in p["target_tracking_scaling_policy_configuration"]
              for c in t["customized_metric_specification"] for m in c["metrics"]
              if m["metric_stat"] and m["metric_stat"][0]["metric"][0]["namespace"] == "AWS/SQS"}
    scaling = {f"soundoff-prod-{name}" for name, queue in catalog.items() if not queue["side"]}
    check(pulled == scaling, "a queue scales nobody, or a side queue somebody")
    check(all("FILL(running,0)>0" in m["expression"] or "/" not in m["expression"]
              for p in of("aws_appautoscaling_policy") for t in p["target_tracking_scaling_policy_configuration"]
              for c in t["customized_metric_specification"] for m in c["metrics"] if m.get("expression")), "an unguarded division")

    policies = [p["name"] for p in of("aws_appautoscaling_policy")]
    scaled = {name.removeprefix("soundoff-prod-").removesuffix("-cpu").removesuffix("-0") for name in policies if name.endswith("-cpu")}
    check(scaled == roles and len(set(policies)) == len(policies), f"not every service scales on its processors: {sorted(roles - scaled)}")

    for fault in faults:
        print(f"plan: {fault}", file=sys.stderr)
    print(f"plan: {len(every)} resources, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
