//! The ways to sign in to an account: one is added, one is taken away. Both want a fresh proof of who asks, so that a
//! stolen token does not become the account.

use soundoff_common::model::sign_ins::{self, Closed, Open, attribute};
use soundoff_common::ports::tables::{Change, Condition, Item, Table, TableError, Tables, Write};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{Handle, is_ahead, now_ms};
use ulid::Ulid;

use crate::changes;
use crate::keys::seal::Seal;
use crate::proof::{DECISIONS, Plan, Proven, SignedIn};
use crate::refusal::Refusal;
use crate::sessions::families;
use crate::sessions::lasting::lasting;
use crate::ways::identity::{self, Identity, Kind, LinkMark, Linked, MAX_IDENTITIES, Row};
use crate::ways::passkeys::stored;

/// The checks that an identity is still nobody's under a spelling of version 0.1.0, which may run beside this one.
pub(crate) fn still_nobodys(seal: &Seal, identity: &Identity) -> impl Iterator<Item = Write> {
    let rows = identity.former_rows(seal).into_iter();
    rows.map(|row| Write::check(Table::Entities, row.key(), Condition::Missing))
}

/// The writes that make an identity a user's.
pub(crate) fn link(
    seal: &Seal,
    identity: &Identity,
    user: &Handle,
    linked_at: u64,
) -> Result<[Write; 2], Refusal> {
    let context = Identity::context(identity.kind.name(), user);
    let sealed = seal.seal(identity.value.as_bytes(), &context)?;
    let linked = Item::of(&Linked { user: user.clone(), linked_at, sealed, session: identity.session() });
    let row = identity.row(seal);
    Ok([
        Write::put(Table::Entities, row.key(), linked.clone()).when(Condition::Missing),
        Write::put(Table::Entities, row.key_in(user), linked),
    ])
}

/// Checks that the session of a token lasts.
pub(crate) async fn still_open(tables: &dyn Tables, claims: &Claims) -> Result<Open, Refusal> {
    sign_ins::check(tables, claims, now_ms() / 1000).await.map_err(|closed| match closed {
        Closed::Unknown(error) => error.into(),
        Closed::NoKeys => Refusal::Unavailable(closed.into()),
        Closed::NoUser | Closed::Ended => Refusal::Unauthorized("the session has ended; sign in again"),
    })
}

/// The same, of a session whose user has proved within the last `proof_s` seconds who they are.
pub(crate) async fn still_proven(
    tables: &dyn Tables,
    claims: &Claims,
    (proof_s, now): (u64, u64),
) -> Result<Open, Refusal> {
    let open = still_open(tables, claims).await?;
    let ends = open.proved_at.saturating_add(proof_s.saturating_mul(1000));
    if now >= ends || is_ahead(open.proved_at, now) {
        return Err(Refusal::ProofRequired);
    }
    Ok(open)
}

/// The user of a session has proved again who they are, by an identity with this mark.
pub(crate) async fn proving(
    tables: &dyn Tables,
    proven: &Proven<'_>,
    claims: &Claims,
    mark: &LinkMark,
) -> Result<Plan, Refusal> {
    let open = still_open(tables, claims).await?;
    let mut writes = proven.writes();
    let mut changes = vec![Change::Set(attribute::PROVED_AT, proven.now.into())];
    if proven.identity.kind == Kind::Passkey {
        changes.push(Change::Set(attribute::PASSKEY, mark.text().into()));
    }
    writes.extend(open.changed(changes));
    let done = SignedIn::Linked { user: claims.user.clone(), new: false };
    Ok(Plan { done, writes, account: None })
}

