//! What others have issued and this server takes: the OpenID providers with which users sign in, and the customer's own
//! tokens.
//!
//! Both are lists, so each is one JSON text: a flag for each field would allow one provider only. A deployment's
//! containers have nothing but their environment and its secrets, so the text itself is the value; on a machine with files
//! `@FILE` is easier to keep.

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use soundoff_users::fetch::safe_url;
use soundoff_users::{ForeignConfig, ForeignKey, OpenIdConfig};

use super::values::YEAR_S;

/// The most entries of a list: each is asked for its keys by each process.
const MOST: usize = 32;

/// Who issues our own tokens.
const OURS: &str = "soundoff";
const DAY_S: u64 = 24 * 3600;
/// Where handles are in most tokens.
const HANDLE_CLAIMS: &[&str] = &["handle", "preferred_username"];

/// The OpenID providers (docs/sign-in.md).
#[derive(Debug, Args)]
#[command(next_help_heading = "Signing in")]
pub(crate) struct ProvidersArgs {
    /// OpenID providers with which users may sign in, as a JSON list or as `@FILE` with one. `[{"name":"google",
    /// "title":"Google","issuer":"https://accounts.google.com","client_ids":["…"],"client_secret":"…",
    /// "redirect_uris":["https://example.org/"]}]` is enough for Google; docs/sign-in.md lists all fields.
    #[arg(long, env = "SOUNDOFF_OPENID_PROVIDERS", value_name = "JSON|@FILE", hide_env_values = true)]
    openid_providers: Option<String>,
}

impl ProvidersArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Vec<OpenIdConfig>> {
        let flag = "--openid-providers";
        let providers: Vec<OpenIdConfig> = list(flag, self.openid_providers.as_deref(), provider)?;
        for (at, provider) in providers.iter().enumerate() {
            let twice = providers[..at].iter().any(|other| other.name == provider.name);
            ensure!(!twice, "{flag}: two are called {}; each needs a name of its own", provider.name);
        }
        Ok(providers)
    }
}

/// The customer's own tokens (docs/sign-in.md).
#[derive(Debug, Args)]
#[command(next_help_heading = "Signing in")]
pub(crate) struct ForeignArgs {
    /// Tokens (JWT) of your own server that open sockets and pages here, as a JSON list of their issuers or as `@FILE` with
    /// one: `[{"issuer":"https://id.example.org","audience":"soundoff","jwks_url":"https://id.example.org/jwks"}]`. In
    /// place of `jwks_url` there may be a `public_key` (PEM). Give the same to `edge` and `users`; docs/sign-in.md lists
    /// all fields.
    #[arg(long, env = "SOUNDOFF_FOREIGN_TOKENS", value_name = "JSON|@FILE", hide_env_values = true)]
    foreign_tokens: Option<String>,
}

impl ForeignArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Vec<ForeignConfig>> {
        let flag = "--foreign-tokens";
        let issuers: Vec<ForeignConfig> = list(flag, self.foreign_tokens.as_deref(), issuer)?;
        for (at, issuer) in issuers.iter().enumerate() {
            let twice = issuers[..at].iter().any(|other| other.issuer == issuer.issuer);
            ensure!(!twice, "{flag}: two have the issuer {}; put all its audiences in one", issuer.issuer);
        }
        Ok(issuers)
    }
}

/// Reads a list; each entry is read as `T` and then by `made`. No error repeats a value: it may be a secret.
pub(super) fn list<T: DeserializeOwned, U>(
    flag: &str,
    given: Option<&str>,
    made: impl Fn(T) -> anyhow::Result<U>,
) -> anyhow::Result<Vec<U>> {
    let text = match given {
        None => return Ok(Vec::new()),
        Some(given) => match given.strip_prefix('@') {
            Some(file) => {
                std::fs::read_to_string(file).with_context(|| format!("{flag}: cannot read {file}"))?
            }
            None => given.to_owned(),
        },
    };
    let entries: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("{flag} is no JSON list; write [{{…}}], or @FILE with one"))?;
    ensure!(entries.len() <= MOST, "{flag} lists {}; at most {MOST} are taken", entries.len());
    let entry = |(at, entry): (usize, Value)| {
        let name = ["name", "issuer"].into_iter().find_map(|field| entry.get(field)?.as_str());
        let which =
            format!("{flag}, number {}{}", at + 1, name.map_or(String::new(), |name| format!(" ({name})")));
        T::deserialize(entry).map_err(anyhow::Error::from).and_then(&made).context(which)
    };
    entries.into_iter().enumerate().map(entry).collect()
}

