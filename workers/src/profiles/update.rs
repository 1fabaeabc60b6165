//! `profile.update`: the sender's name and bio, each last-writer-wins by `mid`.

use schemars::JsonSchema;
use serde::Deserialize;
use soundoff_common::model::accounts::{self, Account, attribute};
use soundoff_common::pipeline::handler::{Context, Failure, MessageType, Outcome, Request};
use soundoff_common::ports::tables::{Change, Condition, Item, Table, TableError, Write};
use soundoff_common::protocol::ErrorCode;
use ulid::Ulid;

use crate::profiles::profile::OneProfile;
use crate::rules::texts;

/// What to change: at least one of the fields.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct ProfileUpdate {
    /// The name to show, one line; empty for none.
    #[schemars(length(max = 50))]
    name: Option<String>,
    /// What the user says of themselves; empty for nothing.
    #[schemars(length(max = 300))]
    bio: Option<String>,
}

/// One field's change, under the condition that no later change has come between.
fn change(
    item: &Item,
    (field, field_mid): (&'static str, &'static str),
    value: &str,
    mid: Ulid,
) -> Result<Option<(Vec<Change>, Condition)>, TableError> {
    let seen = item.text(field_mid);
    let applied: Option<Ulid> = seen.map(str::parse).transpose().map_err(|_| {
        let what = format!("an account whose {field_mid} is no id");
        TableError::Corrupt(what)
    })?;
    if applied.is_some_and(|applied| mid <= applied) {
        return Ok(None);
    }
    let condition = match seen {
        Some(seen) => Condition::Equals(field_mid, seen.into()),
        None => Condition::Absent(field_mid),
    };
    let changes = vec![Change::Set(field, value.into()), Change::Set(field_mid, mid.to_string().into())];
    Ok(Some((changes, condition)))
}

impl MessageType for ProfileUpdate {
    const TYPE: &'static str = "profile.update";
    const SUMMARY: &'static str = "Changes the sender's name (50 characters) or bio (300 characters).";
    type Body = Self;
    type Reply = OneProfile;

    async fn handle(cx: &Context, request: &Request<Self>) -> Result<Outcome<OneProfile>, Failure> {
        let Self { name, bio } = &request.body;
        if name.is_none() && bio.is_none() {
            return Err(Failure::reject(ErrorCode::BadMessage, "name a field to change: name or bio"));
        }
        let name = name.as_deref().map(texts::name).transpose()?;
        let bio = bio.as_deref().map(texts::bio).transpose()?;
        let key = accounts::key(&request.from);
        let found = cx.tables.get(Table::Users, key.clone()).await?;
        let item = found.ok_or_else(|| Failure::reject(ErrorCode::NotFound, "you have no account"))?;
        let (mut changes, mut conditions) = (Vec::new(), vec![Condition::Exists]);
        for (fields, value) in
            [((attribute::NAME, attribute::NAME_MID), name), ((attribute::BIO, attribute::BIO_MID), bio)]
        {
            let Some(value) = value else { continue };
            if let Some((change, condition)) = change(&item, fields, &value, request.mid)? {
                changes.extend(change);
                conditions.push(condition);
            }
        }
        let mut account: Account = item.parse()?;
        for change in &changes {
            match change {
                Change::Set(attribute::NAME, value) => {
                    account.name = value.as_str().unwrap_or_default().to_owned()
                }
                Change::Set(attribute::BIO, value) => {
                    account.bio = value.as_str().unwrap_or_default().to_owned()
                }
                _ => {}
            }
        }
        let write = Write::update(Table::Users, key, changes).when(Condition::All(conditions));
        let superseded =
            matches!(&write.action, soundoff_common::ports::tables::Action::Update(c) if c.is_empty());
        let writes = if superseded { Vec::new() } else { vec![write] };
        Ok(Outcome::effect(OneProfile::of(account, false, None), writes))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::world::World;
    use serde_json::json;
    use soundoff_common::protocol::ErrorCode;

    #[tokio::test]
    async fn each_field_keeps_its_latest_value() {
        let world = World::with(&["alice"]).await;
        let old = world.message("alice", "profile.update", &json!({ "name": "old", "bio": "old" }));
        let new = world.ok("alice", "profile.update", json!({ "name": "new" })).await;
        assert_eq!((&new["user"]["name"], &new["user"]["bio"]), (&json!("new"), &json!("")));
        world.run(&old).await.unwrap();
        let now = world.ok("alice", "profile.get", json!({})).await;
        assert_eq!((&now["user"]["name"], &now["user"]["bio"]), (&json!("new"), &json!("old")));
        let cleared = world.ok("alice", "profile.update", json!({ "name": "" })).await;
        assert_eq!(cleared["user"]["name"], "");
    }

    #[tokio::test]
    async fn nothing_to_change_and_long_texts_are_refused() {
        let world = World::with(&["alice"]).await;
        for (body, code) in [
            (json!({}), ErrorCode::BadMessage),
            (json!({ "name": null }), ErrorCode::BadMessage),
            (json!({ "name": 5 }), ErrorCode::BadMessage),
            (json!({ "name": "a\u{0}" }), ErrorCode::BadMessage),
            (json!({ "name": "n".repeat(51) }), ErrorCode::TooLarge),
            (json!({ "name": "ok", "bio": "b".repeat(301) }), ErrorCode::TooLarge),
        ] {
            assert_eq!(world.refused("alice", "profile.update", body).await, code);
        }
    }
}
