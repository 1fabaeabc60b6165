use std::time::Duration;

use anyhow::{Context as _, ensure};
use hyper::Uri;
use soundoff_common::protocol::Role;
use soundoff_common::web::origins::Origins;

use crate::fetch::safe_url;
use crate::ways::identity::TAKEN_NAMES;
use crate::ways::texts::TextsConfig;

/// The longest name of an OpenID provider.
const MAX_NAME: usize = 32;

/// The longest lifetime of an access token.
pub const MAX_ACCESS_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// How users sign in.
#[derive(Debug, Clone)]
pub struct UsersConfig {
    /// How long an access token is valid, at most [`MAX_ACCESS_LIFETIME`].
    pub access_lifetime: Duration,
    /// How long a sign-in lasts at most; a refresh does not extend it.
    pub refresh_lifetime: Duration,
    /// For how long a sign-in lasts that nobody uses.
    pub idle_lifetime: Duration,
    /// For how long after a sign-in, or a later proof, its user may change how the account is signed in to.
    pub proof_lifetime: Duration,
    /// How many requests for codes an IP address may make in a minute.
    pub codes_per_minute: u32,
    /// How many sign-ins, refreshes and tries of codes an IP address may make in a minute.
    pub sign_ins_per_minute: u32,
    /// What may be spent on texts; `None` where the outbox takes them.
    pub texts: Option<TextsConfig>,
    /// Sign in with Apple, when configured.
    pub apple: Option<AppleConfig>,
    /// Sign in with Twitter/X, when configured.
    pub twitter: Option<TwitterConfig>,
    /// Passkeys, when configured.
    pub passkeys: Option<PasskeyConfig>,
    /// The OpenID providers that the operator names.
    pub openid: Vec<OpenIdConfig>,
}

/// Passkeys.
#[derive(Debug, Clone)]
pub struct PasskeyConfig {
    /// The domain that they belong to (the relying party's id). Its own page may ask for them, and those below.
    pub domain: String,
    /// The other pages that may.
    pub pages: Origins,
    /// The apps that may, as their systems name them: `android:apk-key-hash:…`.
    pub apps: Vec<String>,
    /// The roles that are for sessions with a passkey; others act as plain users.
    pub roles: Vec<Role>,
}

impl PasskeyConfig {
    /// Whether a page or app of this origin may ask for our passkeys.
    pub(crate) fn is_ours(&self, origin: &str) -> bool {
        let own = origin.strip_prefix("https://").is_some_and(|host| host == self.domain);
        own || self.apps.iter().any(|app| app == origin) || (origin != "null" && self.pages.lists(origin))
    }
}

/// Sign in with Apple.
#[derive(Debug, Clone)]
pub struct AppleConfig {
    /// Our apps' identifiers: a token must be for one of them.
    pub client_ids: Vec<String>,
    /// Who must have issued it.
    pub issuer: String,
    /// Where the issuer's keys are.
    pub jwks_url: Uri,
    /// What web pages need to send users there; `None` when only native apps do.
    pub web: Option<AppleWeb>,
}

/// Sign in with Apple from a page.
#[derive(Debug, Clone)]
pub struct AppleWeb {
    /// The page's identifier at Apple, one of the app's `client_ids`.
    pub client_id: String,
    /// Where the page sends users.
    pub authorize_url: Uri,
}

/// Sign in with Twitter/X.
#[derive(Clone)]
pub struct TwitterConfig {
    /// Our app's identifier.
    pub client_id: String,
    /// Our app's secret; `None` for a public client.
    pub client_secret: Option<String>,
    /// Where apps send users; its query may name scopes.
    pub authorize_url: Uri,
    /// Where codes are exchanged.
    pub token_url: Uri,
    /// Where we ask whose a token is.
    pub user_url: Uri,
    /// Where the user's id is in that answer, as a JSON pointer (RFC 6901).
    pub user_pointer: String,
    /// Where the provider may have sent the user back to.
    pub redirect_uris: Vec<String>,
}

impl std::fmt::Debug for TwitterConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TwitterConfig({})", self.client_id)
    }
}

/// Sign in with an OpenID provider.
#[derive(Clone)]
pub struct OpenIdConfig {
    /// What it is called in paths and in what is stored: see [`OpenIdConfig::check`].
    pub name: String,
    /// What people read on the button.
    pub title: String,
    /// Who must have issued its tokens, exactly.
    pub issuer: String,
    /// Our apps' identifiers there: a token must be for one of them. Pages and the exchange of codes use the first.
    pub client_ids: Vec<String>,
    /// The secret of the first; `None` for a public client.
    pub client_secret: Option<String>,
    /// Where its keys are; `None` when the provider says so itself, as for the two below.
    pub jwks_url: Option<Uri>,
    /// Where pages send users.
    pub authorize_url: Option<Uri>,
    /// Where codes are exchanged.
    pub token_url: Option<Uri>,
    /// What pages ask for.
    pub scopes: Vec<String>,
    /// The claim that names the user for good.
    pub claim: String,
    /// Where the provider may have sent the user back to; empty when only apps bring its tokens.
    pub redirect_uris: Vec<String>,
}

/// The name alone: it holds a secret.
impl std::fmt::Debug for OpenIdConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenIdConfig({})", self.name)
    }
}

impl OpenIdConfig {
    /// A provider that says everything else itself.
    #[must_use]
    pub fn new(name: &str, issuer: &str, client_ids: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            title: name.to_owned(),
            issuer: issuer.to_owned(),
            client_ids,
            client_secret: None,
            jwks_url: None,
            authorize_url: None,
            token_url: None,
            scopes: vec!["openid".to_owned()],
            claim: "sub".to_owned(),
            redirect_uris: Vec::new(),
        }
    }

    /// Checks what a type does not: the name, and that the issuer is a place that can be asked.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        let letters =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let Self { name, issuer, .. } = self;
        ensure!(
            (1..=MAX_NAME).contains(&name.len()) && letters(name),
            "`name` must be 1 to {MAX_NAME} of a-z, 0-9 and -"
        );
        ensure!(!TAKEN_NAMES.contains(&name.as_str()), "`name` must not be {}", TAKEN_NAMES.join(", "));
        ensure!(!self.client_ids.is_empty(), "`client_ids` must name your app at the provider");
        ensure!(!self.client_ids.iter().any(String::is_empty), "an empty text is no client id");
        ensure!(!self.title.trim().is_empty(), "`title` is what people read on the button");
        ensure!(self.scopes.iter().any(|scope| scope == "openid"), "`scopes` must have `openid` among them");
        let url = safe_url(issuer).context("`issuer`")?;
        ensure!(url.query().is_none() && !issuer.contains('#'), "`issuer` is a URL without ? and #");
        Ok(())
    }

    /// Where the provider says what it is (OpenID Connect Discovery 1.0, 4.1).
    pub(crate) fn discovery_url(&self) -> Uri {
        let url = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        url.parse().unwrap_or_default()
    }
}
