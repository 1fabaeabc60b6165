//! The audit of groups: everything about them that is written in two places.

use std::collections::{BTreeMap, BTreeSet};

use soundoff_common::model::groups;
use soundoff_common::ports::tables::{Item, Key, Table};

/// The rows and counts that the states of members and posts ask for.
#[derive(Default)]
struct Due {
    rows: BTreeSet<(String, String, String)>,
    counts: BTreeMap<(Table, String), BTreeMap<&'static str, u64>>,
}

impl Due {
    fn row(&mut self, pk: String, sk: String, text: &str) {
        self.rows.insert((pk, sk, text.to_owned()));
    }

    fn count(&mut self, table: Table, pk: String, name: &'static str) {
        *self.counts.entry((table, pk)).or_default().entry(name).or_default() += 1;
    }

    fn member(&mut self, group: &str, user: &str, item: &Item) {
        let (state, role) = (item.text("state").unwrap(), item.text("role").unwrap());
        let since = format!("l#{}", item.text("since").unwrap());
        match state {
            "out" => return,
            "in" => self.row(format!("member#{group}"), since.clone(), user),
            other => self.row(format!("member-{other}#{group}"), since.clone(), user),
        }
        if state != "barred" {
            self.row(format!("groups#{user}"), since, &format!("{group} {state}"));
            let name = if state == "invited" { "invited" } else { "n" };
            self.count(Table::Relationships, format!("groups#{user}"), name);
        }
        if state != "in" {
            assert_eq!(role, "member", "{user} has a role in {group} and is not in");
            return;
        }
        self.count(Table::Entities, format!("group#{group}"), "members");
        self.count(Table::Users, format!("user#{user}"), "groups");
        if role != "member" {
            self.row(format!("member#{group}"), format!("m#{user}"), "");
            let name = if role == "owner" { "owners" } else { "moderators" };
            self.count(Table::Entities, format!("group#{group}"), name);
        }
    }
}

/// The group of a post, where it is in one that is not deleted.
fn group_of<'a>(all: &BTreeMap<(Table, Key), Item>, post: &'a Item) -> Option<&'a str> {
    post.text("group").filter(|group| !is_deleted(all, group))
}

fn is_deleted(all: &BTreeMap<(Table, Key), Item>, group: &str) -> bool {
    all[&(Table::Entities, Key::new(format!("group#{group}"), "group"))].flag("deleted")
}

/// Checks that rows and counts are those that states and posts ask for.
pub(crate) fn audit(all: &BTreeMap<(Table, Key), Item>) {
    let (mut due, mut rows) = (Due::default(), BTreeSet::new());
    for ((table, key), item) in all {
        let text = |text: &str| (key.pk.clone(), key.sk.clone(), text.to_owned());
        match (*table, key.pk.split_once('#').unwrap_or_default(), key.sk.as_str()) {
            (Table::Relationships, ("member", group), sk) if sk.starts_with("s#") => {
                due.member(group, &sk[2..], item);
            }
            (Table::Relationships, ("groups", _), "count") => {}
            (Table::Relationships, ("groups", _), _) => {
                let text = format!("{} {}", item.text("group").unwrap(), item.text("state").unwrap());
                rows.insert((key.pk.clone(), key.sk.clone(), text));
            }
            (Table::Relationships, (kind, _), _) if kind.starts_with("member") => {
                rows.insert(text(item.text("who").unwrap_or_default()));
            }
            // Those of a deleted group are on their way out.
            (Table::Entities, ("gposts", group), _) if is_deleted(all, group) => {}
            (Table::Entities, ("gname" | "gposts", _), _) => {
                rows.insert(text(""));
            }
            (Table::Entities, ("group", group), "group") if !item.flag("deleted") => {
                let counts = all.get(&(Table::Entities, Key::new(&key.pk, "count"))).expect("its counts");
                assert!(counts.number("owners") >= Some(1), "{group} has no owner");
                if item.text("sight") != Some("secret") {
                    let folded = groups::folded(item.text("name").unwrap());
                    let two: String = folded.chars().take(2).collect();
                    due.row(format!("gname#{two}"), format!("{folded}#{group}"), "");
                }
            }
            (Table::Entities, ("post", id), "post") if !item.flag("deleted") => {
                let Some(group) = group_of(all, item) else { continue };
                due.row(format!("gposts#{group}"), id.to_owned(), "");
                if item.text("state").is_none() {
                    due.count(Table::Entities, format!("group#{group}"), "posts");
                }
            }
            _ => {}
        }
    }
    assert_eq!(rows, due.rows, "rows of groups, and those that states and posts ask for");
    let counted = |table, pk: &str| match (table, pk.split_once('#').unwrap_or_default().0) {
        (Table::Entities, "group") => {
            let group = all.get(&(table, Key::new(pk, "group"))).expect("counts without a group");
            (!group.flag("deleted")).then_some(&["members", "owners", "moderators", "posts"][..])
        }
        (Table::Users, _) => Some(&["groups"][..]),
        (Table::Relationships, "groups") => Some(&["n", "invited"][..]),
        _ => None,
    };
    let due_counts = due.counts.keys().map(|(table, pk)| (*table, pk.clone()));
    let kept = all
        .keys()
        .filter(|(table, key)| key.sk == "count" || *table == Table::Users)
        .map(|(table, key)| (*table, key.pk.clone()));
    for (table, pk) in due_counts.chain(kept).collect::<BTreeSet<_>>() {
        for name in counted(table, &pk).unwrap_or_default() {
            let sk = if table == Table::Users { "profile" } else { "count" };
            let has = all.get(&(table, Key::new(&pk, sk))).and_then(|item| item.number(name)).unwrap_or(0);
            let due =
                due.counts.get(&(table, pk.clone())).and_then(|due| due.get(name)).copied().unwrap_or(0);
            assert_eq!(has, due, "{name} of {pk}");
        }
    }
}
