//! How users sign in: flags and environment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use soundoff_common::ports::courier::Courier;
use soundoff_common::protocol::Role;
use soundoff_common::web::origins::Origins;
use soundoff_users::fetch::{Fetch, safe_url};
use soundoff_users::{
    AppleConfig, AppleWeb, ForeignTokens, Outbox, PasskeyConfig, Ring, Smtp, TextPlace, TextsConfig,
    TwitterConfig, UsersConfig, UsersSettings, Webhook,
};

use super::passkeys;
use super::providers::ProvidersArgs;
use super::values::{DAY_MS, YEAR_S, whole};

/// A token opens sockets until it expires, also when its sign-in has ended meanwhile: that must not be long.
const LONGEST_ACCESS_S: u64 = 900;
/// No IP address can ask faster than this, so that it means no limit.
const MOST_PER_MINUTE: u64 = 1_000_000;

/// More than there are people.
const MOST_TEXTS_PER_DAY: u64 = 10_000_000_000;

/// How users sign in (docs/sign-in.md).
#[derive(Debug, Args)]
#[command(next_help_heading = "Signing in")]
pub(crate) struct UsersArgs {
    /// How long an access token is valid, in seconds; at most 900.
    #[arg(long, env = "SOUNDOFF_ACCESS_TOKEN_S", default_value_t = 900, value_parser = whole::<u64>(1..=LONGEST_ACCESS_S))]
    access_token_s: u64,
    /// How long a sign-in is valid, in seconds, however often it is refreshed.
    #[arg(long, env = "SOUNDOFF_REFRESH_TOKEN_S", default_value_t = 90 * 24 * 3600, value_parser = whole::<u64>(1..=YEAR_S))]
    refresh_token_s: u64,
    /// How long a sign-in is valid that nobody uses, in seconds.
    #[arg(long, env = "SOUNDOFF_IDLE_S", default_value_t = 30 * 24 * 3600, value_parser = whole::<u64>(1..=YEAR_S))]
    idle_s: u64,
    /// For how many seconds after a sign-in its user may add and remove ways to sign in and end other sessions; later
    /// they first prove again who they are, by a code.
    #[arg(long, env = "SOUNDOFF_PROOF_S", default_value_t = 600, value_parser = whole::<u64>(1..=DAY_MS / 1000))]
    proof_s: u64,
    /// How many one-time codes an IP address may ask for in a minute.
    #[arg(long, env = "SOUNDOFF_CODES_PER_MINUTE", default_value_t = 30, value_parser = whole::<u32>(1..=MOST_PER_MINUTE))]
    codes_per_minute: u32,
    /// How many sign-ins, attempts at codes and refreshes an IP address may make in a minute.
    #[arg(long, env = "SOUNDOFF_SIGN_INS_PER_MINUTE", default_value_t = 120, value_parser = whole::<u32>(1..=MOST_PER_MINUTE))]
    sign_ins_per_minute: u32,
    /// The mail server for codes, such as `smtps://user:password@mail.example.org`; without one they are in /dev/outbox.
    #[arg(long, env = "SOUNDOFF_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// The sender of mail.
    #[arg(long, env = "SOUNDOFF_MAIL_FROM", default_value = "Sound Off <no-reply@localhost>")]
    mail_from: String,
    /// Where text messages are POSTed as `{"to","text"}`, for you to pass on to your carrier; without it they are in
    /// /dev/outbox.
    #[arg(long, env = "SOUNDOFF_TEXTS_URL")]
    texts_url: Option<String>,
    /// The bearer token of these POSTs.
    #[arg(long, env = "SOUNDOFF_TEXTS_TOKEN", hide_env_values = true, requires = "texts_url")]
    texts_token: Option<String>,
    /// Where texts may go, separated by commas: prefixes such as `+44`, countries such as `GB`, or `all`. Each text costs
    /// you money, so `--texts-url` needs it.
    #[arg(long, env = "SOUNDOFF_TEXT_COUNTRIES", value_delimiter = ',', requires = "texts_url")]
    text_countries: Vec<TextPlace>,
    /// How many texts are sent in a day (UTC), by all processes together.
    #[arg(long, env = "SOUNDOFF_TEXTS_PER_DAY", default_value_t = 1_000, value_parser = whole::<u64>(1..=MOST_TEXTS_PER_DAY))]
    texts_per_day: u64,
    /// Your apps' identifiers at Apple (bundle and service ids), separated by commas; turns Sign in with Apple on.
    #[arg(long, env = "SOUNDOFF_APPLE_CLIENT_IDS", value_delimiter = ',')]
    apple_client_ids: Vec<String>,
    /// Who issues Apple's tokens.
    #[arg(long, env = "SOUNDOFF_APPLE_ISSUER", default_value = "https://appleid.apple.com")]
    apple_issuer: String,
    /// Where Apple's keys are.
    #[arg(long, env = "SOUNDOFF_APPLE_JWKS_URL", default_value = "https://appleid.apple.com/auth/keys")]
    apple_jwks_url: String,
    /// Which of `--apple-client-ids` is the web app's (a service id); without it the app in the browser does not offer
    /// Apple.
    #[arg(long, env = "SOUNDOFF_APPLE_WEB_CLIENT_ID", requires = "apple_client_ids")]
    apple_web_client_id: Option<String>,
    /// Where the web app sends users to sign in with Apple.
    #[arg(
        long,
        env = "SOUNDOFF_APPLE_AUTHORIZE_URL",
        default_value = "https://appleid.apple.com/auth/authorize"
    )]
    apple_authorize_url: String,
    /// Your app's client id at Twitter/X; turns sign-in with it on.
    #[arg(long, env = "SOUNDOFF_TWITTER_CLIENT_ID", requires = "twitter_redirect_uris")]
    twitter_client_id: Option<String>,
    /// The secret of that client; a public client has none.
    #[arg(long, env = "SOUNDOFF_TWITTER_CLIENT_SECRET", hide_env_values = true)]
    twitter_client_secret: Option<String>,
    /// Where Twitter/X may send users back to, separated by commas.
    #[arg(long, env = "SOUNDOFF_TWITTER_REDIRECT_URIS", value_delimiter = ',')]
    twitter_redirect_uris: Vec<String>,
    /// Where apps send users to sign in with Twitter/X.
    #[arg(
        long,
        env = "SOUNDOFF_TWITTER_AUTHORIZE_URL",
        default_value = "https://x.com/i/oauth2/authorize?scope=tweet.read%20users.read"
    )]
    twitter_authorize_url: String,
    /// Where codes are exchanged for tokens.
    #[arg(long, env = "SOUNDOFF_TWITTER_TOKEN_URL", default_value = "https://api.x.com/2/oauth2/token")]
    twitter_token_url: String,
    /// Where the user of a token is looked up.
    #[arg(long, env = "SOUNDOFF_TWITTER_USER_URL", default_value = "https://api.x.com/2/users/me")]
    twitter_user_url: String,
    /// Where in that response the user's id is (a JSON pointer).
    #[arg(long, env = "SOUNDOFF_TWITTER_USER_POINTER", default_value = "/data/id")]
    twitter_user_pointer: String,
    /// The domain that passkeys belong to, such as example.org; turns them on. They are used by the pages at
    /// https://DOMAIN, and by those of `--origins`. A passkey stays with its domain: choose one that you keep.
    /// Under `up` it is localhost.
    #[arg(long, env = "SOUNDOFF_PASSKEY_DOMAIN", value_name = "DOMAIN", value_parser = passkeys::domain)]
    passkey_domain: Option<String>,
    /// Android apps that may use these passkeys, separated by commas: `android:apk-key-hash:` and the SHA-256 of the
    /// certificate that signs the app, in base64url.
    #[arg(long, env = "SOUNDOFF_PASSKEY_APPS", value_name = "APPS", value_delimiter = ',', value_parser = passkeys::app)]
    passkey_apps: Vec<String>,
    /// Roles that are for sessions with a passkey, separated by commas: `moderator,admin`. Without one, a session of
    /// theirs acts as a plain user. Who is to have such a role adds a passkey first, and then gets it.
    #[arg(long, env = "SOUNDOFF_PASSKEY_FOR", value_name = "ROLES", value_delimiter = ',', value_parser = passkeys::role)]
    passkey_for: Vec<Role>,
    #[command(flatten)]
    providers: ProvidersArgs,
}

