//! Where candidates come from. A new source is a file here and a line in [`SOURCES`].

mod follows;
mod friends_of_friends;
mod groups;
mod own;
mod source;

pub(crate) use source::Source;

/// All sources. An author whom several of them name counts for the first one.
pub(crate) const SOURCES: &[Source] =
    &[follows::SOURCE, own::SOURCE, groups::SOURCE, friends_of_friends::SOURCE];

/// The tags of authors whom the user follows, of the user, and of groups that the user is in.
pub(crate) const FOLLOWED: u8 = follows::SOURCE.tag;
pub(crate) const OWN: u8 = own::SOURCE.tag;
pub(crate) const GROUPS: u8 = groups::SOURCE.tag;

#[cfg(test)]
mod tests {
    use super::SOURCES;

    #[test]
    fn each_source_has_a_tag_of_its_own() {
        for (at, source) in SOURCES.iter().enumerate() {
            assert!(SOURCES[..at].iter().all(|other| other.tag != source.tag), "{source:?}");
        }
    }
}
