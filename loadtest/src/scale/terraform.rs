//! The deployment as infra/terraform describes it: services, queues, and the rule by which services grow.
//!
//! All of it is read from the files of that folder, as they were at build time or as they are in a given folder.
//! Queues, and the service that pulls each, come from deployment.json, which is generated from the features.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use hcl::eval::{Context, Evaluate as _, FuncDef, ParamType};
use hcl::{Block, Body, Expression, Value};
use serde::Deserialize;

/// The files that are read, with their text at build time.
const FILES: [(&str, &str); 5] = [
    (GENERATED, include_str!("../../../infra/terraform/deployment.json")),
    ("main.tf", include_str!("../../../infra/terraform/main.tf")),
    ("variables.tf", include_str!("../../../infra/terraform/variables.tf")),
    ("modules/services/scaling.tf", include_str!("../../../infra/terraform/modules/services/scaling.tf")),
    ("modules/queues/variables.tf", include_str!("../../../infra/terraform/modules/queues/variables.tf")),
];
/// Queues and services, as `soundoff deployment` prints them.
const GENERATED: &str = "deployment.json";
/// The service that pulls no queue and takes the sockets.
pub(crate) const EDGE: &str = "edge";

/// A service's size and how it grows.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Service {
    /// In 1024ths of a processor.
    pub(crate) cpu: u32,
    /// In MiB.
    pub(crate) memory: u32,
    /// The fewest tasks.
    pub(crate) min: u32,
    /// The most tasks.
    pub(crate) max: u32,
    /// Whether all tasks but the first are spot.
    pub(crate) spot: bool,
    /// Visible messages for each task that are acceptable.
    pub(crate) backlog_per_task: f64,
    /// Seconds between two steps up.
    pub(crate) out_cooldown: u32,
    /// Seconds between two steps down.
    pub(crate) in_cooldown: u32,
}

/// A queue, as its feature declares it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Row {
    /// Its MessageType; empty for main_q.
    #[serde(rename = "type")]
    pub(crate) message_type: String,
    /// Whether its messages go to the archive.
    pub(crate) archived: bool,
    /// Whether it is a type's side queue. The simulation has no hot posts, so it leaves them out.
    pub(crate) side: bool,
    /// How many of its messages a task handles at once; as configured where there is none.
    pub(crate) slots: Option<u32>,
    /// How many pushes and events one message can cause.
    pub(crate) tells: usize,
    /// Whether clients send it and wait for its reply.
    pub(crate) replies: bool,
}

/// What deployment.json says of a service, as far as the simulation needs it.
#[derive(Debug, Deserialize)]
struct Grants {
    pulls: Vec<String>,
}

/// The content of deployment.json.
#[derive(Debug, Deserialize)]
struct Generated {
    queues: BTreeMap<String, Row>,
    services: BTreeMap<String, Grants>,
}

/// Everything that the simulation reads of the deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deployment {
    /// By name.
    pub(crate) services: BTreeMap<String, Service>,
    /// By name.
    pub(crate) queues: BTreeMap<String, Row>,
    /// The queues that each service pulls, in the order of deployment.json.
    pub(crate) pulls: BTreeMap<String, Vec<String>>,
    /// How many queues share a policy.
    pub(crate) chunk: usize,
    /// The percentage of busy processors that services aim at, by name.
    pub(crate) processors: BTreeMap<String, f64>,
    /// The percentage of memory, for services that aim at one.
    pub(crate) memory: BTreeMap<String, f64>,
    /// Seconds between two alarms that start a first task.
    pub(crate) wake_cooldown: u32,
    /// How many minutes such an alarm looks at.
    pub(crate) wake_periods: u32,
    /// The visibility timeout in seconds.
    pub(crate) visibility: f64,
    /// Cache nodes.
    pub(crate) cache_nodes: u32,
    /// Their type.
    pub(crate) cache_node_type: String,
}

