use serde_json::json;
use soundoff_common::protocol::now_ms;

use super::*;

const SECRET: &[u8] = b"hush-hush-hush-hush-hush-hush-32";

fn config(key: ForeignKey) -> ForeignConfig {
    ForeignConfig {
        issuer: "us".to_owned(),
        audience: vec!["soundoff".to_owned()],
        key,
        claim: "sub".to_owned(),
        handle_claims: vec!["handle".to_owned(), "preferred_username".to_owned()],
        max_age_s: 3600,
    }
}

fn tokens(key: ForeignKey) -> ForeignTokens {
    ForeignTokens::new(vec![config(key)])
}

fn signed(claims: &Value) -> String {
    let header = jsonwebtoken::Header::new(Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &jsonwebtoken::EncodingKey::from_secret(SECRET)).unwrap()
}

#[test]
fn a_user_of_theirs_has_one_sign_in_whatever_the_token() {
    let now = now_ms() / 1000;
    let tokens = tokens(ForeignKey::shared(SECRET).unwrap());
    let read = |sub: &str, more: Value| {
        let mut claims =
            json!({ "iss": "us", "aud": ["x", "soundoff"], "sub": sub, "iat": now, "exp": now + 7200 });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let token = signed(&claims);
        let told = tokens.read(&token, now).unwrap();
        (told.token, told.handle.map(|handle| handle.to_string()))
    };
    let (anna, handle) = read("anna", json!({ "handle": "No Handle", "preferred_username": "anna_1" }));
    assert_eq!((anna.issued_at, anna.expires_at), (now, now + 3600), "no older than it may be");
    assert_eq!(handle.as_deref(), Some("anna_1"), "the first that is one");
    assert_eq!(read("anna", json!({ "jti": "another", "handle": "bea" })).0.session, anna.session);
    assert_ne!(read("bea", json!({})).0.session, anna.session);
    assert_ne!(ForeignTokens::session("u", "sanna"), ForeignTokens::session("us", "anna"));
}

#[test]
fn keys_that_are_weak_or_none_are_refused() {
    assert!(ForeignKey::shared(&SECRET[1..]).is_err());
    let pem = |der: &[u8]| {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64.encode(der))
    };
    let rsa = |bytes: usize| {
        let mut der = vec![0x30, 0x82, 0x01, 0x22, 0x30, 0x0d];
        der.extend([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00]);
        der.extend(vec![1; bytes]);
        pem(&der)
    };
    for bad in
        ["", "hush", &pem(b"hush"), &rsa(128), "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"]
    {
        assert!(ForeignKey::public(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn while_its_keys_are_not_known_a_token_opens_nothing_and_is_not_called_bad() {
    let now = now_ms() / 1000;
    let tokens = tokens(ForeignKey::At("http://127.0.0.1:9/jwks".parse().unwrap()));
    let mut header = jsonwebtoken::Header::new(Algorithm::HS256);
    let claims = json!({ "iss": "us", "aud": "soundoff", "sub": "anna", "iat": now, "exp": now + 60 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let unnamed = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    header.kid = Some("k".to_owned());
    let named = jsonwebtoken::encode(&header, &claims, &key).unwrap();
    assert_eq!(tokens.read(&named, now).err(), Some(TokenError::Unknown));
    assert_eq!(tokens.read(&unnamed, now).err(), Some(TokenError::Invalid), "no id of a key");
    assert_eq!(tokens.read("x", now).err(), Some(TokenError::Invalid));
}
