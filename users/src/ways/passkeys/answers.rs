//! What browsers and apps send of a passkey's answer, read and judged without the tables (WebAuthn level 3, 7.1 and
//! 7.2).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use coset::cbor;
use coset::cbor::value::Value;
use serde::Deserialize;

use crate::config::PasskeyConfig;
use crate::ways::passkeys::faults::Fault;
use crate::ways::passkeys::keys::PublicKey;

/// The longest id of a credential, in bytes (WebAuthn 5.1, step 7 of its registration).
const MAX_ID_BYTES: usize = 1023;

/// A credential as `toJSON()` of `navigator.credentials`'s answers gives it. What else is in it is not looked at.
#[derive(Deserialize)]
pub(crate) struct Credential<R> {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    response: R,
}

/// The answer of `get`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asserted {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
    user_handle: Option<String>,
}

/// The answer of `create`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Added {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    attestation_object: String,
}

/// What an assertion says.
pub(super) struct ReadAssertion {
    pub(super) challenge: String,
    pub(super) counter: u32,
    pub(super) user_handle: Option<Vec<u8>>,
    /// What the signature is over.
    pub(super) signed: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

/// What a new passkey says.
pub(super) struct ReadAttestation {
    pub(super) challenge: String,
    pub(super) counter: u32,
    /// Its public key (COSE).
    pub(super) key: Vec<u8>,
}

pub(super) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

/// Some clients write the padding.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64.decode(text.trim_end_matches('=')).map_err(|_| Fault::Malformed)
}

impl<R> Credential<R> {
    /// Its id in its one spelling.
    pub(crate) fn id(&self) -> Result<String, Fault> {
        let id = decoded(&self.id)?;
        let is_good = self.kind == "public-key" && (1..=MAX_ID_BYTES).contains(&id.len());
        if is_good { Ok(encoded(id)) } else { Err(Fault::Malformed) }
    }
}

impl Credential<Asserted> {
    pub(super) fn assertion(&self, config: &PasskeyConfig) -> Result<ReadAssertion, Fault> {
        let client_data = decoded(&self.response.client_data)?;
        let challenge = challenge(&client_data, "webauthn.get", config)?;
        let mut signed = decoded(&self.response.authenticator_data)?;
        let counter = AuthenticatorData::read(&signed, config)?.counter;
        signed.extend_from_slice(digest(&SHA256, &client_data).as_ref());
        Ok(ReadAssertion {
            challenge,
            counter,
            user_handle: self.response.user_handle.as_deref().map(decoded).transpose()?,
            signed,
            signature: decoded(&self.response.signature)?,
        })
    }
}

impl Credential<Added> {
    pub(super) fn attestation(&self, config: &PasskeyConfig) -> Result<ReadAttestation, Fault> {
        let challenge = challenge(&decoded(&self.response.client_data)?, "webauthn.create", config)?;
        let object = decoded(&self.response.attestation_object)?;
        let mut rest = &*object;
        let object: Value = cbor::de::from_reader(&mut rest).map_err(|_| Fault::Malformed)?;
        let entries = object.as_map().filter(|_| rest.is_empty()).ok_or(Fault::Malformed)?;
        // `fmt` and `attStmt` say which maker's device it is: nobody asked.
        let data = entries.iter().find(|(name, _)| name.as_text() == Some("authData"));
        let data = data.and_then(|(_, value)| value.as_bytes()).ok_or(Fault::Malformed)?;
        let data = AuthenticatorData::read(data, config)?;
        let (id, key) = data.attested()?;
        if encoded(id) != self.id()? {
            return Err(Fault::Malformed);
        }
        if PublicKey::read(key).is_none() {
            return Err(Fault::Algorithm);
        }
        Ok(ReadAttestation { challenge, counter: data.counter, key: key.to_vec() })
    }
}

/// What the browser or the system says of the page or app that asked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
    #[serde(default)]
    cross_origin: bool,
}

/// The challenge that was signed, if a page or app of ours asked for this kind of answer.
fn challenge(client_data: &[u8], kind: &str, config: &PasskeyConfig) -> Result<String, Fault> {
    let said: ClientData = serde_json::from_slice(client_data).map_err(|_| Fault::Malformed)?;
    if said.kind != kind {
        return Err(Fault::Type);
    }
    // In a frame on somebody else's page, nobody sees where they sign in.
    if said.cross_origin || !config.is_ours(&said.origin) {
        return Err(Fault::Origin);
    }
    Ok(said.challenge)
}

/// The flags of authenticator data (WebAuthn 6.1).
const PRESENT: u8 = 1;
const VERIFIED: u8 = 1 << 2;
const MAY_BE_BACKED_UP: u8 = 1 << 3;
const BACKED_UP: u8 = 1 << 4;
const ATTESTED: u8 = 1 << 6;
const EXTENDED: u8 = 1 << 7;

/// What the authenticator says.
struct AuthenticatorData<'a> {
    flags: u8,
    counter: u32,
    rest: &'a [u8],
}

impl<'a> AuthenticatorData<'a> {
    /// Reads it: it must be for our domain, and its holder verified by the device.
    fn read(bytes: &'a [u8], config: &PasskeyConfig) -> Result<Self, Fault> {
        let (domain, rest) = bytes.split_at_checked(SHA256.output_len()).ok_or(Fault::Malformed)?;
        let (&flags, rest) = rest.split_first().ok_or(Fault::Malformed)?;
        let (counter, rest) = rest.split_first_chunk().ok_or(Fault::Malformed)?;
        if domain != digest(&SHA256, config.domain.as_bytes()).as_ref() {
            return Err(Fault::Domain);
        }
        let has = |flag| flags & flag != 0;
        if !has(PRESENT) || !has(VERIFIED) {
            return Err(Fault::Unverified);
        }
        if has(BACKED_UP) && !has(MAY_BE_BACKED_UP) {
            return Err(Fault::Malformed);
        }
        Ok(Self { flags, counter: u32::from_be_bytes(*counter), rest })
    }

    /// The id and the public key (COSE) of a new credential.
    fn attested(&self) -> Result<(&'a [u8], &'a [u8]), Fault> {
        let model_bytes = 16;
        let has = |flag| self.flags & flag != 0;
        let read = || {
            let (_, rest) = self.rest.split_at_checked(model_bytes).filter(|_| has(ATTESTED))?;
            let (length, rest) = rest.split_first_chunk()?;
            let (id, key) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
            let mut rest = key;
            let _: Value = cbor::de::from_reader(&mut rest).ok()?;
            let key = &key[..key.len() - rest.len()];
            if has(EXTENDED) {
                let _: Value = cbor::de::from_reader(&mut rest).ok()?;
            }
            rest.is_empty().then_some((id, key))
        };
        read().ok_or(Fault::Malformed)
    }
}
