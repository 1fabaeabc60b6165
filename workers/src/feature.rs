//! The handlers as a feature.

use soundoff_common::model::affinity;
use soundoff_common::pipeline::feature::Feature;
use soundoff_common::pipeline::grants::Touches;
use soundoff_common::pipeline::tier::Tier;
use soundoff_common::ports::tables::Table;

/// Posts, comments, likes, follows, blocks, direct messages, profiles; and what is kept of the audit trail.
#[must_use]
pub fn feature() -> Feature {
    const TABLES: &[Table] = &[Table::Users, Table::Entities, Table::Relationships];
    const WRITTEN: &[Table] = &[Table::Users, Table::Relationships];
    let feature = Feature::new("social")
        .touches(Tier::Workers, Touches { reads: TABLES, writes: WRITTEN, own: true, ..Touches::default() })
        // Likes, comments and direct messages count towards it.
        .keeps(affinity::HOLDINGS);
    crate::join_all(feature)
}

#[cfg(test)]
mod tests {
    use soundoff_common::model::audit;
    use soundoff_common::pipeline::archived::Archived;
    use soundoff_common::pipeline::catalog::Spec;
    use soundoff_common::pipeline::handler::Source;

    fn specs() -> impl Iterator<Item = Spec> {
        super::feature().rows.into_iter().map(|row| row.spec)
    }

    /// A type that we queue ourselves must not come from clients, and is not archived: what caused it is.
    #[test]
    fn clients_send_all_types_but_our_own_and_all_but_our_own_are_archived() {
        let feature = super::feature();
        let mut caused: Vec<&str> = specs().flat_map(|spec| spec.causes).copied().collect();
        caused.extend(feature.pages.iter().flat_map(|page| page.causes));
        caused.extend(feature.loops.iter().flat_map(|of| of.causes));
        assert!(caused.contains(&"post.fanout"), "{caused:?}");
        for spec in specs() {
            if spec.message_type == audit::EVENT {
                // Nothing that is archived causes it.
                assert_eq!((spec.source, spec.archived), (Source::Internal, Archived::Keyed("user")));
                continue;
            }
            let ours = caused.contains(&spec.message_type);
            assert_eq!(spec.source == Source::Internal, ours, "{}", spec.message_type);
            assert_eq!(spec.archived == Archived::Not, ours, "{}", spec.message_type);
        }
    }

    #[test]
    fn every_field_of_every_schema_is_described() {
        for spec in specs() {
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
