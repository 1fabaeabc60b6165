//! `POST /v1/auth/foreign`: makes the account of a user of the customer's own, or finds it, and begins the sign-in that
//! stands for them.
//!
//! Their token is theirs to use for as long as it is good, so a session that has ended must not begin again with one that
//! was there before its end: it begins again with a token that was issued later. How much later is decided by two clocks,
//! so that a minute lies between.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use soundoff_common::model::sign_ins::attribute::{
    CLIENT, CREATED_AT, LISTED, PROVED_AT, REVOKED_AT, TOKENS_FROM, USER, WAY,
};
use soundoff_common::model::{accounts, audit, sign_ins};
use soundoff_common::ports::tables::{Change, Condition, Item, Table, TableError, Write};
use soundoff_common::ports::tokens::{Claims, Foreign, TokenError};
use soundoff_common::protocol::Handle;
use soundoff_common::web::http::{Answer, json, read_json};

use super::tokens::Told;
use crate::calls::MAX_BODY_BYTES;
use crate::linking::{link, linking};
use crate::proof::{DECISIONS, Proven};
use crate::refusal::Refusal;
use crate::service::{Asks, Call, Users};
use crate::sessions::list;
use crate::sign_in::{Known, account_of, known, new_handle};
use crate::ways::identity::{self, Identity, LinkMark};
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
    /// When they last proved to their own server who they are, in milliseconds since 1970; 0 when it does not say.
    proved_at: u64,
    /// The handle for a new account: the one that is asked for, or else the one that the token names.
    handle: Option<Handle>,
    /// Whether it was asked for.
    asked: bool,
}

/// The outcome.
struct Introduced {
    user: Handle,
    created: bool,
    linked: Linking,
}

/// Whether the user of a session has one more way to sign in.
#[derive(PartialEq, Eq)]
enum Linking {
    No,
    Before,
    New,
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
        let asks = call.asks();
        let now_s = asks.now / 1000;
        let body: Body = read_json(call.request, MAX_BODY_BYTES, r#"{"token":"…"}"#).await?;
        let told = foreign.read(&body.token, now_s).map_err(|error| match error {
            TokenError::Unknown => Refusal::Unavailable(error.into()),
            TokenError::Expired | TokenError::Invalid => BAD,
        })?;
        let Told { issuer, subject, proved_at, handle, token } = told;
        let asked = body.handle.as_deref().map(new_handle).transpose()?;
        let newcomer = Newcomer {
            identity: Identity::foreign(issuer, &subject, token.session),
            token,
            proved_at: proved_at.map_or(0, |at| at.min(now_s) * 1000),
            asked: asked.is_some(),
            // One that nobody gets here is as good as none.
            handle: asked.or(handle.filter(|handle| new_handle(handle.as_str()).is_ok())),
        };
        let Introduced { user, created, linked } = self.introduce(&newcomer, &asks).await?;
        if created || linked == Linking::New {
            let kind = if created { audit::Kind::SignedIn } else { audit::Kind::Linked };
            self.audit.happened(&self.seal, kind, &user, newcomer.token.session, asks.from);
        }
        if linked == Linking::New {
            self.tell_linked(&user, &newcomer.identity).await;
        }
        let expires_in = token.expires_at.saturating_sub(now_s);
        let mut answer = json!({ "user": { "handle": user }, "created": created, "expires_in": expires_in });
        if linked != Linking::No {
            answer["linked"] = newcomer.identity.kind.name().into();
        }
        Ok(json(StatusCode::OK, &answer))
    }