/// The texts of the files.
struct Texts(BTreeMap<&'static str, String>);

impl Texts {
    fn read(folder: Option<&Path>) -> Result<Self> {
        let text = |(name, built): &(&'static str, &str)| -> Result<_> {
            let text = match folder {
                Some(folder) => {
                    let path = folder.join(name);
                    let missing = || {
                        format!("cannot read {}: --terraform is the folder infra/terraform", path.display())
                    };
                    std::fs::read_to_string(&path).with_context(missing)?
                }
                None => (*built).to_owned(),
            };
            Ok((*name, text))
        };
        Ok(Self(FILES.iter().map(text).collect::<Result<_>>()?))
    }

    fn body(&self, name: &str) -> Result<Body> {
        hcl::parse(&self.0[name]).with_context(|| format!("{name} is no HCL"))
    }
}

impl Deployment {
    /// Reads `folder`, or what was built in.
    ///
    /// # Errors
    /// A file is missing, or does not have what is read from it.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self> {
        let texts = Texts::read(folder)?;
        let generated: Generated = serde_json::from_str(&texts.0[GENERATED]).context(GENERATED)?;
        let sizes = local(&texts.body("main.tf")?, "sizes")?;
        let services: BTreeMap<String, Service> = hcl::from_value(sizes).context("the sizes in main.tf")?;
        let mut queues = generated.queues;
        queues.retain(|_, queue| !queue.side);
        let pulled = |(name, mut service): (String, Grants)| {
            service.pulls.retain(|queue| queues.contains_key(queue));
            (name, service.pulls)
        };
        let pulls: BTreeMap<String, Vec<String>> = generated.services.into_iter().map(pulled).collect();
        if let Some(name) = services.keys().find(|name| !pulls.contains_key(*name)) {
            bail!("main.tf has a size for the service {name}, which is not in {GENERATED}");
        }
        if let Some(name) = pulls.keys().find(|name| !services.contains_key(*name)) {
            bail!("the service {name} is in {GENERATED}, and the sizes in main.tf have no row for it");
        }
        let variables = texts.body("variables.tf")?;
        let scaling = texts.body("modules/services/scaling.tf")?;
        let wake = resource(&scaling, "aws_appautoscaling_policy", "wake")?;
        let alarm = resource(&scaling, "aws_cloudwatch_metric_alarm", "wake")?;
        let chunk = texts.0["modules/services/scaling.tf"]
            .split_once("chunklist(service.queues, ")
            .and_then(|(_, rest)| rest.split(')').next()?.parse().ok())
            .context("scaling.tf has no chunklist(service.queues, N)")?;
        let names = names(&services, &pulls, chunk);
        let mut processors = targets(&scaling, "cpu", &names)?;
        processors.extend(targets(&scaling, "cpu_from_zero", &names)?);
        Ok(Self {
            chunk,
            processors,
            memory: targets(&scaling, "memory", &names)?,
            wake_cooldown: number(inside(wake, "step_scaling_policy_configuration")?, "cooldown")? as u32,
            wake_periods: number(&alarm.body, "evaluation_periods")? as u32,
            visibility: number(
                &variable(&texts.body("modules/queues/variables.tf")?, "visibility_seconds")?.body,
                "default",
            )?,
            cache_nodes: number(&variable(&variables, "cache_nodes")?.body, "default")? as u32,
            cache_node_type: match value(&variable(&variables, "cache_node_type")?.body, "default")? {
                Value::String(name) => name,
                other => bail!("cache_node_type is {other}"),
            },
            services,
            queues,
            pulls,
        })
    }

    /// Changes one number of a service, such as `workers.max=400`, as Terraform's variable `services` does.
    ///
    /// # Errors
    /// There is no such service or number.
    pub(crate) fn set(&mut self, change: &str) -> Result<()> {
        let shape = || format!("{change:?} should look like workers.max=400");
        let (name, number) = change.split_once('=').with_context(shape)?;
        let (service, field) = name.split_once('.').with_context(shape)?;
        let number: u32 = number.parse().with_context(shape)?;
        let names = self.services.keys().cloned().collect::<Vec<_>>().join(", ");
        let of = self
            .services
            .get_mut(service)
            .with_context(|| format!("no service {service:?}: there are {names}"))?;
        match field {
            "cpu" => of.cpu = number,
            "memory" => of.memory = number,
            "min" => of.min = number,
            "max" => of.max = number,
            "backlog_per_task" => of.backlog_per_task = f64::from(number),
            _ => bail!("no number {field:?}: there are cpu, memory, min, max and backlog_per_task"),
        }
        anyhow::ensure!(
            of.min <= of.max && of.max > 0 && of.cpu > 0,
            "{change}: min must not exceed max, and both cpu and max must be above 0"
        );
        Ok(())
    }
}

