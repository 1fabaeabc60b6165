use std::sync::Arc;

use soundoff_common::model::sign_ins::Closed;
use soundoff_common::ports::tokens::Claims;
use soundoff_common::web::secret::Secret;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};

use super::*;
use crate::sessions::lasting::lasting;
use crate::ways::identity::{Linked, Row};

struct Desk {
    tables: Arc<EmbeddedTables>,
    key: RefreshKey,
    session: Ulid,
    first: String,
    begun: u64,
    _dir: tempfile::TempDir,
}

const LIFETIME_S: u64 = 1000;
const IDLE_S: u64 = 900;
const LINKED_AT: u64 = 1_700_000_000_000;

/// The writes that begin a session of a user who signs in by mail.
fn begun(user: &Handle, token: &RefreshToken, now: u64, revoked_at: u64) -> Vec<Write> {
    let way = LinkMark::new("email", LINKED_AT);
    begin(Beginning { user, token, now, lifetime_s: LIFETIME_S, revoked_at, way, client: None }).into()
}

/// The row of the mail address.
fn linked(user: &Handle) -> Write {
    let row = Row::of_key("email#hash".to_owned());
    let item =
        Item::of(&Linked { user: user.clone(), linked_at: LINKED_AT, sealed: String::new(), session: None });
    Write::put(Table::Entities, row.key_in(user), item)
}

impl Desk {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        let key = RefreshKey::new(&Secret::new(&[1; 32]).unwrap());
        let (user, now, session) = ("alice".parse().unwrap(), now_ms(), Ulid::generate());
        let token = RefreshKey::first(session);
        let mut writes = begun(&user, &token, now, 0);
        writes.extend([accounts::create(&user, now), linked(&user)]);
        tables.write(writes).await.unwrap();
        Self { first: key.text(&token), tables, key, session, begun: now, _dir: dir }
    }

    async fn refresh(&self, token: &str, arrived: u64) -> Result<String, Refusal> {
        match refresh(&*self.tables, &self.key, token, (arrived, IDLE_S)).await? {
            Refreshed::Next(session) => Ok(self.key.text(&session.token)),
            Refreshed::Reused { .. } => Err(Refusal::Unauthorized("reused")),
        }
    }
}

fn is_reuse(refreshed: &Result<String, Refusal>) -> bool {
    matches!(refreshed, Err(Refusal::Unauthorized("reused")))
}