    async fn introduce(&self, newcomer: &Newcomer, asks: &Asks) -> Result<Introduced, Refusal> {
        for _ in 0..DECISIONS {
            let known = known(&*self.tables, &self.seal, &newcomer.identity).await?;
            let joins = known.is_none() && asks.signed_in.is_none();
            let plan = match (known, &asks.signed_in) {
                (Some(known), Some(claims)) if known.linked.user != claims.user => {
                    let message = "this is another account's; sign in with it and remove it there first";
                    return Err(Refusal::Conflict(message.into()));
                }
                (Some(known), _) => self.returning(newcomer, known, asks).await?,
                (None, Some(claims)) => self.joining_account(newcomer, claims, asks).await?,
                (None, None) => self.joining(newcomer, asks)?,
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
    async fn returning(&self, newcomer: &Newcomer, known: Known, asks: &Asks) -> Result<Plan, Refusal> {
        let (token, Known { row, linked }) = (&newcomer.token, known);
        let now_s = asks.now / 1000;
        let user = linked.user;
        let revoked_at = account_of(&*self.tables, &user).await?.revoked_at;
        let done = || Introduced {
            user: user.clone(),
            created: false,
            linked: if asks.signed_in.is_some() { Linking::Before } else { Linking::No },
        };
        let sign_in = self.tables.get(Table::Entities, sign_ins::key(token.session)).await?;
        let sign_in = sign_in.filter(|sign_in| sign_in.text(USER) == Some(user.as_str()));
        let revoked = |sign_in: &Item| sign_in.number(REVOKED_AT) != Some(revoked_at);
        let ended_at = match &sign_in {
            Some(sign_in) if revoked(sign_in) => (revoked_at / 1000).min(now_s),
            Some(sign_in) => {
                let from = sign_in.number(TOKENS_FROM).unwrap_or(0);
                if token.issued_at >= from {
                    let writes = proving(newcomer, &user, sign_in);
                    return Ok(Plan { writes, done: Some(done()) });
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
        // While the secret is replaced it may be where another generation has put it.
        let mut writes = vec![Write::check(Table::Entities, row.key(), theirs)];
        writes.extend(standing(
            newcomer,
            &user,
            asks,
            Since { linked_at: linked.linked_at, revoked_at, from },
        ));
        let begins = token.issued_at >= from;
        Ok(Plan { writes, done: begins.then(done) })
    }

    /// A user of theirs who becomes another way into the account of a session.
    async fn joining_account(
        &self,
        newcomer: &Newcomer,
        claims: &Claims,
        asks: &Asks,
    ) -> Result<Plan, Refusal> {
        let revoked_at = account_of(&*self.tables, &claims.user).await?.revoked_at;
        let since = Since { linked_at: asks.now, revoked_at, from: 0 };
        let [sign_in, row] = standing(newcomer, &claims.user, asks, since);
        let proven = Proven {
            identity: &newcomer.identity,
            // Nothing is used up: a token is good as often as it is shown.
            spend: sign_in,
            also: None,
            handle: None,
            signed_in: Some(claims),
            now: asks.now,
            lifetime_s: 0,
            proof_s: self.config.proof_lifetime.as_secs(),
            client: asks.client.as_deref(),
        };
        let mut writes = linking(&*self.tables, &self.seal, &proven, claims).await?.writes;
        writes.push(row);
        let done = Introduced { user: claims.user.clone(), created: false, linked: Linking::New };
        Ok(Plan { writes, done: Some(done) })
    }

    fn joining(&self, newcomer: &Newcomer, asks: &Asks) -> Result<Plan, Refusal> {
        let user = newcomer.handle.clone().ok_or(Refusal::HandleRequired)?;
        let mut writes = vec![accounts::create(&user, asks.now)];
        writes.extend(link(&self.seal, &newcomer.identity, &user, asks.now)?);
        let since = Since { linked_at: asks.now, revoked_at: 0, from: 0 };
        writes.extend(standing(newcomer, &user, asks, since));
        Ok(Plan { writes, done: Some(Introduced { user, created: true, linked: Linking::No }) })
    }
}

/// From when on tokens are surely newer than what ended at `ended_s`: their clock may be ahead of ours.
fn begins_again(ended_s: u64) -> u64 {
    ended_s + CLOCK_SKEW_S + 1
}

/// The write that remembers a proof of who they are, if it is newer than the one that is known.
fn proving(newcomer: &Newcomer, user: &Handle, sign_in: &Item) -> Vec<Write> {
    if newcomer.proved_at <= sign_in.number(PROVED_AT).unwrap_or(0) {
        return Vec::new();
    }
    let changes = vec![Change::Set(PROVED_AT, newcomer.proved_at.into())];
    let theirs = Condition::Equals(USER, user.as_str().into());
    vec![Write::update(Table::Entities, sign_ins::key(newcomer.token.session), changes).when(theirs)]
}

/// Since when a sign-in of theirs stands, and from when on (seconds since 1970) tokens must have been issued.
struct Since {
    linked_at: u64,
    revoked_at: u64,
    from: u64,
}

/// The writes of the sign-in that stands for a user of theirs. It lasts until it is ended: how long they are signed in is
/// for their tokens to say.
fn standing(newcomer: &Newcomer, user: &Handle, asks: &Asks, since: Since) -> [Write; 2] {
    let way = LinkMark::new(newcomer.identity.kind.name(), since.linked_at);
    let mut item = Item::new()
        .with(USER, user.as_str())
        .with(CREATED_AT, asks.now)
        .with(REVOKED_AT, since.revoked_at)
        .with(TOKENS_FROM, since.from)
        .with(PROVED_AT, newcomer.proved_at)
        .with(WAY, way.text())
        .with(LISTED, true);
    if let Some(client) = &asks.client {
        item = item.with(CLIENT, client.as_str());
    }
    let session = newcomer.token.session;
    [Write::put(Table::Entities, sign_ins::key(session), item), list::standing_row(user, session)]
}