/// The names that scaling.tf uses where it says which services a policy is for: the services, and their queues in
/// chunks.
fn names(
    services: &BTreeMap<String, Service>,
    pulls: &BTreeMap<String, Vec<String>>,
    chunk: usize,
) -> Context<'static> {
    let scaled = services.iter().map(|(name, service)| {
        (name.clone(), hcl::value!({ min = (service.min), queues = (pulls[name].clone()) }))
    });
    let chunks = services.keys().flat_map(|name| {
        let chunks = 0..pulls[name].len().div_ceil(chunk);
        chunks.map(move |at| (format!("{name}-{at}"), hcl::value!({ service = (name.clone()) })))
    });
    let mut names = Context::new();
    let locals = [("scaled", scaled.collect::<Value>()), ("chunks", chunks.collect())];
    names.declare_var("local", locals.into_iter().collect::<Value>());
    let length = FuncDef::builder()
        .param(ParamType::array_of(ParamType::Any))
        .build(|list| Ok(list[0].as_array().map_or(0, Vec::len).into()));
    names.declare_func("length", length);
    names
}

/// The target of a target-tracking policy, for each service that its `for_each` names.
fn targets(scaling: &Body, policy: &str, names: &Context<'_>) -> Result<BTreeMap<String, f64>> {
    let found = resource(scaling, "aws_appautoscaling_policy", policy)?;
    let target = number(inside(found, "target_tracking_scaling_policy_configuration")?, "target_value")?;
    let each = attribute(&found.body, "for_each")?;
    let each = each.evaluate(names).with_context(|| format!("the services of the policy {policy}"))?;
    let each = each.as_object().with_context(|| format!("{policy}: for_each is no map"))?;
    let service = |(key, value): (&String, &Value)| {
        let named = value.as_object().and_then(|value| value.get("service")?.as_str());
        (named.unwrap_or(key).to_owned(), target)
    };
    Ok(each.iter().map(service).collect())
}

fn local(body: &Body, name: &str) -> Result<Value> {
    let locals = body.blocks().filter(|block| block.identifier() == "locals");
    let found = locals.flat_map(|block| block.body.attributes()).find(|attribute| attribute.key() == name);
    let found = found.with_context(|| format!("no local {name}"))?;
    found.expr().evaluate(&Context::new()).with_context(|| format!("local {name} is no plain value"))
}

fn resource<'a>(body: &'a Body, kind: &str, name: &str) -> Result<&'a Block> {
    let is = |block: &&Block| {
        block.identifier() == "resource" && block.labels().iter().map(|label| label.as_str()).eq([kind, name])
    };
    body.blocks().find(is).with_context(|| format!("no resource {kind}.{name}"))
}

fn variable<'a>(body: &'a Body, name: &str) -> Result<&'a Block> {
    let is = |block: &&Block| {
        block.identifier() == "variable" && block.labels().iter().any(|label| label.as_str() == name)
    };
    body.blocks().find(is).with_context(|| format!("no variable {name}"))
}

fn inside<'a>(block: &'a Block, name: &str) -> Result<&'a Body> {
    let found = block.body.blocks().find(|block| block.identifier() == name);
    Ok(&found.with_context(|| format!("no block {name}"))?.body)
}

fn attribute<'a>(body: &'a Body, name: &str) -> Result<&'a Expression> {
    let found = body.attributes().find(|attribute| attribute.key() == name);
    Ok(found.with_context(|| format!("no {name}"))?.expr())
}

fn value(body: &Body, name: &str) -> Result<Value> {
    attribute(body, name)?.evaluate(&Context::new()).with_context(|| format!("{name} is no plain value"))
}

