//! The one list of features. `up` runs all of them, a role runs those of its tiers, and the deployment is generated
//! from it.

use soundoff_common::pipeline::catalog::Catalog;
use soundoff_common::pipeline::feature::{self, Feature};
use soundoff_media::MediaConfig;
use soundoff_timeline::TimelineConfig;
use soundoff_users::UsersSettings;

/// The features' settings. The default is enough to list them.
#[derive(Default)]
pub(crate) struct Settings {
    pub(crate) timeline: TimelineConfig,
    pub(crate) media: MediaConfig,
    /// Only in a process where people sign in.
    pub(crate) users: Option<UsersSettings>,
}

/// All features, in the order of the protocol document.
pub(crate) fn features(settings: Settings) -> Vec<Feature> {
    vec![
        feature::spine(),
        soundoff_edge::feature(),
        feature::gate(),
        soundoff_router::feature(),
        soundoff_users::feature(settings.users),
        soundoff_workers::feature(),
        soundoff_timeline::feature(settings.timeline),
        soundoff_media::feature(settings.media),
    ]
}

/// The types that these features work on.
pub(crate) fn catalog() -> Catalog {
    feature::catalog(&features(Settings::default()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::SchemaGenerator;
    use serde_json::{Map, Value};
    use soundoff_common::pipeline::archived::Archived;
    use soundoff_common::pipeline::catalog::Spec;

    use super::catalog;

    /// Texts in bodies that the archive keeps as they are: ids, cursors and words of our own. Who adds one here
    /// says that it is nobody's words and names nobody.
    const HARMLESS: &[(&str, &[&str])] = &[
        ("audit.event", &["by", "household", "reason", "session", "user", "way", "what"]),
        ("comment.list", &["before", "post"]),
        ("like.add", &["post"]),
        ("like.remove", &["post"]),
        ("post.delete", &["post"]),
        ("post.get", &["post"]),
        ("timeline.fetch", &["before"]),
    ];
    /// Types whose words everybody may read, if the body and the sender's account say so.
    const PUBLIC: &[&str] = &["post.create"];

    /// Whether a field of this schema can hold any text: that of a user, a handle, or JSON of any kind.
    fn holds_text(schema: &Value, definitions: &Map<String, Value>) -> bool {
        let Some(schema) = schema.as_object() else { return schema != &Value::Bool(false) };
        if schema.contains_key("const") || schema.contains_key("enum") {
            return false;
        }
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let name = name.rsplit('/').next().unwrap_or_default();
            return holds_text(&definitions[name], definitions);
        }
        let parts =
            ["anyOf", "oneOf", "allOf"].iter().filter_map(|name| schema.get(*name)?.as_array()).flatten();
        let within = ["items", "additionalProperties"].iter().filter_map(|name| schema.get(*name));
        let fields = schema.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values);
        let all: Vec<_> = parts.chain(within).chain(fields).collect();
        if all.iter().any(|part| holds_text(part, definitions)) {
            return true;
        }
        match schema.get("type") {
            Some(Value::String(of)) => of == "string",
            Some(Value::Array(of)) => of.contains(&"string".into()),
            // It says nothing of itself, and no part of it does.
            _ => all.is_empty(),
        }
    }

    /// The fields of a type's body that can hold any text.
    fn texts(spec: &Spec) -> BTreeSet<String> {
        let mut schemas = SchemaGenerator::default();
        let root = Value::from((spec.body_schema)(&mut schemas));
        let definitions = schemas.take_definitions(true);
        let named = root["$ref"].as_str().and_then(|name| name.rsplit('/').next());
        let object = named.map_or(&root, |name| &definitions[name]);
        assert_eq!(object["type"], "object", "{}", spec.message_type);
        let fields = object["properties"].as_object().into_iter().flatten();
        fields.filter(|(_, field)| holds_text(field, &definitions)).map(|(name, _)| name.clone()).collect()
    }

    /// A type whose body can hold a text or a handle is archived without it, unless somebody has said otherwise here.
    #[test]
    fn no_words_and_no_handles_get_into_the_archive_unless_on_purpose() {
        let catalog = catalog();
        let mut kept = BTreeSet::new();
        for spec in catalog.specs() {
            let harmless = HARMLESS.iter().find(|(name, _)| *name == spec.message_type);
            match spec.archived {
                Archived::Not | Archived::Header => continue,
                Archived::Public => assert!(PUBLIC.contains(&spec.message_type), "{}", spec.message_type),
                Archived::Keyed(_) | Archived::Whole => {
                    let found = texts(spec);
                    let known: BTreeSet<String> =
                        harmless.into_iter().flat_map(|(_, names)| *names).map(ToString::to_string).collect();
                    assert_eq!(found, known, "{}: texts that the archive keeps", spec.message_type);
                }
            }
            kept.insert(spec.message_type);
        }
        let named = HARMLESS.iter().map(|(name, _)| *name).chain(PUBLIC.iter().copied());
        let stale: Vec<_> = named.filter(|name| !kept.contains(name)).collect();
        assert!(stale.is_empty(), "{stale:?} are archived without a body");
    }

    #[test]
    fn a_text_is_found_wherever_it_is_in_a_schema() {
        let definitions = serde_json::json!({ "Handle": { "type": "string", "pattern": "^[a-z]$" } });
        let holds = |schema: Value| holds_text(&schema, definitions.as_object().unwrap());
        use serde_json::json;
        for text in [
            json!({ "type": "string" }),
            json!({ "type": ["string", "null"] }),
            json!({ "$ref": "#/$defs/Handle" }),
            json!({ "anyOf": [{ "$ref": "#/$defs/Handle" }, { "type": "null" }] }),
            json!({ "type": "array", "items": { "type": "string" } }),
            json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            json!({}),
            json!(true),
        ] {
            assert!(holds(text.clone()), "{text}");
        }
        for none in [
            json!({ "type": "integer" }),
            json!({ "type": ["boolean", "null"] }),
            json!({ "type": "string", "enum": ["followers", "following"] }),
            json!({ "oneOf": [{ "const": "a", "type": "string" }, { "type": "null" }] }),
            json!({ "type": "array", "items": { "type": "integer" } }),
            json!(false),
        ] {
            assert!(!holds(none.clone()), "{none}");
        }
    }
}
