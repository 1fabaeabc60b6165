//! Judges passkeys' answers, and says what pages ask them with.

use serde_json::{Value, json};
use soundoff_common::ports::tables::{Tables, Write};
use soundoff_common::protocol::Handle;

use crate::config::PasskeyConfig;
use crate::keys::seal::Seal;
use crate::refusal::Refusal;
use crate::ways::identity::{Identity, Kind};
use crate::ways::passkeys::answers::{Added, Asserted, Credential, encoded};
use crate::ways::passkeys::challenge::{self, Purpose};
use crate::ways::passkeys::faults::Fault;
use crate::ways::passkeys::keys;
use crate::ways::passkeys::stored::{self, Passkey};

/// The name by which authenticators know an account: a keyed hash, since anybody who holds the device may read it.
fn user_handle(seal: &Seal, user: &Handle) -> String {
    seal.hash(&["passkey user", user.as_str()])
}

/// An assertion that is good.
pub(crate) struct Proof {
    pub(crate) identity: Identity,
    /// Uses the challenge up.
    pub(crate) spend: Write,
    /// Keeps the passkey's counter, if nobody has used the passkey meanwhile.
    pub(crate) counted: Write,
}

/// What a page asks a passkey with (`PublicKeyCredentialRequestOptionsJSON`); one of those with these ids, if there are
/// any.
pub(crate) fn request_options(config: &PasskeyConfig, challenge: &str, ids: &[String]) -> Value {
    json!({
        "challenge": challenge,
        "timeout": challenge::LIFETIME_MS,
        "rpId": config.domain,
        "allowCredentials": descriptors(ids),
        "userVerification": "required",
    })
}

/// What a page makes a passkey with (`PublicKeyCredentialCreationOptionsJSON`), on none of the devices that hold `ids`.
pub(crate) fn creation_options(
    config: &PasskeyConfig,
    seal: &Seal,
    (user, ids): (&Handle, &[String]),
    challenge: &str,
) -> Value {
    let kinds = keys::ALGORITHMS.map(|alg| json!({ "type": "public-key", "alg": alg }));
    json!({
        "rp": { "id": config.domain, "name": config.domain },
        "user": { "id": encoded(user_handle(seal, user)), "name": user, "displayName": user },
        "challenge": challenge,
        "pubKeyCredParams": kinds,
        "timeout": challenge::LIFETIME_MS,
        "excludeCredentials": descriptors(ids),
        "authenticatorSelection": {
            "residentKey": "required", "requireResidentKey": true, "userVerification": "required",
        },
        "attestation": "none",
    })
}

fn descriptors(ids: &[String]) -> Vec<Value> {
    ids.iter().map(|id| json!({ "type": "public-key", "id": id })).collect()
}

/// Judges an assertion: whose passkey it is, and the writes that use it up.
pub(crate) async fn assertion(
    tables: &dyn Tables,
    (config, seal): (&PasskeyConfig, &Seal),
    credential: &Credential<Asserted>,
    purpose: &Purpose<'_>,
    now: u64,
) -> Result<Proof, Refusal> {
    let read = credential.assertion(config)?;
    let spend = challenge::open(seal, purpose, &read.challenge, now).ok_or(Fault::Challenge)?;
    let identity = Identity::elsewhere(Kind::Passkey, credential.id()?);
    let known = stored::of(tables, seal, &identity).await?.ok_or(Fault::Unknown)?;
    // WebAuthn asks for the user handle where nothing else says who it is.
    let is_theirs = match &read.user_handle {
        Some(handle) => handle == known.passkey.user_handle.as_bytes(),
        None => purpose.user().is_some(),
    };
    if !is_theirs || !known.passkey.key()?.verifies(&read.signed, &read.signature) {
        return Err(Fault::Unknown.into());
    }
    let counted = known.counted(read.counter, now).ok_or_else(|| {
        tracing::warn!(user = %known.user, "a passkey's counter went back: there may be a copy of it");
        Fault::Copied
    })?;
    Ok(Proof { identity, spend, counted })
}

/// Judges a new passkey: its identity, the write that uses its challenge up, and what is stored of it.
pub(crate) fn attestation(
    (config, seal): (&PasskeyConfig, &Seal),
    credential: &Credential<Added>,
    purpose: &Purpose<'_>,
    now: u64,
) -> Result<(Identity, Write, Passkey), Refusal> {
    let read = credential.attestation(config)?;
    let spend = challenge::open(seal, purpose, &read.challenge, now).ok_or(Fault::Challenge)?;
    let user = purpose.user().ok_or(Fault::Challenge)?;
    let identity = Identity::elsewhere(Kind::Passkey, credential.id()?);
    let passkey = Passkey::new(read.key, user_handle(seal, user), read.counter);
    Ok((identity, spend, passkey))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