fn number(body: &Body, name: &str) -> Result<f64> {
    value(body, name)?.as_f64().with_context(|| format!("{name} is no number"))
}

#[cfg(test)]
mod tests {
    use super::{Deployment, FILES};

    /// A number of the Terraform, found by the text around it and not by a parser.
    fn plain(file: &str, after: &[&str]) -> f64 {
        let mut text = FILES.iter().find(|(name, _)| *name == file).unwrap().1;
        for mark in after {
            text = text.split_once(mark).unwrap_or_else(|| panic!("{file} has no {mark}")).1;
        }
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap();
        text[..end].parse().unwrap()
    }

    #[test]
    fn what_is_simulated_is_what_terraform_says() {
        let read = Deployment::read(None).unwrap();
        let fields = ["cpu", "memory", "min", "max", "backlog_per_task", "out_cooldown", "in_cooldown"];
        for (name, service) in &read.services {
            let said = fields.map(|field| {
                plain("main.tf", &["sizes = {", &format!("\n    {name} "), &format!(" {field} = ")])
            });
            let [cpu, memory, min, max, out, down] = [
                service.cpu,
                service.memory,
                service.min,
                service.max,
                service.out_cooldown,
                service.in_cooldown,
            ]
            .map(f64::from);
            assert_eq!(said, [cpu, memory, min, max, service.backlog_per_task, out, down], "{name}");
        }
        let scaling = "modules/services/scaling.tf";
        let target = |policy: &str| plain(scaling, &[&format!("\"{policy}\" {{"), "target_value       = "]);
        for name in read.services.keys() {
            assert_eq!(read.processors[name], target("cpu"), "{name}");
        }
        let memory = ["edge", "users"].map(|name| (name.to_owned(), target("memory")));
        assert_eq!(read.memory, memory.into());
        assert_eq!(
            f64::from(read.wake_cooldown),
            plain(scaling, &["\"wake\" {", "cooldown                = "])
        );
        assert_eq!(
            read.visibility,
            plain("modules/queues/variables.tf", &["\"visibility_seconds\"", "default     = "])
        );
        assert_eq!(
            f64::from(read.cache_nodes),
            plain("variables.tf", &["\"cache_nodes\"", "default     = "])
        );
        assert_eq!((read.chunk, read.cache_node_type.as_str()), (7, "cache.t4g.small"));
    }

    #[test]
    fn every_queue_is_pulled_by_one_service() {
        let read = Deployment::read(None).unwrap();
        let mut pulled: Vec<_> = read.pulls.values().flatten().cloned().collect();
        pulled.sort();
        assert_eq!(pulled, read.queues.keys().cloned().collect::<Vec<_>>());
        assert!(read.services.keys().eq(read.pulls.keys()), "each service has a size and a row");
        assert_eq!(read.pulls["compute"], ["precompute_q"]);
        assert_eq!(read.pulls["fetch"], ["recent_q", "timeline_fetch_q", "user_session_q"]);
    }

    #[test]
    fn another_folder_is_read_and_changes_are_made_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in FILES {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let changed =
                text.replace("min = 2, max", "min = 3, max").replace("service.min > 0", "service.min > 1");
            std::fs::write(path, changed).unwrap();
        }
        let mut read = Deployment::read(Some(folder.path())).unwrap();
        assert_eq!(read.services["edge"].min, 3);
        // Services with at least one task have no policy of processors now; services that go to zero have theirs.
        let busy: Vec<_> = read.processors.keys().map(String::as_str).collect();
        assert_eq!(busy, ["compute", "edge", "personalize", "users"]);
        read.set("workers.max=400").unwrap();
        assert_eq!(read.services["workers"].max, 400);
        for wrong in ["workers=1", "worker.max=1", "workers.most=1", "workers.max=0", "workers.max=x"] {
            assert!(read.set(wrong).is_err(), "{wrong}");
        }
        let missing = Deployment::read(Some(&folder.path().join("no"))).unwrap_err();
        assert!(format!("{missing:#}").contains("infra/terraform"), "{missing:#}");
    }
}