/// The couriers of codes, and the outbox that takes their place where none is configured.
pub(crate) struct Couriers {
    pub(crate) mail: Arc<dyn Courier>,
    pub(crate) texts: Arc<dyn Courier>,
    pub(crate) outbox: Arc<Outbox>,
    /// Whether both mail and texts have a carrier, so that nothing goes to the outbox.
    pub(crate) carried: bool,
}

impl Couriers {
    /// The settings of a process's User service. With `dev` the outbox can be read.
    ///
    /// # Errors
    /// Names the flags that do not go together.
    pub(crate) fn settings(
        &self,
        config: UsersConfig,
        ring: &Arc<Ring>,
        foreign_tokens: Option<Arc<ForeignTokens>>,
        dev: bool,
    ) -> anyhow::Result<UsersSettings> {
        // Edges judge such tokens without asking what their session was proved by.
        let wants_passkeys = config.passkeys.as_ref().is_some_and(|passkeys| !passkeys.roles.is_empty());
        anyhow::ensure!(
            foreign_tokens.is_none() || !wants_passkeys,
            "--passkey-for does not go with --foreign-tokens: a token of your own has its account's role without a passkey"
        );
        let (ring, mail, texts) = (ring.clone(), self.mail.clone(), self.texts.clone());
        Ok(UsersSettings { config, ring, foreign_tokens, mail, texts, outbox: dev && !self.carried })
    }
}