/// A secret in a list. What is no text is not repeated.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(secret) if !secret.is_empty() => Ok(Some(secret)),
        _ => Err(serde::de::Error::custom(
            "a secret is a text that is not empty; leave it out if there is none",
        )),
    }
}

/// A provider as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provider {
    name: String,
    title: Option<String>,
    issuer: String,
    client_ids: Vec<String>,
    #[serde(default, deserialize_with = "secret")]
    client_secret: Option<String>,
    jwks_url: Option<String>,
    authorize_url: Option<String>,
    token_url: Option<String>,
    scopes: Option<Vec<String>>,
    claim: Option<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
}

fn provider(written: Provider) -> anyhow::Result<OpenIdConfig> {
    let url = |field: &'static str, text: Option<String>| {
        text.map(|text| safe_url(&text).context(field)).transpose()
    };
    let base = OpenIdConfig::new(&written.name, &written.issuer, written.client_ids);
    let config = OpenIdConfig {
        title: written.title.unwrap_or(base.title),
        client_secret: written.client_secret,
        jwks_url: url("`jwks_url`", written.jwks_url)?,
        authorize_url: url("`authorize_url`", written.authorize_url)?,
        token_url: url("`token_url`", written.token_url)?,
        scopes: written.scopes.unwrap_or(base.scopes),
        claim: written.claim.unwrap_or(base.claim),
        redirect_uris: written.redirect_uris,
        ..base
    };
    config.check()?;
    if config.client_secret.is_some() && config.redirect_uris.is_empty() {
        bail!("`client_secret` is for codes, and those need `redirect_uris`: where users are sent back to");
    }
    Ok(config)
}

/// One text, or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl From<Texts> for Vec<String> {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::One(one) => vec![one],
            Texts::Many(many) => many,
        }
    }
}

/// An issuer as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    issuer: String,
    audience: Texts,
    jwks_url: Option<String>,
    public_key: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    hs256_secret: Option<String>,
    claim: Option<String>,
    handle_claims: Option<Vec<String>>,
    max_age_s: Option<u64>,
}

