//! `POST /v1/auth/foreign`: makes the account of a user of the customer's own, or finds it, and begins the sign-in that
//! stands for them.
//!
//! Their token is theirs to use for as long as it is good, so a session that has ended must not begin again with one that
//! was there before its end: it begins again with a token that was issued later. How much later is decided by two clocks,
//! so that a minute lies between.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use soundoff_common::model::sign_ins::attribute::{CREATED_AT, REVOKED_AT, TOKENS_FROM, USER};
use soundoff_common::model::{accounts, sign_ins};
use soundoff_common::ports::tables::{Condition, Item, Table, TableError, Write};
use soundoff_common::ports::tokens::{Claims, Foreign, TokenError};
use soundoff_common::protocol::Handle;
use soundoff_common::web::http::{Answer, json, read_json};

use super::tokens::Told;
use crate::calls::MAX_BODY_BYTES;
use crate::refusal::Refusal;
use crate::service::{Call, Users};
use crate::sign_in::{DECISIONS, known, link, new_handle, still_open_with_room};
use crate::ways::identity::{self, Identity};
use crate::ways::jwt::CLOCK_SKEW_S;

const BAD: Refusal = Refusal::Unauthorized("the token is not good; get another from your own server");
const ENDED: Refusal =
    Refusal::Unauthorized("the session has ended; in a minute a new token of your own server begins another");

#[derive(Deserialize)]
struct Body {
    token: String,
    handle: Option<String>,
}

/// A user of theirs who is to be let in, and what the client asks for.
struct Newcomer {
    identity: Identity,
    token: Foreign,
    /// The handle for a new account: the one that is asked for, or else the one that the token names.
    handle: Option<Handle>,
    /// Whether it was asked for.
    asked: bool,
    signed_in: Option<Claims>,
    /// Milliseconds since 1970.
    now: u64,
}

/// The outcome.
struct Introduced {
    user: Handle,
    created: bool,
    linked: bool,
}

/// The writes to make, and what is true then.
struct Plan {
    writes: Vec<Write>,
    /// `None` when they are refused.
    done: Option<Introduced>,
}

/// The place of the new account among a plan's writes.
const ACCOUNT: usize = 0;