impl UsersArgs {
    /// The configuration of the User service, whose passkeys `pages` may use. `own_domain` is theirs if none is said.
    pub(crate) fn config(&self, pages: Origins, own_domain: Option<&str>) -> anyhow::Result<UsersConfig> {
        let apple = (!self.apple_client_ids.is_empty()).then(|| {
            anyhow::Ok(AppleConfig {
                web: self.apple_web()?,
                client_ids: self.apple_client_ids.clone(),
                issuer: self.apple_issuer.clone(),
                jwks_url: safe_url(&self.apple_jwks_url).context("--apple-jwks-url")?,
            })
        });
        let twitter = self.twitter_client_id.clone().map(|client_id| {
            anyhow::Ok(TwitterConfig {
                client_id,
                client_secret: self.twitter_client_secret.clone(),
                authorize_url: safe_url(&self.twitter_authorize_url).context("--twitter-authorize-url")?,
                token_url: safe_url(&self.twitter_token_url).context("--twitter-token-url")?,
                user_url: safe_url(&self.twitter_user_url).context("--twitter-user-url")?,
                user_pointer: self.twitter_user_pointer.clone(),
                redirect_uris: self.twitter_redirect_uris.clone(),
            })
        });
        Ok(UsersConfig {
            texts: self.texts()?,
            access_lifetime: Duration::from_secs(self.access_token_s),
            refresh_lifetime: Duration::from_secs(self.refresh_token_s),
            idle_lifetime: Duration::from_secs(self.idle_s),
            proof_lifetime: Duration::from_secs(self.proof_s),
            codes_per_minute: self.codes_per_minute,
            sign_ins_per_minute: self.sign_ins_per_minute,
            apple: apple.transpose()?,
            twitter: twitter.transpose()?,
            passkeys: self.passkeys(pages, own_domain)?,
            openid: self.providers.config()?,
        })
    }

    fn passkeys(&self, pages: Origins, own_domain: Option<&str>) -> anyhow::Result<Option<PasskeyConfig>> {
        let Some(domain) = self.passkey_domain.as_deref().or(own_domain) else {
            let is_plain = self.passkey_apps.is_empty() && self.passkey_for.is_empty();
            anyhow::ensure!(
                is_plain,
                "--passkey-apps and --passkey-for need --passkey-domain: name the domain that passkeys belong to"
            );
            return Ok(None);
        };
        let (apps, roles) = (self.passkey_apps.clone(), self.passkey_for.clone());
        Ok(Some(PasskeyConfig { domain: domain.to_owned(), pages, apps, roles }))
    }

    /// What may be spent on texts, if somebody carries them.
    fn texts(&self) -> anyhow::Result<Option<TextsConfig>> {
        if self.texts_url.is_none() {
            return Ok(None);
        }
        anyhow::ensure!(
            !self.text_countries.is_empty(),
            "--texts-url needs --text-countries: name where texts may go, such as +44,+49 or GB,DE, or `all`; each costs money"
        );
        Ok(Some(TextsConfig { places: self.text_countries.clone(), per_day: self.texts_per_day }))
    }

    fn apple_web(&self) -> anyhow::Result<Option<AppleWeb>> {
        let Some(client_id) = self.apple_web_client_id.clone() else { return Ok(None) };
        anyhow::ensure!(
            self.apple_client_ids.contains(&client_id),
            "--apple-web-client-id {client_id} is none of --apple-client-ids: its tokens would be refused"
        );
        let authorize_url = safe_url(&self.apple_authorize_url).context("--apple-authorize-url")?;
        Ok(Some(AppleWeb { client_id, authorize_url }))
    }

    /// The couriers of codes.
    pub(crate) fn couriers(&self) -> anyhow::Result<Couriers> {
        let outbox = Arc::new(Outbox::default());
        let mail: Arc<dyn Courier> = match &self.smtp_url {
            Some(url) => Arc::new(Smtp::new(url, &self.mail_from)?),
            None => outbox.clone(),
        };
        let texts: Arc<dyn Courier> = match &self.texts_url {
            Some(url) => {
                let url = safe_url(url).context("--texts-url")?;
                Arc::new(Webhook::new(Fetch::new(), url, self.texts_token.clone()))
            }
            None => outbox.clone(),
        };
        let carried = self.smtp_url.is_some() && self.texts_url.is_some();
        Ok(Couriers { mail, texts, outbox, carried })
    }
}
