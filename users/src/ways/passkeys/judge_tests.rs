use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use coset::cbor;
use coset::cbor::value::Value as Cbor;
use serde_json::Map;
use soundoff_common::ports::tables::{Table, TableError};
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::Role;
use soundoff_common::web::origins::Origins;
use soundoff_common::web::secret::Secret;
use soundoff_common::web::secret::roots::Roots;
use soundoff_embedded::tables::{EmbeddedTables, TableOptions};
use ulid::Ulid;

use super::*;
use crate::ways::passkeys::answers::decoded;

const NOW: u64 = 1_700_000_000_000;
const PAGE: &str = "https://example.org";
/// Present, verified.
const FLAGS: u8 = 0b101;

enum Key {
    Es(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rs(Box<RsaKeyPair>),
}

impl Key {
    fn all() -> [Self; 3] {
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        [Self::es(), Self::Ed(Ed25519KeyPair::generate().unwrap()), Self::Rs(Box::new(rsa))]
    }

    fn es() -> Self {
        Self::Es(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    /// COSE's parameters.
    fn parameters(&self) -> Vec<(i64, Cbor)> {
        let number = |n: i64| Cbor::Integer(n.into());
        let bytes = |bytes: &[u8]| Cbor::Bytes(bytes.to_vec());
        match self {
            Self::Es(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                vec![(1, number(2)), (3, number(-7)), (-1, number(1)), (-2, bytes(x)), (-3, bytes(y))]
            }
            Self::Ed(pair) => {
                let x = pair.public_key().as_ref();
                vec![(1, number(1)), (3, number(-8)), (-1, number(6)), (-2, bytes(x))]
            }
            Self::Rs(pair) => {
                let public = pair.public_key();
                let e = public.exponent().big_endian_without_leading_zero().to_vec();
                let n = public.modulus().big_endian_without_leading_zero().to_vec();
                vec![(1, number(3)), (3, number(-257)), (-1, bytes(&n)), (-2, bytes(&e))]
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rs(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn written(value: &Cbor) -> Vec<u8> {
    let mut bytes = Vec::new();
    cbor::ser::into_writer(value, &mut bytes).unwrap();
    bytes
}

fn cose(parameters: Vec<(i64, Cbor)>) -> Vec<u8> {
    let entries = parameters.into_iter().map(|(label, value)| (Cbor::Integer(label.into()), value));
    written(&Cbor::Map(entries.collect()))
}

/// What a page, a browser and an authenticator do together, honest unless a test changes a field.
#[derive(Clone)]
struct Device {
    id: Vec<u8>,
    user_handle: Option<String>,
    domain: &'static str,
    origin: &'static str,
    kind: Option<&'static str>,
    extra: Map<String, Value>,
    flags: u8,
    counter: u32,
    /// What comes after the authenticator's data.
    tail: Vec<u8>,
}

impl Device {
    fn new(user: &str) -> Self {
        Self {
            id: Ulid::generate().to_bytes().to_vec(),
            user_handle: Some(user_handle(&seal(), &user.parse().unwrap())),
            domain: "example.org",
            origin: PAGE,
            kind: None,
            extra: Map::new(),
            flags: FLAGS,
            counter: 0,
            tail: Vec::new(),
        }
    }

    fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let mut said = self.extra.clone();
        said.insert("type".into(), self.kind.unwrap_or(kind).into());
        said.insert("challenge".into(), challenge.into());
        said.insert("origin".into(), self.origin.into());
        serde_json::to_vec(&said).unwrap()
    }

    fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let domain = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, self.domain.as_bytes());
        [domain.as_ref(), &[flags], &self.counter.to_be_bytes(), &self.tail].concat()
    }

    fn get(&self, key: &Key, challenge: &str) -> Value {
        let client_data = self.client_data("webauthn.get", challenge);
        let data = self.authenticator_data(self.flags);
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &client_data);
        let signature = key.sign(&[&data, hash.as_ref()].concat());
        json!({
            "id": encoded(&self.id), "rawId": encoded(&self.id), "type": "public-key",
            "clientExtensionResults": {},
            "response": {
                "clientDataJSON": encoded(client_data), "authenticatorData": encoded(data),
                "signature": encoded(signature), "userHandle": self.user_handle.as_ref().map(encoded),
            },
        })
    }

    fn create(&self, key: Vec<u8>, challenge: &str) -> Value {
        let length = u16::try_from(self.id.len()).unwrap().to_be_bytes();
        let attested = [&[0; 16], &length[..], &self.id, &key].concat();
        let device = Self { tail: [attested, self.tail.clone()].concat(), ..self.clone() };
        let data = device.authenticator_data(self.flags | 1 << 6);
        let object = Cbor::Map(vec![
            (Cbor::Text("fmt".into()), Cbor::Text("none".into())),
            (Cbor::Text("attStmt".into()), Cbor::Map(Vec::new())),
            (Cbor::Text("authData".into()), Cbor::Bytes(data)),
        ]);
        json!({
            "id": encoded(&self.id), "type": "public-key",
            "response": {
                "clientDataJSON": encoded(self.client_data("webauthn.create", challenge)),
                "attestationObject": encoded(written(&object)),
            },
        })
    }
}

fn seal() -> Seal {
    Seal::new(&Secret::new(&[1; 32]).unwrap()).unwrap()
}

fn config() -> PasskeyConfig {
    let pages = ["https://app.example.org".parse().unwrap(), "null".parse().unwrap()];
    PasskeyConfig {
        domain: "example.org".into(),
        pages: Origins::new(&pages),
        apps: vec!["android:apk-key-hash:abc".into()],
        roles: Vec::new(),
    }
}

fn claims(user: &str) -> Claims {
    Claims { user: user.parse().unwrap(), session: Ulid::from_parts(1, 1), role: Role::User, expires_at: 0 }
}

/// Tables that hold alice's passkey.
struct Place {
    tables: Arc<EmbeddedTables>,
    _dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tables = EmbeddedTables::open(dir.path(), &TableOptions::default()).unwrap();
        Self { tables, _dir: dir }
    }

    async fn with(device: &Device, key: &Key) -> Self {
        let place = Self::new();
        place.add(device, cose(key.parameters())).await.unwrap();
        place
    }

    async fn add(&self, device: &Device, key: Vec<u8>) -> Result<(), String> {
        let (seal, alice) = (seal(), claims("alice"));
        let purpose = Purpose::Add(&alice);
        let answer = device.create(key, &challenge::fresh(&seal, &purpose, NOW));
        let credential: Credential<Added> = serde_json::from_value(answer).unwrap();
        let judged = attestation((&config(), &seal), &credential, &purpose, NOW);
        let (identity, spend, passkey) = judged.map_err(|refusal| refusal.to_string())?;
        let kept = passkey.kept(&seal, (&identity, &alice.user), NOW).unwrap();
        self.tables.write(vec![spend, kept]).await.unwrap();
        Ok(())
    }

    /// Judges an answer, and uses it up.
    async fn take(&self, answer: Value, purpose: &Purpose<'_>, now: u64) -> Result<(), String> {
        self.take_by(&seal(), answer, purpose, now).await
    }

    async fn take_by(
        &self,
        seal: &Seal,
        answer: Value,
        purpose: &Purpose<'_>,
        now: u64,
    ) -> Result<(), String> {
        let credential: Credential<Asserted> =
            serde_json::from_value(answer).map_err(|_| Fault::Malformed.to_string())?;
        let judged = assertion(&*self.tables, (&config(), seal), &credential, purpose, now).await;
        let Proof { spend, counted, .. } = judged.map_err(|refusal| refusal.to_string())?;
        self.tables.write(vec![spend, counted]).await.map_err(|error| match error {
            TableError::ConditionFailed { index: 0 } => "used".to_owned(),
            error => error.to_string(),
        })
    }

    async fn signs_in(&self, device: &Device, key: &Key) -> Result<(), String> {
        let challenge = challenge::fresh(&seal(), &Purpose::SignIn, NOW);
        self.take(device.get(key, &challenge), &Purpose::SignIn, NOW).await
    }
}

fn fault<T>(fault: Fault) -> Result<T, String> {
    Err(fault.to_string())
}

#[tokio::test]
async fn a_passkey_of_each_kind_signs_in_and_proves_as_often_as_it_is_asked() {
    for key in Key::all() {
        let device = Device::new("alice");
        let place = Place::with(&device, &key).await;
        assert_eq!(place.signs_in(&device, &key).await, Ok(()));
        // From a listed page, an app, and synced to another device.
        for origin in ["https://app.example.org", "android:apk-key-hash:abc"] {
            let flags = FLAGS | 0b1_1000;
            assert_eq!(place.signs_in(&Device { origin, flags, ..device.clone() }, &key).await, Ok(()));
        }
        let alice = claims("alice");
        let purpose = Purpose::Prove(&alice);
        // Where it is known whom it is about, an authenticator need not say it.
        let silent = Device { user_handle: None, ..device.clone() };
        let challenge = challenge::fresh(&seal(), &purpose, NOW);
        let last = NOW + challenge::LIFETIME_MS - 1;
        assert_eq!(place.take(silent.get(&key, &challenge), &purpose, last).await, Ok(()));
    }
}

#[tokio::test]
async fn an_answer_with_one_thing_wrong_is_refused_for_that() {
    let key = Key::es();
    let device = Device::new("alice");
    let place = Place::with(&device, &key).await;
    let crossing = Map::from_iter([("crossOrigin".to_owned(), true.into())]);
    let cases = [
        (Fault::Type, Device { kind: Some("webauthn.create"), ..device.clone() }),
        (Fault::Origin, Device { origin: "https://evil.example", ..device.clone() }),
        (Fault::Origin, Device { origin: "https://other.example.org", ..device.clone() }),
        (Fault::Origin, Device { origin: "https://example.org:8443", ..device.clone() }),
        (Fault::Origin, Device { origin: "http://example.org", ..device.clone() }),
        (Fault::Origin, Device { origin: "http://localhost", ..device.clone() }),
        (Fault::Origin, Device { origin: "null", ..device.clone() }),
        (Fault::Origin, Device { origin: "android:apk-key-hash:abcd", ..device.clone() }),
        (Fault::Origin, Device { extra: crossing, ..device.clone() }),
        (Fault::Domain, Device { domain: "evil.example", ..device.clone() }),
        (Fault::Unverified, Device { flags: 0b001, ..device.clone() }),
        (Fault::Unverified, Device { flags: 0b100, ..device.clone() }),
        (Fault::Malformed, Device { flags: FLAGS | 0b1_0000, ..device.clone() }),
        (Fault::Unknown, Device { id: vec![7; 16], ..device.clone() }),
        (Fault::Unknown, Device { user_handle: None, ..device.clone() }),
        (Fault::Unknown, Device { user_handle: Some("alice".into()), ..device.clone() }),
        (Fault::Unknown, Device::new("alice")),
        (Fault::Unknown, Device { user_handle: Device::new("bob").user_handle, ..device.clone() }),
    ];
    for (at, (expected, wrong)) in cases.into_iter().enumerate() {
        assert_eq!(place.signs_in(&wrong, &key).await, fault(expected), "case {at}");
    }
    assert_eq!(place.signs_in(&device, &Key::es()).await, fault(Fault::Unknown), "another key");
    let ed = Key::Ed(Ed25519KeyPair::generate().unwrap());
    assert_eq!(place.signs_in(&device, &ed).await, fault(Fault::Unknown), "another algorithm");
    let challenge = challenge::fresh(&seal(), &Purpose::SignIn, NOW);
    let good = device.get(&key, &challenge);
    for field in ["signature", "authenticatorData", "clientDataJSON"] {
        let mut bytes = decoded(good["response"][field].as_str().unwrap()).unwrap();
        // A byte that leaves everything else readable: of the signature, the counter, a space more.
        match field {
            "clientDataJSON" => bytes.push(b' '),
            _ => *bytes.last_mut().unwrap() ^= 1,
        }
        let mut altered = good.clone();
        altered["response"][field] = encoded(bytes).into();
        let taken = place.take(altered, &Purpose::SignIn, NOW).await;
        assert_eq!(taken, fault(Fault::Unknown), "{field}");
    }
    for (pointer, broken) in [
        ("/id", json!("")),
        ("/id", json!("not base64url!")),
        ("/id", json!(encoded([1; 1024]))),
        ("/type", json!("password")),
        ("/response", json!(null)),
        ("/response/clientDataJSON", json!(encoded("no json"))),
        ("/response/authenticatorData", json!(encoded([1; 36]))),
        ("/response/signature", json!("===")),
        ("/response/userHandle", json!(7)),
    ] {
        let mut torn = good.clone();
        *torn.pointer_mut(pointer).unwrap() = broken.clone();
        let taken = place.take(torn, &Purpose::SignIn, NOW).await;
        let expected = if pointer == "/response/signature" { Fault::Unknown } else { Fault::Malformed };
        assert_eq!(taken, fault(expected), "{pointer} {broken}");
    }
    assert_eq!(place.take(good, &Purpose::SignIn, NOW).await, Ok(()), "nothing was used up");
}

#[tokio::test]
async fn a_challenge_is_good_for_its_purpose_once_and_for_five_minutes() {
    let key = Key::es();
    let device = Device::new("alice");
    let place = Place::with(&device, &key).await;
    let (seal, alice, bob) = (seal(), claims("alice"), claims("bob"));
    let elsewhere = Claims { session: Ulid::from_parts(2, 2), ..alice.clone() };
    let wanted = Purpose::Prove(&alice);
    let strange = Seal::new(&Secret::new(&[2; 32]).unwrap()).unwrap();
    let mut altered = decoded(&challenge::fresh(&seal, &wanted, NOW)).unwrap();
    altered[0] ^= 1;
    for (name, challenge) in [
        ("to sign in", challenge::fresh(&seal, &Purpose::SignIn, NOW)),
        ("to be added", challenge::fresh(&seal, &Purpose::Add(&alice), NOW)),
        ("of another user", challenge::fresh(&seal, &Purpose::Prove(&bob), NOW)),
        ("of another session", challenge::fresh(&seal, &Purpose::Prove(&elsewhere), NOW)),
        ("of another deployment", challenge::fresh(&strange, &wanted, NOW)),
        ("altered", encoded(altered)),
        ("invented", encoded([1; 56])),
        ("short", encoded([1; 8])),
        ("empty", String::new()),
        ("expired", challenge::fresh(&seal, &wanted, NOW - challenge::LIFETIME_MS)),
        ("of the future", challenge::fresh(&seal, &wanted, NOW + 10 * challenge::LIFETIME_MS)),
    ] {
        let taken = place.take(device.get(&key, &challenge), &wanted, NOW).await;
        assert_eq!(taken, fault(Fault::Challenge), "{name}");
    }
    let challenge = challenge::fresh(&seal, &wanted, NOW);
    let answer = device.get(&key, &challenge);
    assert_eq!(place.take(answer.clone(), &wanted, NOW).await, Ok(()));
    assert_eq!(place.take(answer, &wanted, NOW).await, Err("used".into()), "a replay");
    assert_eq!(place.take(device.get(&key, &challenge), &wanted, NOW + 1).await, Err("used".into()));
    let proving = challenge::fresh(&seal, &wanted, NOW);
    let taken = place.take(device.get(&key, &proving), &Purpose::SignIn, NOW).await;
    assert_eq!(taken, fault(Fault::Challenge), "a proof begins no session");
}

#[tokio::test]
async fn a_counter_that_goes_back_tells_of_a_copy() {
    let key = Key::es();
    let device = Device { counter: 5, ..Device::new("alice") };
    let place = Place::with(&device, &key).await;
    let counts = async |counter| place.signs_in(&Device { counter, ..device.clone() }, &key).await;
    assert_eq!(counts(6).await, Ok(()));
    for back in [6, 5, 0] {
        assert_eq!(counts(back).await, fault(Fault::Copied), "{back}");
    }
    assert_eq!(counts(u32::MAX).await, Ok(()));
    // Somebody who has no key learns nothing of the counter.
    let stranger = place.signs_in(&Device { counter: 1, ..device.clone() }, &Key::es()).await;
    assert_eq!(stranger, fault(Fault::Unknown));
    // Two answers at the same moment, both good when they were judged: one is taken.
    let place = Place::with(&device, &key).await;
    let judged = async |counter| {
        let challenge = challenge::fresh(&seal(), &Purpose::SignIn, NOW);
        let answer = Device { counter, ..device.clone() }.get(&key, &challenge);
        let credential = serde_json::from_value(answer).unwrap();
        assertion(&*place.tables, (&config(), &seal()), &credential, &Purpose::SignIn, NOW).await.unwrap()
    };
    let (one, other) = (judged(7).await, judged(8).await);
    place.tables.write(vec![other.spend, other.counted]).await.unwrap();
    let lost = place.tables.write(vec![one.spend, one.counted]).await;
    assert!(matches!(lost, Err(TableError::ConditionFailed { index: 1 })), "{lost:?}");
}

#[tokio::test]
async fn only_keys_of_the_listed_kinds_are_added() {
    let device = Device::new("alice");
    let number = |n: i64| Cbor::Integer(n.into());
    let with = |key: &Key, label: i64, value: Option<Cbor>| {
        let mut parameters = key.parameters();
        parameters.retain(|(known, _)| *known != label);
        parameters.extend(value.map(|value| (label, value)));
        cose(parameters)
    };
    let [es, ed, rs] = Key::all();
    let place = Place::new();
    for (name, key) in [
        ("no algorithm", with(&es, 3, None)),
        ("ES384", with(&es, 3, Some(number(-35)))),
        ("another algorithm than the key's", with(&es, 3, Some(number(-8)))),
        ("another curve", with(&es, -1, Some(number(2)))),
        ("a short coordinate", with(&es, -2, Some(Cbor::Bytes(vec![1; 31])))),
        ("a point beside the curve", with(&es, -2, Some(Cbor::Bytes(vec![1; 32])))),
        ("a compressed point", with(&es, -3, Some(Cbor::Bool(true)))),
        ("X25519", with(&ed, -1, Some(number(4)))),
        ("RSA of 1024 bits", with(&rs, -1, Some(Cbor::Bytes(vec![0xff; 128])))),
        ("RSA of 16384 bits", with(&rs, -1, Some(Cbor::Bytes(vec![0xff; 2048])))),
        ("a shared secret", with(&ed, 1, Some(number(4)))),
        ("no map", written(&Cbor::Array(vec![number(1)]))),
    ] {
        assert_eq!(place.add(&device, key).await, fault(Fault::Algorithm), "{name}");
    }
    // An authenticator may say more of itself.
    let tail = written(&Cbor::Map(vec![(Cbor::Text("credProtect".into()), number(2))]));
    let more = Device { flags: FLAGS | 1 << 7, tail: tail.clone(), ..device.clone() };
    assert_eq!(place.add(&more, cose(es.parameters())).await, Ok(()));
    assert_eq!(place.signs_in(&device, &es).await, Ok(()));
    let unsaid = Device { tail, ..Device::new("alice") };
    assert_eq!(place.add(&unsaid, cose(es.parameters())).await, fault(Fault::Malformed));
    let nobody = Device { id: Vec::new(), ..device.clone() };
    assert_eq!(place.add(&nobody, cose(es.parameters())).await, fault(Fault::Malformed));
}

#[tokio::test]
async fn neither_key_nor_user_is_legible_at_rest_or_in_the_device() {
    let key = Key::es();
    let device = Device::new("alice");
    let place = Place::with(&device, &key).await;
    let options = creation_options(&config(), &seal(), (&claims("alice").user, &[]), "c");
    let named = decoded(options["user"]["id"].as_str().unwrap()).unwrap();
    assert!(named.len() <= 64 && !String::from_utf8_lossy(&named).contains("alice"));
    let identity = Identity::elsewhere(Kind::Passkey, encoded(&device.id));
    let mut at = identity.row(&seal()).key();
    assert!(!at.pk.contains(&encoded(&device.id)), "{at:?}");
    at.sk = "passkey".into();
    let item = place.tables.get(Table::Entities, at).await.unwrap().unwrap();
    let text = serde_json::to_string(&item).unwrap();
    assert!(!text.contains(&encoded(cose(key.parameters()))[..20]), "{text}");
}

#[tokio::test]
async fn a_passkey_and_a_challenge_outlive_the_root_that_they_were_made_under() {
    let (key, device) = (Key::es(), Device { counter: 1, ..Device::new("alice") });
    let place = Place::with(&device, &key).await;
    let challenge = challenge::fresh(&seal(), &Purpose::SignIn, NOW);
    let mut roots = Roots::read(&[1; 32]).unwrap();
    roots.add([2; 32], 1, true).unwrap();
    roots.use_newest(2).unwrap();
    let both = Seal::new(&roots.secret().unwrap()).unwrap();
    let used = |counter| Device { counter, ..device.clone() };
    let answer = used(2).get(&key, &challenge);
    assert_eq!(place.take_by(&both, answer, &Purpose::SignIn, NOW).await, Ok(()));
    // Moved, it is found without the former root.
    let identity = Identity::elsewhere(Kind::Passkey, encoded(&device.id));
    let (from, to) = (identity.row(&seal()), identity.row(&both));
    let moved = stored::moved(&*place.tables, &both, (&from, &to)).await.unwrap();
    place.tables.write(moved).await.unwrap();
    assert!(stored::moved(&*place.tables, &both, (&to, &to)).await.unwrap().is_empty(), "it is there");
    let alone = Seal::new(&Secret::new(&[2; 32]).unwrap()).unwrap();
    let challenge = challenge::fresh(&alone, &Purpose::SignIn, NOW);
    let answer = used(3).get(&key, &challenge);
    assert_eq!(place.take_by(&alone, answer, &Purpose::SignIn, NOW).await, Ok(()));
    let again = place.take_by(&alone, used(3).get(&key, &challenge), &Purpose::SignIn, NOW).await;
    assert_eq!(again, fault(Fault::Copied), "its counter came with it");
}