fn issuer(written: Issuer) -> anyhow::Result<ForeignConfig> {
    let key = match (&written.jwks_url, &written.public_key, &written.hs256_secret) {
        (Some(url), None, None) => ForeignKey::At(safe_url(url).context("`jwks_url`")?),
        (None, Some(pem), None) => ForeignKey::public(pem).context("`public_key`")?,
        (None, None, Some(secret)) => ForeignKey::shared(secret.as_bytes()).context("`hs256_secret`")?,
        _ => {
            bail!("write one of `jwks_url`, `public_key` and `hs256_secret`: what the tokens are signed with")
        }
    };
    let audience: Vec<String> = written.audience.into();
    ensure!(!written.issuer.is_empty(), "`issuer` is the `iss` of the tokens");
    ensure!(written.issuer != OURS, "`issuer` must not be {OURS}: that is this server itself");
    let named = !audience.is_empty() && !audience.iter().any(String::is_empty);
    ensure!(named, "`audience` is the `aud` of the tokens, which says that they are for this server");
    let max_age_s = written.max_age_s.unwrap_or(DAY_S);
    ensure!((1..=YEAR_S).contains(&max_age_s), "`max_age_s` is from 1 to {YEAR_S}");
    let texts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Ok(ForeignConfig {
        issuer: written.issuer,
        audience,
        key,
        claim: written.claim.unwrap_or_else(|| "sub".to_owned()),
        handle_claims: written.handle_claims.unwrap_or_else(|| texts(HANDLE_CLAIMS)),
        max_age_s,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> anyhow::Result<Vec<OpenIdConfig>> {
        ProvidersArgs { openid_providers: Some(text.to_owned()) }.config()
    }

    fn google() -> Value {
        json!({
            "name": "google", "title": "Google", "issuer": "https://accounts.google.com",
            "client_ids": ["web", "ios"], "client_secret": "hush", "redirect_uris": ["https://example.org/"],
        })
    }

    #[test]
    fn providers_are_read_with_all_that_need_not_be_said() {
        let work =
            json!({ "name": "work", "issuer": "https://id.example/", "client_ids": ["a"], "claim": "oid" });
        let read = read(&json!([google(), work]).to_string()).unwrap();
        let [google, work] = &read[..] else { panic!("two") };
        assert_eq!((google.title.as_str(), google.claim.as_str()), ("Google", "sub"));
        assert_eq!(google.scopes, ["openid"]);
        assert_eq!((work.title.as_str(), work.claim.as_str()), ("work", "oid"));
        assert!(!format!("{google:?}").contains("hush"), "a secret is not printed");
        assert!(ProvidersArgs { openid_providers: None }.config().unwrap().is_empty());
    }

    #[test]
    fn a_file_is_as_good_as_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("providers.json");
        std::fs::write(&file, json!([google()]).to_string()).unwrap();
        assert_eq!(read(&format!("@{}", file.display())).unwrap()[0].name, "google");
        let missing = format!("@{}/x", dir.path().display());
        assert!(format!("{:#}", read(&missing).unwrap_err()).contains("cannot read"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_with_it() {
        let changed = |field: &str, value: Value| {
            let mut google = google();
            google[field] = value;
            json!([google]).to_string()
        };
        for (text, why) in [
            ("hush".to_owned(), "no JSON list"),
            ("{}".to_owned(), "no JSON list"),
            (json!([google(), google()]).to_string(), "two are called google"),
            (changed("name", json!("apple")), "`name`"),
            (changed("name", json!("Google")), "`name`"),
            (changed("name", json!("")), "`name`"),
            (changed("name", json!("a/b")), "`name`"),
            (changed("issuer", json!("http://accounts.google.com")), "https"),
            (changed("issuer", json!("https://accounts.google.com/?x")), "`issuer`"),
            (changed("client_ids", json!([])), "`client_ids`"),
            (changed("client_ids", json!([""])), "client id"),
            (changed("client_secret", json!(["hush"])), "a secret is a text"),
            (changed("client_secret", json!("")), "a secret is a text"),
            (changed("redirect_uris", json!([])), "`redirect_uris`"),
            (changed("scopes", json!(["email"])), "openid"),
            (changed("title", json!(" ")), "`title`"),
            (changed("token_url", json!("http://example.org/token")), "`token_url`"),
            (changed("client_id", json!("a")), "unknown field `client_id`"),
        ] {
            let error = format!("{:#}", read(&text).unwrap_err());
            assert!(error.contains("--openid-providers") && error.contains(why), "{why}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }

    fn foreign(entries: &Value) -> anyhow::Result<Vec<ForeignConfig>> {
        ForeignArgs { foreign_tokens: Some(entries.to_string()) }.config()
    }

    const LONG: &str = "hush-hush-hush-hush-hush-hush-32";

    #[test]
    fn own_tokens_are_read_with_all_that_need_not_be_said() {
        let entry = json!({ "issuer": "us", "audience": "soundoff", "hs256_secret": LONG });
        let read = foreign(&json!([entry])).unwrap();
        let ForeignConfig { audience, claim, handle_claims, max_age_s, .. } = &read[0];
        assert_eq!(
            (audience.as_slice(), claim.as_str(), *max_age_s),
            (&["soundoff".to_owned()][..], "sub", DAY_S)
        );
        assert_eq!(handle_claims, HANDLE_CLAIMS);
        assert!(!format!("{read:?}").contains("hush"), "a secret is not printed");
        assert!(
            foreign(
                &json!([{ "issuer": "us", "audience": ["a", "b"], "jwks_url": "https://id.example/jwks" }])
            )
            .is_ok()
        );
    }

    #[test]
    fn own_tokens_without_a_key_a_reader_or_an_issuer_are_refused() {
        let good = json!({ "issuer": "us", "audience": "soundoff", "jwks_url": "https://id.example/jwks" });
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut entry = good.clone();
            change(&mut entry);
            json!([entry])
        };
        let set = |field: &'static str, value: Value| changed(&|entry| entry[field] = value.clone());
        let keyed = |field: &'static str, value: &'static str| {
            changed(&|entry| {
                entry.as_object_mut().unwrap().remove("jwks_url");
                entry[field] = value.into();
            })
        };
        for (entries, why) in [
            (json!([good, good]), "two have the issuer us"),
            (set("issuer", json!("")), "`issuer`"),
            (set("issuer", json!("soundoff")), "this server itself"),
            (set("audience", json!([])), "`audience`"),
            (set("audience", json!("")), "`audience`"),
            (set("jwks_url", json!("http://id.example/jwks")), "`jwks_url`"),
            (set("jwks_url", Value::Null), "write one of"),
            (set("hs256_secret", json!(LONG)), "write one of"),
            (set("hs256_secret", json!([LONG])), "a secret is a text"),
            (keyed("hs256_secret", "hush"), "32 bytes"),
            (keyed("public_key", "hush"), "`public_key`"),
            (set("max_age_s", json!(0)), "`max_age_s`"),
            (set("role_claim", json!("role")), "unknown field"),
        ] {
            let error = format!("{:#}", foreign(&entries).unwrap_err());
            assert!(error.contains("--foreign-tokens") && error.contains(why), "{why}: {error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
