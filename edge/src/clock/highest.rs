//! The highest mid in tables that hold no mark yet, as version 0.1.0 left them.

use soundoff_common::model::{accounts, relations};
use soundoff_common::ports::tables::{Item, Key, Table, TableError, Tables};
use ulid::Ulid;

/// How many items are read at once.
const AT_ONCE: usize = 1_000;
/// The attributes that hold mids which the last writer must exceed. Texts of users are not looked at: anybody could
/// write an id into one.
const MIDS: [&str; 3] =
    [relations::attribute::MID, accounts::attribute::NAME_MID, accounts::attribute::BIO_MID];

/// A time above that of every mid in the tables, in milliseconds since 1970; 0 when there is none. Reads all accounts,
/// entities and relationships, once in the life of the tables.
pub(super) async fn highest(tables: &dyn Tables) -> Result<u64, TableError> {
    let mut highest = 0;
    for table in [Table::Users, Table::Entities, Table::Relationships] {
        let mut after = None;
        loop {
            let page = tables.scan(table, 0, 1, after.take(), AT_ONCE).await?;
            let Some((last, _)) = page.last() else { break };
            highest = page.iter().filter_map(|(key, item)| newest(key, item)).fold(highest, u64::max);
            after = Some(last.clone());
        }
    }
    Ok(highest)
}

/// A time above that of every mid in one item and its key.
fn newest(key: &Key, item: &Item) -> Option<u64> {
    let parts = key.pk.split('#').chain(key.sk.split('#'));
    let mids = parts.chain(MIDS.iter().filter_map(|name| item.text(name)));
    mids.filter_map(|text| Ulid::from_string(text).ok()).map(|mid| mid.timestamp_ms() + 1).max()
}

#[cfg(test)]
mod tests {
    use soundoff_common::ports::memory::MemoryTables;
    use soundoff_common::ports::tables::Write;

    use super::*;

    fn at(ms: u64) -> String {
        Ulid::from_parts(ms, 7).to_string()
    }

    #[tokio::test]
    async fn the_highest_mid_is_found_wherever_it_is_and_no_text_of_a_user_counts() {
        let tables = MemoryTables::default();
        assert_eq!(highest(&tables).await.unwrap(), 0);
        let text = Item::new().with("text", at(1 << 47)).with("name", at(1 << 47));
        let mut expected = 0;
        for (n, (table, key, item)) in [
            (Table::Entities, Key::new("posts#ann", format!("p#{}", at(10))), text.clone()),
            (Table::Relationships, Key::new("follow#ann", "s#bob"), Item::new().with("mid", at(11))),
            (Table::Users, Key::new("user#ann", "profile"), text.clone().with("bio_mid", at(12))),
            (Table::Entities, Key::new(format!("comments#{}", at(13)), "c#x"), text),
        ]
        .into_iter()
        .enumerate()
        {
            tables.apply(vec![Write::put(table, key, item)]).unwrap();
            expected = 11 + n as u64;
            assert_eq!(highest(&tables).await.unwrap(), expected);
        }
        let old = Write::put(Table::Users, Key::new("user#bob", "profile"), Item::new().with("name_mid", at(3)));
        tables.apply(vec![old]).unwrap();
        assert_eq!(highest(&tables).await.unwrap(), expected);
    }
}
