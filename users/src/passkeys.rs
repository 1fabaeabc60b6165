//! The calls about passkeys: to sign in by one, to prove by one who one is, and to add one to an account.

use std::collections::HashMap;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use soundoff_common::model::audit;
use soundoff_common::ports::tables::TableError;
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{Handle, Role};
use soundoff_common::web::http::{Answer, json, read_json};

use crate::account::BEARER;
use crate::calls::MAX_BODY_BYTES;
use crate::config::PasskeyConfig;
use crate::linking::{linking, still_open, still_proven};
use crate::proof::{Plan, Proven, SPEND};
use crate::refusal::Refusal;
use crate::service::{Asks, Call, Users};
use crate::sessions::families::Session;
use crate::ways::identity::{self, Kind, Linked, Row};
use crate::ways::passkeys::answers::{Added, Asserted, Credential};
use crate::ways::passkeys::challenge::{self, Purpose};
use crate::ways::passkeys::judge;
use crate::ways::passkeys::stored::{self, Passkey};

/// The most characters of a passkey's name.
const MAX_NAME: usize = 50;

/// The body that answers for a passkey.
#[derive(Deserialize)]
struct VerifyBody {
    credential: Credential<Asserted>,
}

/// The body that adds one.
#[derive(Deserialize)]
struct AddBody {
    credential: Credential<Added>,
    name: Option<String>,
}

/// What a bearer's passkey proves, or whom one without a bearer signs in.
fn purpose(asks: &Asks) -> Purpose<'_> {
    asks.signed_in.as_ref().map_or(Purpose::SignIn, Purpose::Prove)
}

impl Users {
    fn passkeys(&self) -> Result<&PasskeyConfig, Refusal> {
        self.config.passkeys.as_ref().ok_or(Refusal::NotConfigured("passkeys"))
    }

    /// What a page asks a passkey with: any that it has, or one of the signed-in user's.
    pub(crate) async fn start_passkey(&self, call: Call) -> Result<Answer, Refusal> {
        let config = self.passkeys()?;
        let asks = call.asks();
        let mine = match &asks.signed_in {
            None => Vec::new(),
            Some(claims) => {
                let mine = self.passkey_ids(&claims.user).await?;
                let none = "you have no passkey; POST /v1/auth/passkeys/start adds one";
                if mine.is_empty() { Err(Refusal::NotFound(none)) } else { Ok(mine) }?
            }
        };
        let challenge = challenge::fresh(&self.seal, &purpose(&asks), call.now);
        Ok(started(&judge::request_options(config, &challenge, &mine)))
    }

    /// Signs in by a passkey. With a bearer it is a fresh proof, and gives the session its account's role.
    pub(crate) async fn verify_passkey(&self, call: Call) -> Result<Answer, Refusal> {
        let config = self.passkeys()?;
        let asks = call.asks();
        let example = r#"{"credential":{…}}"#;
        let VerifyBody { credential } = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let by = (config, &self.seal);
        let proof = judge::assertion(&*self.tables, by, &credential, &purpose(&asks), asks.now).await?;
        self.proven_if(&proof.identity, (proof.spend, Some(proof.counted)), None, &asks).await
    }

    /// What a page makes a passkey with.
    pub(crate) async fn start_adding(&self, call: Call) -> Result<Answer, Refusal> {
        let config = self.passkeys()?;
        let claims = call.signed_in.ok_or(BEARER)?;
        self.may_change_passkeys(&claims).await?;
        still_proven(&*self.tables, &claims, self.fresh(call.now)).await?;
        let mine = self.passkey_ids(&claims.user).await?;
        let challenge = challenge::fresh(&self.seal, &Purpose::Add(&claims), call.now);
        Ok(started(&judge::creation_options(config, &self.seal, (&claims.user, &mine), &challenge)))
    }