#[tokio::test]
async fn a_session_ends_at_its_time_also_when_it_is_refreshed() {
    let desk = Desk::open().await;
    let end = (desk.begun / 1000 + LIFETIME_S) * 1000;
    let second = desk.refresh(&desk.first, desk.begun + 1).await.unwrap();
    let third = desk.refresh(&second, desk.begun + 2).await.unwrap();
    assert!(matches!(desk.refresh(&third, end).await, Err(Refusal::Unauthorized(_))), "it has ended");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_once_within_ten_seconds() {
    let desk = Desk::open().await;
    let second = desk.refresh(&desk.first, now_ms()).await.unwrap();
    let rotated = now_ms();
    assert!(is_reuse(&desk.refresh(&desk.first, rotated + RETRY_MS).await), "too late");
    assert_eq!(desk.refresh(&desk.first, rotated).await.unwrap(), second, "the same answer");
    let before_either = desk.refresh(&desk.first, desk.begun - 1).await;
    assert!(
        matches!(before_either, Err(Refusal::Conflict(_))),
        "a request from before the answers is no theft"
    );
    assert!(is_reuse(&desk.refresh(&desk.first, now_ms() + 1).await), "a third time");
    // A retry does not use the next token up, and the next refresh may be retried as well.
    let third = desk.refresh(&second, now_ms()).await.unwrap();
    assert_eq!(desk.refresh(&second, now_ms()).await.unwrap(), third);
    assert!(is_reuse(&desk.refresh(&desk.first, now_ms()).await), "the one before the last");
}

#[tokio::test]
async fn what_has_ended_stays_ended() {
    let desk = Desk::open().await;
    end(&*desk.tables, &"alice".parse().unwrap(), &[desk.session]).await.unwrap();
    assert!(matches!(desk.refresh(&desk.first, now_ms()).await, Err(Refusal::Unauthorized(_))));
    assert!(owner(&*desk.tables, &desk.key, &desk.first).await.unwrap().is_none());
    let key = sign_ins::key(desk.session);
    assert!(desk.tables.get(Table::Entities, key).await.unwrap().is_none(), "nor is it made again");
}

#[tokio::test]
async fn no_token_is_legible_at_rest() {
    let desk = Desk::open().await;
    let second = desk.refresh(&desk.first, now_ms()).await.unwrap();
    let item = desk.tables.get(Table::Entities, sign_ins::key(desk.session)).await.unwrap().unwrap();
    let stored = serde_json::to_string(&item).unwrap();
    for token in [&desk.first, &second] {
        let inside = token.strip_prefix("so_refresh_").unwrap();
        assert!(!stored.contains(&inside[30..]), "{stored}");
    }
}

#[tokio::test]
async fn a_token_is_invalid_once_its_session_has_ended_or_expired() {
    let desk = Desk::open().await;
    let claims = |user: &str, session| Claims {
        user: user.parse().unwrap(),
        session,
        role: Role::Admin,
        expires_at: u64::MAX,
    };
    let alices = claims("alice", desk.session);
    let end_s = desk.begun / 1000 + LIFETIME_S;
    let check = async |claims: &Claims, now_s| sign_ins::check(&*desk.tables, claims, now_s).await;
    assert_eq!(check(&alices, end_s - 1).await.unwrap().role, Role::User, "no more than the account says");
    assert!(matches!(check(&alices, end_s).await, Err(Closed::Ended)), "engines remove expired items late");
    assert!(matches!(check(&claims("bob", desk.session), 0).await, Err(Closed::NoUser)));
    assert!(matches!(check(&claims("alice", Ulid::generate()), 0).await, Err(Closed::Ended)));
    let now_s = desk.begun / 1000;
    let still = check(&alices, now_s).await.unwrap().still();
    desk.tables.write(still.to_vec()).await.unwrap();
    let revoked = vec![Change::Set("revoked_at", desk.begun.into())];
    let user = accounts::key(&alices.user);
    desk.tables.write(vec![Write::update(Table::Users, user, revoked)]).await.unwrap();
    assert!(
        desk.tables.write(still.to_vec()).await.is_err(),
        "a revocation fails a transaction that was checked before it"
    );
    assert!(matches!(check(&alices, now_s).await, Err(Closed::Ended)));
}

#[tokio::test]
async fn a_session_that_began_in_the_future_lasts_as_long_as_any() {
    let desk = Desk::open().await;
    let (user, ahead) = ("bobby".parse().unwrap(), desk.begun + 365 * 24 * 3_600_000);
    let token = RefreshKey::first(Ulid::generate());
    let mut writes = begun(&user, &token, ahead, 0);
    writes.extend([accounts::create(&user, ahead), linked(&user)]);
    desk.tables.write(writes).await.unwrap();
    let next = desk.refresh(&desk.key.text(&token), desk.begun).await.unwrap();
    let item = desk.tables.get(Table::Entities, sign_ins::key(token.session)).await.unwrap().unwrap();
    let ends = desk.begun / 1000 + LIFETIME_S;
    assert_eq!((item.number(CREATED_AT), item.number(EXPIRES)), (Some(desk.begun), Some(ends)));
    let too_late = desk.refresh(&next, ends * 1000).await;
    assert!(matches!(too_late, Err(Refusal::Unauthorized(_))) && !is_reuse(&too_late));
}

#[tokio::test]
async fn a_token_that_was_spent_in_the_future_is_spent() {
    let desk = Desk::open().await;
    desk.refresh(&desk.first, now_ms()).await.unwrap();
    let rotated = Change::Set(ROTATED_AT, (now_ms() + 3_600_000).into());
    let at = sign_ins::key(desk.session);
    desk.tables.write(vec![Write::update(Table::Entities, at, vec![rotated])]).await.unwrap();
    assert!(is_reuse(&desk.refresh(&desk.first, now_ms()).await), "nobody waits an hour to be told");
}

#[tokio::test]
async fn a_revocation_ends_what_began_before_it_by_whatever_clock() {
    let desk = Desk::open().await;
    let user: Handle = "alice".parse().unwrap();
    let revoke = async |at: u64| {
        let revoked = vec![Change::Set("revoked_at", at.into())];
        desk.tables.write(vec![Write::update(Table::Users, accounts::key(&user), revoked)]).await.unwrap();
    };
    let session = async |at: u64, revoked_at: Option<u64>| {
        let token = RefreshKey::first(Ulid::generate());
        let mut writes = begun(&user, &token, at, revoked_at.unwrap_or(0));
        if revoked_at.is_none() {
            // As version 0.1.0 wrote it.
            let at = sign_ins::key(token.session);
            desk.tables.write(std::mem::take(&mut writes)).await.unwrap();
            writes = vec![Write::update(Table::Entities, at, vec![Change::Remove(REVOKED_AT)])];
        }
        desk.tables.write(writes).await.unwrap();
        token
    };
    let opens = async |token: &RefreshToken| {
        let claims =
            Claims { user: user.clone(), session: token.session, role: Role::User, expires_at: u64::MAX };
        let open = sign_ins::check(&*desk.tables, &claims, desk.begun / 1000).await.is_ok();
        assert_eq!(open, desk.refresh(&desk.key.text(token), now_ms()).await.is_ok());
        open
    };
    let (ahead, old) = (session(desk.begun + 50_000, Some(0)).await, session(desk.begun, None).await);
    assert!(opens(&ahead).await && opens(&old).await);
    revoke(desk.begun + 10).await;
    assert!(!opens(&ahead).await && !opens(&old).await, "both began before it");
    let behind = session(desk.begun - 50_000, Some(desk.begun + 10)).await;
    assert!(opens(&behind).await, "it began after it, by a clock that is behind");
    let old = session(desk.begun + 11, None).await;
    assert!(opens(&old).await);
}

#[tokio::test]
async fn a_session_that_nobody_uses_ends() {
    let desk = Desk::open().await;
    let idle = desk.begun + IDLE_S * 1000;
    let unused = desk.refresh(&desk.first, idle).await;
    assert!(matches!(unused, Err(Refusal::Unauthorized(_))) && !is_reuse(&unused));
    assert!(desk.refresh(&desk.first, idle - 1).await.is_ok());
}

#[tokio::test]
async fn a_session_ends_with_the_identity_that_began_it() {
    let desk = Desk::open().await;
    let user: Handle = "alice".parse().unwrap();
    let second = desk.refresh(&desk.first, now_ms()).await.unwrap();
    let other = Write { key: Row::of_key("phone#hash".to_owned()).key_in(&user), ..linked(&user) };
    let gone = Write::delete(Table::Entities, Row::of_key("email#hash".to_owned()).key_in(&user));
    desk.tables.write(vec![other, gone]).await.unwrap();
    let refused = desk.refresh(&second, now_ms()).await;
    assert!(matches!(refused, Err(Refusal::Unauthorized(_))) && !is_reuse(&refused));
    // The address has moved to another row, as its spelling or its key has changed: it is the same.
    let moved = Write { key: Row::of_key("email#other".to_owned()).key_in(&user), ..linked(&user) };
    desk.tables.write(vec![moved]).await.unwrap();
    assert!(desk.refresh(&second, now_ms()).await.is_ok());
}

#[tokio::test]
async fn a_session_of_0_1_0_is_listed_from_its_next_refresh_on_and_ends_when_any_way_is_taken() {
    let desk = Desk::open().await;
    let user: Handle = "alice".parse().unwrap();
    let named = async || list::named(&*desk.tables, &user).await.unwrap();
    let older = vec![
        Write::update(
            Table::Entities,
            sign_ins::key(desk.session),
            vec![Change::Remove("way"), Change::Remove(LISTED)],
        ),
        list::no_row(&user, desk.session),
    ];
    desk.tables.write(older).await.unwrap();
    assert!(named().await.is_empty());
    let second = desk.refresh(&desk.first, now_ms()).await.unwrap();
    assert_eq!(named().await, [desk.session]);
    let found = lasting(&*desk.tables, &user, desk.session, (IDLE_S, now_ms())).await.unwrap();
    assert_eq!(found.len(), 1);
    let taken = changes::one_more(&*desk.tables, &user, changes::Change::Unlinked, desk.begun).await.unwrap();
    desk.tables.write(vec![taken]).await.unwrap();
    assert!(matches!(desk.refresh(&second, now_ms()).await, Err(Refusal::Unauthorized(_))));
}