/// Adds the identity to the account of a session. The transaction checks that the session has not ended meanwhile: a
/// request may take long.
pub(crate) async fn linking(
    tables: &dyn Tables,
    seal: &Seal,
    proven: &Proven<'_>,
    claims: &Claims,
) -> Result<Plan, Refusal> {
    let user = &claims.user;
    let open = still_proven(tables, claims, (proven.proof_s, proven.now)).await?;
    if identity::of_user(tables, user).await?.len() >= MAX_IDENTITIES {
        let message = format!("an account has at most {MAX_IDENTITIES} ways to sign in");
        return Err(Refusal::Conflict(message));
    }
    let mut writes = proven.writes();
    writes.extend(link(seal, proven.identity, user, proven.now)?);
    writes.extend(still_nobodys(seal, proven.identity));
    writes.push(changes::one_more(tables, user, changes::Change::Linked, proven.now).await?);
    writes.extend(open.still());
    Ok(Plan { done: SignedIn::Linked { user: user.clone(), new: true }, writes, account: None })
}

/// What was taken away.
pub(crate) struct Unlinked {
    pub(crate) row: Row,
    pub(crate) linked: Linked,
}

/// Removes one of a user's ways to sign in; `row` names it in their list. The last one stays, also with many requests
/// at once, and so does the last that is no passkey: devices are lost, and nothing else would bring their user back. The
/// session of `claims` goes on, also if it began with this one; [`begun_with`] finds those that must not. But where a
/// session stands for what is removed, it ends with it, also when it is the one that asks.
pub(crate) async fn unlink(
    tables: &dyn Tables,
    claims: &Claims,
    row: &Row,
    (proof_s, now): (u64, u64),
) -> Result<Unlinked, Refusal> {
    let no_such = || Refusal::NotFound("you have no such way to sign in; GET /v1/auth/identities lists them");
    for _ in 0..DECISIONS {
        let open = still_proven(tables, claims, (proof_s, now)).await?;
        let (this, others): (Vec<_>, Vec<_>) =
            identity::of_user(tables, &claims.user).await?.into_iter().partition(|(listed, _)| listed == row);
        let (row, linked) = this.into_iter().next().ok_or_else(no_such)?;
        let Some((other, kept)) = others.iter().find(|(row, _)| row.kind() != Kind::Passkey.name()) else {
            let message = "this is your only way to sign in, beside passkeys; add another first";
            return Err(Refusal::Conflict(message.into()));
        };
        let mine = Condition::Equals(identity::USER, claims.user.as_str().into());
        let mut writes = vec![
            Write::delete(Table::Entities, row.key()).when(mine),
            Write::delete(Table::Entities, row.key_in(&claims.user)).when(Condition::Exists),
            Write::check(Table::Entities, other.key_in(&claims.user), Condition::Exists),
            changes::one_more(tables, &claims.user, changes::Change::Unlinked, now).await?,
        ];
        writes.extend((row.kind() == Kind::Passkey.name()).then(|| stored::forgotten(&row)));
        let stands_for = |linked: &Linked| linked.session == Some(claims.session);
        if stands_for(&linked) {
            // It ends, and nothing else of it is to be checked.
        } else if others.iter().any(|(_, linked)| stands_for(linked)) {
            writes.extend(open.still());
        } else {
            // It must not end with the way that began it: the user has just proved who they are.
            writes.extend(open.changed(vec![Change::Set(attribute::WAY, kept.mark(other).text().into())]));
        }
        writes.extend(linked.session.into_iter().flat_map(|session| families::ending(&claims.user, session)));
        match tables.write(writes).await {
            Ok(()) => return Ok(Unlinked { row, linked }),
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::Unavailable(anyhow::anyhow!("lost {DECISIONS} races for one user's identities")))
}

/// The sessions, but that of `claims`, which began with what was taken away, or do not say with what; those whose user
/// proved by it who they are; and the one that stood for it.
pub(crate) async fn begun_with(
    tables: &dyn Tables,
    claims: &Claims,
    gone: &Unlinked,
    now: u64,
) -> Result<Vec<Ulid>, Refusal> {
    let mark = gone.linked.mark(&gone.row);
    let found = lasting(tables, &claims.user, claims.session, (u64::MAX, now)).await?;
    let begun = found.into_iter().filter(|(session, sign_in)| {
        let by_it =
            sign_in.way.as_ref().is_none_or(|way| *way == mark) || sign_in.passkey.as_ref() == Some(&mark);
        *session != claims.session && by_it
    });
    Ok(begun.map(|(session, _)| session).chain(gone.linked.session).collect())
}