    /// Adds a passkey to the signed-in user's account.
    pub(crate) async fn add_passkey(&self, call: Call) -> Result<Answer, Refusal> {
        let config = self.passkeys()?;
        let asks = call.asks();
        let claims = asks.signed_in.as_ref().ok_or(BEARER)?;
        let example = r#"{"credential":{…},"name":"…"}"#;
        let body: AddBody = read_json(call.request, MAX_BODY_BYTES, example).await?;
        let name = named(body.name.or_else(|| asks.client.clone()))?;
        self.may_change_passkeys(claims).await?;
        let by = (config, &self.seal);
        let (identity, spend, passkey) =
            judge::attestation(by, &body.credential, &Purpose::Add(claims), asks.now)?;
        let proven = Proven {
            identity: &identity,
            spend,
            also: None,
            handle: None,
            signed_in: Some(claims),
            now: asks.now,
            lifetime_s: self.config.refresh_lifetime.as_secs(),
            proof_s: self.config.proof_lifetime.as_secs(),
            client: None,
        };
        self.add(&proven, claims, &passkey.named(name)).await?;
        self.audit.happened(&self.seal, audit::Kind::Linked, &claims.user, claims.session, asks.from);
        self.tell_linked(&claims.user, &identity).await;
        let body =
            json!({ "user": { "handle": claims.user }, "created": false, "linked": identity.kind.name() });
        Ok(json(StatusCode::OK, &body))
    }

    async fn add(&self, proven: &Proven<'_>, claims: &Claims, passkey: &Passkey) -> Result<(), Refusal> {
        let Plan { mut writes, .. } = linking(&*self.tables, &self.seal, proven, claims).await?;
        writes.push(passkey.kept(&self.seal, (proven.identity, &claims.user), proven.now)?);
        match self.tables.write(writes).await {
            Ok(()) => Ok(()),
            Err(TableError::ConditionFailed { index: SPEND }) => {
                Err(Refusal::Unauthorized("this challenge was used already; begin again with /start"))
            }
            Err(TableError::ConditionFailed { .. } | TableError::Conflict) => {
                let message = "this passkey is an account's already, or yours changes at this moment";
                Err(Refusal::Conflict(message.into()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What a session may do: its account's role, or less where that wants a passkey.
    pub(crate) fn power(&self, session: &Session) -> Role {
        if self.wants_passkey(session.role) && !session.has_passkey { Role::User } else { session.role }
    }

    fn wants_passkey(&self, role: Role) -> bool {
        self.config.passkeys.as_ref().is_some_and(|passkeys| passkeys.roles.contains(&role))
    }

    /// Checks that a session may change which passkeys its account has. If its role wants one, so does this: else
    /// somebody with the account's mailbox alone would add their own, and have the role.
    async fn may_change_passkeys(&self, claims: &Claims) -> Result<(), Refusal> {
        let open = still_open(&*self.tables, claims).await?;
        if !self.wants_passkey(open.account_role) {
            return Ok(());
        }
        let mine = identity::of_user(&*self.tables, &claims.user).await?;
        if open.passkey.is_some_and(|mark| identity::is_among(&mine, &mark)) {
            Ok(())
        } else {
            Err(Refusal::PasskeyRequired)
        }
    }

    /// Checks that a session may take away a way to sign in.
    pub(crate) async fn may_unlink(&self, claims: &Claims, row: &Row) -> Result<(), Refusal> {
        if row.kind() == Kind::Passkey.name() { self.may_change_passkeys(claims).await } else { Ok(()) }
    }

    /// The passkeys among a user's identities, by id: the name, and when it was last used (milliseconds since 1970).
    pub(crate) async fn passkeys_among(
        &self,
        mine: &[(Row, Linked)],
    ) -> Result<HashMap<String, (String, u64)>, Refusal> {
        let passkeys = mine.iter().map(|(row, _)| row).filter(|row| row.kind() == Kind::Passkey.name());
        stored::seen(&*self.tables, &self.seal, &passkeys.collect::<Vec<_>>()).await
    }

    /// The ids by which authenticators know a user's passkeys.
    async fn passkey_ids(&self, user: &Handle) -> Result<Vec<String>, Refusal> {
        let mine = identity::of_user(&*self.tables, user).await?;
        let passkeys = mine.iter().filter(|(row, _)| row.kind() == Kind::Passkey.name());
        passkeys.map(|(row, linked)| linked.value(row.kind(), &self.seal)).collect()
    }
}

fn started(options: &Value) -> Answer {
    json(StatusCode::OK, &json!({ "options": options, "expires_in": challenge::LIFETIME_MS / 1000 }))
}

/// A passkey's name, as its user or their program gives it.
fn named(name: Option<String>) -> Result<String, Refusal> {
    let name = name.unwrap_or_else(|| "Passkey".to_owned());
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        let message = format!("`name` has 1 to {MAX_NAME} characters, without line breaks");
        return Err(Refusal::BadMessage(message));
    }
    Ok(name.to_owned())
}
