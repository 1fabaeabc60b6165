//! What is derived from the code and committed: `./generate` writes it, and these tests fail when it is stale.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemars::SchemaGenerator;
use serde_json::Value;
use soundoff_common::model::holdings::{Holding, Of};
use soundoff_common::pipeline::archived::Archived;
use soundoff_common::pipeline::catalog::Spec;
use soundoff_common::pipeline::feature;
use soundoff_common::pipeline::handler::{Channel, Source, Told};
use soundoff_common::ports::tables::Table;
use soundoff_common::protocol::{Role, TypeLimits};

use crate::features::{Settings, catalog, features};
use crate::{asyncapi, deployment};

/// Set by `./generate`: write what is stale.
const WRITE: &str = "GENERATE";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join(path)
}

/// Holds a committed file to what it must be.
fn holds(path: &str, fresh: &str) {
    let committed = std::fs::read_to_string(at(path)).unwrap_or_default();
    if committed == fresh {
        return;
    }
    assert!(std::env::var_os(WRITE).is_some(), "{path} is stale: run ./generate");
    std::fs::write(at(path), fresh).unwrap();
    println!("{path} is written");
}

/// Holds the part of a page between `<!-- generated: NAME -->` and `<!-- /generated -->` to what it must be.
fn holds_part(path: &str, name: &str, fresh: &str) {
    let page = std::fs::read_to_string(at(path)).unwrap();
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{path} has no {begin}"));
    let (_, after) = rest.split_once("<!-- /generated -->").expect("a generated part ends");
    holds(path, &format!("{before}{begin}{fresh}<!-- /generated -->{after}"));
}

/// The fields of a schema: what may be absent has a question mark, and a bound stands behind in brackets.
fn fields(schema: fn(&mut SchemaGenerator) -> schemars::Schema) -> String {
    let mut schemas = SchemaGenerator::default();
    let root = Value::from(schema(&mut schemas));
    let definitions = schemas.take_definitions(true);
    let named = root["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    let object = named.map_or(&root, |name| &definitions[name]);
    let required: BTreeSet<&str> =
        object["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let field = |(name, value): (&String, &Value)| {
        let mark = if required.contains(name.as_str()) { "" } else { "?" };
        let most = value["maxLength"].as_u64().or_else(|| value["maxItems"].as_u64());
        let most = most.or_else(|| value["maximum"].as_u64());
        let bound = most.map(|most| format!(" (≤ {most})")).unwrap_or_default();
        let each = value["items"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let list = each.map(|each| format!(": list of {each}")).unwrap_or_default();
        format!("`{name}{mark}`{list}{bound}")
    };
    let all = object["properties"].as_object().into_iter().flatten().map(field);
    all.collect::<Vec<_>>().join(", ")
}

/// What users hear, by which channel.
fn heard(told: &Told) -> String {
    let channel = match told.channel {
        Channel::Push => "push",
        Channel::Event => "event",
    };
    format!("{channel} `{}`: {}", told.told_type, told.summary)
}

/// The row of a type in `docs/protocol.md`.
fn type_row(spec: &Spec) -> String {
    let who = if spec.role == Role::User { String::new() } else { format!(" ({}s)", spec.role) };
    let tells = spec.tells.iter().map(heard).collect::<Vec<_>>().join("<br>");
    let (body, reply) = (fields(spec.body_schema), fields(spec.reply_schema));
    let limits = spec.terms.told().map(limits).unwrap_or_default();
    format!("| `{}`{who} | {} | {body} | {reply} | {tells} | {limits} |\n", spec.message_type, spec.summary)
}

/// The limits of a type, in words.
fn limits(limits: TypeLimits) -> String {
    let cost = (limits.cost > 1).then(|| format!("counts as {}", limits.cost));
    let minute = limits.per_minute.map(|most| format!("{most} a minute"));
    let day = limits.per_day.map(|most| format!("{most} a day"));
    [cost, minute, day].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn item_row(kind: &Holding) -> String {
    let attributes = kind.attributes.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let of = match kind.of {
        Of::User => "a user",
        Of::Two => "two users",
        Of::Nobody => "nobody",
    };
    format!("| {} | `{}` | `{}` | {attributes} | {of} | {} |\n", kind.kind, kind.pk, kind.sk, kind.summary)
}

#[test]
fn the_protocol_document() {
    holds("docs/asyncapi.yaml", &asyncapi::yaml(&catalog()).unwrap());
}

#[test]
fn the_deployment() {
    holds("infra/terraform/deployment.json", &deployment::json());
}

#[test]
fn the_table_of_types() {
    let mut table =
        "| type | what it does | body | reply | what users hear of it | limits |\n|---|---|---|---|---|---|\n".to_owned();
    let catalog = catalog();
    let clients = catalog.specs().iter().filter(|spec| spec.source == Source::Client);
    table.extend(clients.map(type_row));
    // What our own messages lead to, users hear of as well.
    let ours =
        catalog.specs().iter().filter(|spec| spec.source == Source::Internal && !spec.tells.is_empty());
    for told in ours.flat_map(|spec| spec.tells) {
        table.push_str(&format!("| | | | | {} | |\n", heard(told)));
    }
    holds_part("docs/protocol.md", "types", &table);
}

/// What the archive keeps of the bodies of a type.
fn archived(how: Archived) -> String {
    match how {
        Archived::Not => "nothing".to_owned(),
        Archived::Header => "null".to_owned(),
        Archived::Public => "whole if everybody may read it, else null".to_owned(),
        Archived::Keyed(field) => format!("whole, with the pseudonym in `{field}`"),
        Archived::Whole => "whole".to_owned(),
    }
}

#[test]
fn the_table_of_what_is_archived() {
    let catalog = catalog();
    let mut types: Vec<_> = catalog.specs().iter().map(|spec| spec.message_type).collect();
    types.sort_unstable();
    types.dedup();
    let kept = types.into_iter().filter_map(|name| Some((name, catalog.route(name)?.archived)));
    let rows = kept.filter(|(_, how)| *how != Archived::Not);
    let rows = rows.map(|(name, how)| format!("| `{name}` | {} |\n", archived(how)));
    let table = format!("| type | `body` |\n|---|---|\n{}", rows.collect::<String>());
    holds_part("docs/archive.md", "types", &table);
}

#[test]
fn the_tables_of_items() {
    let kinds = feature::kinds(&features(Settings::default()));
    for table in Table::ALL {
        let head = "| item | pk | sk | attributes | whose | what |\n|---|---|---|---|---|---|\n";
        let rows = kinds.iter().filter(|kind| kind.table == table).map(item_row);
        holds_part("docs/data-model.md", table.name(), &format!("{head}{}", rows.collect::<String>()));
    }
}
