//! The table of handlers. A new MessageType is a file of its own and a line here.

use soundoff_common::catalog::{Catalog, Spec, spec};

/// One row per handler, in the order of the protocol document. The binary joins them with other crates' rows.
#[must_use]
pub fn specs() -> Vec<Spec> {
    vec![
        spec::<crate::profile_get::ProfileGet>(),
        spec::<crate::profile_update::ProfileUpdate>(),
        spec::<crate::post_create::PostCreate>(),
        spec::<crate::post_get::PostGet>(),
        spec::<crate::post_delete::PostDelete>(),
        spec::<crate::post_remove::PostRemove>(),
        spec::<crate::post_list::PostList>(),
        spec::<crate::post_fanout::Fanout>(),
        spec::<crate::comment_create::CommentCreate>(),
        spec::<crate::comment_list::CommentList>(),
        spec::<crate::like_add::LikeAdd>(),
        spec::<crate::like_remove::LikeRemove>(),
        spec::<crate::follow_add::FollowAdd>(),
        spec::<crate::follow_remove::FollowRemove>(),
        spec::<crate::follow_list::FollowList>(),
        spec::<crate::block_add::BlockAdd>(),
        spec::<crate::block_remove::BlockRemove>(),
        spec::<crate::dm_send::DmSend>(),
        spec::<crate::dm_list::DmList>(),
        spec::<crate::typing::Typing>(),
        spec::<crate::presence_get::PresenceGet>(),
    ]
}

/// The catalog of this crate's handlers.
#[must_use]
pub fn catalog() -> Catalog {
    Catalog::new(specs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_send_all_types_but_our_own_and_all_but_our_own_are_archived() {
        let catalog = catalog();
        let ours: Vec<_> = catalog
            .specs()
            .iter()
            .filter(|spec| !catalog.route(spec.message_type).unwrap().from_clients)
            .map(|spec| (spec.message_type, spec.queue.as_str().to_owned()))
            .collect();
        assert_eq!(ours, [("post.fanout", "fanout_q".to_owned())]);
        for spec in catalog.specs() {
            assert_eq!(spec.archived, spec.message_type != "post.fanout", "{}", spec.message_type);
        }
        assert_eq!(catalog.queue_names().len(), 22);
    }

    #[test]
    fn every_field_of_every_schema_is_described() {
        for spec in catalog().specs() {
            let mut generator = schemars::SchemaGenerator::default();
            (spec.body_schema)(&mut generator);
            (spec.reply_schema)(&mut generator);
            for (name, schema) in generator.definitions() {
                for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                    let described = property.get("description").is_some() || property.get("$ref").is_some();
                    assert!(described, "{}: {name}.{field} has no description", spec.message_type);
                }
            }
        }
    }
}
