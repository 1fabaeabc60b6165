//! What the signed-in user sees and changes of how their account is signed in to: identities, and sessions.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;
use soundoff_common::model::accounts::attribute::REVOKED_AT as ACCOUNT_REVOKED_AT;
use soundoff_common::model::audit;
use soundoff_common::model::ids;
use soundoff_common::model::sign_ins::{self, attribute::REVOKED_AT};
use soundoff_common::ports::tables::{Change, TableError};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::rfc3339;
use soundoff_common::web::http::{Answer, json, read_json};

use crate::calls::{MAX_BODY_BYTES, TypedCode, nothing};
use crate::linking::{begun_with, still_proven, unlink};
use crate::refusal::Refusal;
use crate::service::{Call, Users};
use crate::sessions::lasting::lasting;
use crate::sessions::{families, list};
use crate::ways::codes::{self, Asker};
use crate::ways::identity::{self, Identity, Row, masked};

pub(crate) const BEARER: Refusal = Refusal::Unauthorized("send an access token as bearer");
const NO_SUCH_SESSION: Refusal =
    Refusal::NotFound("you have no such session; GET /v1/auth/sessions lists them");

/// The body of a proof by one of one's own addresses.
#[derive(Deserialize)]
struct ProveBody {
    request: String,
    code: TypedCode,
}

impl Users {
    /// How the signed-in user may sign in.
    pub(crate) async fn identities(&self, call: Call) -> Result<Answer, Refusal> {
        let user = call.signed_in.ok_or(BEARER)?.user;
        let mut items = Vec::new();
        let mine = identity::of_user(&*self.tables, &user).await?;
        let passkeys = self.passkeys_among(&mine).await?;
        for (row, linked) in &mine {
            let kind = row.kind();
            let mut item = json!({
                "id": row.id(),
                "kind": kind,
                "value": masked(kind, &linked.value(kind, &self.seal)?),
                "linked_at": rfc3339(linked.linked_at),
            });
            if let Some((name, used_at)) = passkeys.get(&row.id()) {
                item["value"] = name.as_str().into();
                item["used_at"] = rfc3339(*used_at).into();
            }
            items.push(item);
        }
        Ok(json(StatusCode::OK, &json!({ "items": items })))
    }

    /// Removes one of the ways in which the signed-in user can sign in, and ends the sessions that began with it.
    pub(crate) async fn unlink(&self, call: Call, id: &str) -> Result<Answer, Refusal> {
        let claims = call.signed_in.ok_or(BEARER)?;
        let row = Row::of_id(id);
        self.may_unlink(&claims, &row).await?;
        let gone = unlink(&*self.tables, &claims, &row, self.fresh(call.now)).await?;
        self.audit.happened(&self.seal, audit::Kind::Unlinked, &claims.user, claims.session, call.from);
        // Should this fail, they end with their next refresh.
        let begun = begun_with(&*self.tables, &claims, &gone, call.now).await?;
        self.end(&claims.user, &begun).await?;
        self.tell_unlinked(&claims.user, &gone).await;
        Ok(nothing())
    }

    /// Sends a code to one of the signed-in user's own addresses, so that they prove again who they are.
    pub(crate) async fn start_proof(&self, call: Call, id: &str) -> Result<Answer, Refusal> {
        let claims = call.signed_in.ok_or(BEARER)?;
        let to = self.own_address(&claims, id).await?;
        let shown = masked(to.kind.name(), &to.value);
        self.send_code(&to, &shown, (call.from, call.now)).await
    }