impl Users {
    pub(crate) async fn foreign(&self, call: Call) -> Result<Answer, Refusal> {
        let foreign =
            self.foreign_tokens.as_ref().ok_or(Refusal::NotConfigured("tokens of your own server"))?;
        let body: Body = read_json(call.request, MAX_BODY_BYTES, r#"{"token":"…"}"#).await?;
        let told = foreign.read(&body.token, call.now / 1000).map_err(|error| match error {
            TokenError::Unknown => Refusal::Unavailable(error.into()),
            TokenError::Expired | TokenError::Invalid => BAD,
        })?;
        let Told { issuer, subject, handle, token } = told;
        let asked = body.handle.as_deref().map(new_handle).transpose()?;
        let newcomer = Newcomer {
            identity: Identity::foreign(issuer, subject, token.session),
            token,
            asked: asked.is_some(),
            // One that nobody gets here is as good as none.
            handle: asked.or(handle.filter(|handle| new_handle(handle.as_str()).is_ok())),
            signed_in: call.signed_in,
            now: call.now,
        };
        let Introduced { user, created, linked } = self.introduce(&newcomer).await?;
        let expires_in = token.expires_at.saturating_sub(call.now / 1000);
        let mut answer = json!({ "user": { "handle": user }, "created": created, "expires_in": expires_in });
        if linked {
            answer["linked"] = newcomer.identity.kind.name().into();
        }
        Ok(json(StatusCode::OK, &answer))
    }

    async fn introduce(&self, newcomer: &Newcomer) -> Result<Introduced, Refusal> {
        for _ in 0..DECISIONS {
            let known = known(&*self.tables, &self.seal, &newcomer.identity).await?;
            let joins = known.is_none() && newcomer.signed_in.is_none();
            let plan = match (known.map(|known| known.linked.user), &newcomer.signed_in) {
                (Some(user), Some(claims)) if user != claims.user => {
                    let message = "this is another account's; sign in with it and remove it there first";
                    return Err(Refusal::Conflict(message.into()));
                }
                (Some(user), signed_in) => self.returning(newcomer, user, signed_in.is_some()).await?,
                (None, Some(claims)) => self.linking(newcomer, claims).await?,
                (None, None) => self.joining(newcomer)?,
            };
            if !plan.writes.is_empty() {
                match self.tables.write(plan.writes).await {
                    Ok(()) => {}
                    Err(TableError::ConditionFailed { index: ACCOUNT }) if joins => {
                        return Err(if newcomer.asked {
                            Refusal::Conflict("the handle is taken; choose another".into())
                        } else {
                            Refusal::HandleRequired
                        });
                    }
                    // Somebody else was here at the same moment: decide again.
                    Err(TableError::ConditionFailed { .. } | TableError::Conflict) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            return plan.done.ok_or(ENDED);
        }
        Err(Refusal::Unavailable(anyhow::anyhow!("lost {DECISIONS} races for the same identity")))
    }

    /// Somebody who has an account. Their sign-in is there, unless it has ended.
    async fn returning(&self, newcomer: &Newcomer, user: Handle, linked: bool) -> Result<Plan, Refusal> {
        let Newcomer { identity, token, now, .. } = newcomer;
        let now_s = now / 1000;
        let revoked_at = self.revoked_at(&user).await?;
        let sign_in = self.tables.get(Table::Entities, sign_ins::key(token.session)).await?;
        let sign_in = sign_in.filter(|sign_in| sign_in.text(USER) == Some(user.as_str()));
        let revoked = |sign_in: &Item| sign_in.number(REVOKED_AT) != Some(revoked_at);
        let ended_at = match &sign_in {
            Some(sign_in) if revoked(sign_in) => (revoked_at / 1000).min(now_s),
            Some(sign_in) => {
                let from = sign_in.number(TOKENS_FROM).unwrap_or(0);
                if token.issued_at >= from {
                    let done = Introduced { user, created: false, linked };
                    return Ok(Plan { writes: Vec::new(), done: Some(done) });
                }
                if from <= begins_again(now_s) {
                    return Err(ENDED);
                }
                // A clock that was wrong wrote that.
                now_s
            }
            // When it ended nobody knows: no token of theirs that there may be is newer for sure.
            None => now_s,
        };
        let from = begins_again(ended_at);
        let theirs = Condition::Equals(identity::USER, user.as_str().into());
        let writes = vec![
            Write::check(Table::Entities, identity.row(&self.seal).key(), theirs),
            standing(newcomer, &user, revoked_at, from),
        ];
        let begins = token.issued_at >= from;
        Ok(Plan { writes, done: begins.then_some(Introduced { user, created: false, linked }) })
    }

    /// A user of theirs who becomes another way into the account of a session.
    async fn linking(&self, newcomer: &Newcomer, claims: &Claims) -> Result<Plan, Refusal> {
        let user = &claims.user;
        let open = still_open_with_room(&*self.tables, claims).await?;
        let revoked_at = self.revoked_at(user).await?;
        let mut writes = link(&self.seal, &newcomer.identity, user, newcomer.now)?.to_vec();
        writes.push(standing(newcomer, user, revoked_at, 0));
        writes.extend(open.still());
        let done = Introduced { user: user.clone(), created: false, linked: true };
        Ok(Plan { writes, done: Some(done) })
    }

    fn joining(&self, newcomer: &Newcomer) -> Result<Plan, Refusal> {
        let user = newcomer.handle.clone().ok_or(Refusal::HandleRequired)?;
        let mut writes = vec![accounts::create(&user, newcomer.now)];
        writes.extend(link(&self.seal, &newcomer.identity, &user, newcomer.now)?);
        writes.push(standing(newcomer, &user, 0, 0));
        Ok(Plan { writes, done: Some(Introduced { user, created: true, linked: false }) })
    }

    /// When an account was last revoked, in milliseconds since 1970; 0 when never.
    async fn revoked_at(&self, user: &Handle) -> Result<u64, Refusal> {
        let account = self.tables.get(Table::Users, accounts::key(user)).await?;
        let missing = || TableError::Corrupt("an identity without its account".to_owned());
        Ok(account.ok_or_else(missing)?.number(accounts::attribute::REVOKED_AT).unwrap_or(0))
    }
}

/// From when on tokens are surely newer than what ended at `ended_s`: their clock may be ahead of ours.
fn begins_again(ended_s: u64) -> u64 {
    ended_s + CLOCK_SKEW_S + 1
}

/// The write of the sign-in that stands for a user of theirs. It lasts until it is ended: how long they are signed in is
/// for their tokens to say.
fn standing(newcomer: &Newcomer, user: &Handle, revoked_at: u64, tokens_from: u64) -> Write {
    let item = Item::new()
        .with(USER, user.as_str())
        .with(CREATED_AT, newcomer.now)
        .with(REVOKED_AT, revoked_at)
        .with(TOKENS_FROM, tokens_from);
    Write::put(Table::Entities, sign_ins::key(newcomer.token.session), item)
}