    /// Takes that code: the session's proof is fresh again.
    pub(crate) async fn prove(&self, call: Call, id: &str) -> Result<Answer, Refusal> {
        let asks = call.asks();
        let claims = asks.signed_in.as_ref().ok_or(BEARER)?;
        let own = self.own_address(claims, id).await?;
        let from = call.from;
        let body: ProveBody =
            read_json(call.request, MAX_BODY_BYTES, r#"{"request":"…","code":"123456"}"#).await?;
        let tried = (&*body.request, &*body.code.digits());
        let spend =
            codes::verify(&*self.tables, &self.seal, &Asker { to: &own, from }, tried, asks.now).await?;
        self.proven(&own, spend, None, &asks).await
    }

    /// The mail address or phone number that the user names by its id.
    async fn own_address(&self, claims: &Claims, id: &str) -> Result<Identity, Refusal> {
        const NONE: Refusal = Refusal::NotFound(
            "you have no such address; of GET /v1/auth/identities, email and phone get codes",
        );
        let row = Row::of_id(id);
        let mine = identity::of_user(&*self.tables, &claims.user).await?;
        let (row, linked) = mine.into_iter().find(|(listed, _)| *listed == row).ok_or(NONE)?;
        Identity::stored(row.kind(), linked.value(row.kind(), &self.seal)?).ok_or(NONE)
    }

    /// The signed-in user's sessions, newest first.
    pub(crate) async fn sessions(&self, call: Call) -> Result<Answer, Refusal> {
        let Claims { user, session: current, .. } = call.signed_in.ok_or(BEARER)?;
        let lasts = (self.config.idle_lifetime.as_secs(), call.now);
        let found = lasting(&*self.tables, &user, current, lasts).await?;
        let items = found.into_iter().rev().map(|(session, sign_in)| {
            json!({
                "id": session,
                "current": session == current,
                "way": sign_in.way.as_ref().map(identity::LinkMark::kind),
                "client": sign_in.client,
                "begun_at": rfc3339(sign_in.created_at),
                "used_at": rfc3339(sign_in.used_at()),
                "ends_at": (sign_in.expires < families::NEVER).then(|| rfc3339(sign_in.expires.saturating_mul(1000))),
            })
        });
        Ok(json(StatusCode::OK, &json!({ "items": items.collect::<Vec<_>>() })))
    }

    /// Ends one of the signed-in user's sessions. Another than the present one wants a fresh proof.
    pub(crate) async fn end_session(&self, call: Call, id: &str) -> Result<Answer, Refusal> {
        let claims = call.signed_in.ok_or(BEARER)?;
        let named = ids::parse(id).ok_or(NO_SUCH_SESSION)?;
        if named != claims.session {
            still_proven(&*self.tables, &claims, self.fresh(call.now)).await?;
        }
        let lasts = (self.config.idle_lifetime.as_secs(), call.now);
        let found = lasting(&*self.tables, &claims.user, claims.session, lasts).await?;
        if !found.iter().any(|(session, _)| *session == named) {
            return Err(NO_SUCH_SESSION);
        }
        self.end(&claims.user, &[named]).await?;
        Ok(nothing())
    }

    /// Ends all sessions of the signed-in user but the present one, also those that their list does not have. It wants
    /// a fresh proof.
    pub(crate) async fn end_others(&self, call: Call) -> Result<Answer, Refusal> {
        let claims = call.signed_in.ok_or(BEARER)?;
        let tables = &*self.tables;
        let open = still_proven(tables, &claims, self.fresh(call.now)).await?;
        // As when an operator revokes all, but that the present session has seen it.
        let revoked_at = sign_ins::revoked_now(open.revoked_at, call.now);
        let seen = vec![Change::Set(REVOKED_AT, revoked_at.into())];
        let revoked = vec![Change::Set(ACCOUNT_REVOKED_AT, revoked_at.into())];
        let named = list::named(tables, &claims.user).await?;
        match tables.write(open.both_changed(seen, revoked).into()).await {
            Ok(()) => {}
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
                return Err(Refusal::Conflict("your sessions change at this moment; try again".into()));
            }
            Err(error) => return Err(error.into()),
        }
        let others: Vec<_> = named.into_iter().filter(|session| *session != claims.session).collect();
        others.iter().for_each(|session| self.audit.ended(&claims.user, *session));
        self.replies.close_others(claims.user.clone(), claims.session).await;
        families::end(tables, &claims.user, &others).await?;
        Ok(nothing())
    }

    /// For how long a proof is fresh, in seconds, and the time (milliseconds since 1970).
    pub(crate) fn fresh(&self, now: u64) -> (u64, u64) {
        (self.config.proof_lifetime.as_secs(), now)
    }
}
