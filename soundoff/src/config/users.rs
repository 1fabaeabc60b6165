//! How users sign in, as flags and environment.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use soundoff_common::ports::courier::Courier;
use soundoff_users::fetch::{Fetch, safe_url};
use soundoff_users::{
    AppleConfig, AppleWeb, Outbox, Ring, Smtp, TwitterConfig, UsersConfig, UsersSettings, Webhook,
};

/// How users sign in (docs/sign-in.md).
#[derive(Debug, Args)]
#[command(next_help_heading = "Signing in")]
pub(crate) struct UsersArgs {
    /// How long an access token is good, in seconds.
    #[arg(long, env = "SOUNDOFF_ACCESS_TOKEN_S", default_value_t = 900, value_parser = clap::value_parser!(u64).range(1..=900))]
    access_token_s: u64,
    /// How long a sign-in is good, in seconds, however often it is refreshed.
    #[arg(long, env = "SOUNDOFF_REFRESH_TOKEN_S", default_value_t = 90 * 24 * 3600, value_parser = clap::value_parser!(u64).range(1..=366 * 24 * 3600))]
    refresh_token_s: u64,
    /// How many one-time codes an address on the net may ask for in a minute.
    #[arg(long, env = "SOUNDOFF_CODES_PER_MINUTE", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    codes_per_minute: u32,
    /// How many sign-ins, tries of codes and refreshes an address on the net may make in a minute.
    #[arg(long, env = "SOUNDOFF_SIGN_INS_PER_MINUTE", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    sign_ins_per_minute: u32,
    /// The mail server for codes, such as `smtps://user:password@mail.example.org`; without one they lie in /dev/outbox.
    #[arg(long, env = "SOUNDOFF_SMTP_URL", hide_env_values = true)]
    smtp_url: Option<String>,
    /// Whom mail comes from.
    #[arg(long, env = "SOUNDOFF_MAIL_FROM", default_value = "Sound Off <no-reply@localhost>")]
    mail_from: String,
    /// Where texts are POSTed as `{"to","text"}`, to be passed on to your carrier; without it they lie in /dev/outbox.
    #[arg(long, env = "SOUNDOFF_TEXTS_URL")]
    texts_url: Option<String>,
    /// What goes along with texts as bearer token.
    #[arg(long, env = "SOUNDOFF_TEXTS_TOKEN", hide_env_values = true, requires = "texts_url")]
    texts_token: Option<String>,
    /// Your apps' identifiers at Apple (bundle and service ids), separated by commas; turns Sign in with Apple on.
    #[arg(long, env = "SOUNDOFF_APPLE_CLIENT_IDS", value_delimiter = ',')]
    apple_client_ids: Vec<String>,
    /// Who issues Apple's tokens.
    #[arg(long, env = "SOUNDOFF_APPLE_ISSUER", default_value = "https://appleid.apple.com")]
    apple_issuer: String,
    /// Where Apple's keys are.
    #[arg(long, env = "SOUNDOFF_APPLE_JWKS_URL", default_value = "https://appleid.apple.com/auth/keys")]
    apple_jwks_url: String,
    /// Which of them the web app's is (a service id); without it the app in the browser does not offer Apple.
    #[arg(long, env = "SOUNDOFF_APPLE_WEB_CLIENT_ID", requires = "apple_client_ids")]
    apple_web_client_id: Option<String>,
    /// Where the web app sends users of Apple.
    #[arg(
        long,
        env = "SOUNDOFF_APPLE_AUTHORIZE_URL",
        default_value = "https://appleid.apple.com/auth/authorize"
    )]
    apple_authorize_url: String,
    /// Your app's client id at Twitter/X; turns sign-in with it on.
    #[arg(long, env = "SOUNDOFF_TWITTER_CLIENT_ID", requires = "twitter_redirect_uris")]
    twitter_client_id: Option<String>,
    /// Its secret; none for a public client.
    #[arg(long, env = "SOUNDOFF_TWITTER_CLIENT_SECRET", hide_env_values = true)]
    twitter_client_secret: Option<String>,
    /// Where Twitter/X may send users back to, separated by commas.
    #[arg(long, env = "SOUNDOFF_TWITTER_REDIRECT_URIS", value_delimiter = ',')]
    twitter_redirect_uris: Vec<String>,
    /// Where apps send users of Twitter/X.
    #[arg(
        long,
        env = "SOUNDOFF_TWITTER_AUTHORIZE_URL",
        default_value = "https://x.com/i/oauth2/authorize?scope=tweet.read%20users.read"
    )]
    twitter_authorize_url: String,
    /// Where codes are exchanged for tokens.
    #[arg(long, env = "SOUNDOFF_TWITTER_TOKEN_URL", default_value = "https://api.x.com/2/oauth2/token")]
    twitter_token_url: String,
    /// Where a token is asked whose it is.
    #[arg(long, env = "SOUNDOFF_TWITTER_USER_URL", default_value = "https://api.x.com/2/users/me")]
    twitter_user_url: String,
    /// Where in that answer the user's id is (a JSON pointer).
    #[arg(long, env = "SOUNDOFF_TWITTER_USER_POINTER", default_value = "/data/id")]
    twitter_user_pointer: String,
}

/// The couriers of codes, and the outbox that stands in where none is configured.
pub(crate) struct Couriers {
    pub(crate) mail: Arc<dyn Courier>,
    pub(crate) texts: Arc<dyn Courier>,
    pub(crate) outbox: Arc<Outbox>,
    /// Whether both mail and texts have a carrier, so that nothing goes to the outbox.
    pub(crate) carried: bool,
}

impl Couriers {
    /// What the User service of a process is made of. With `dev` the outbox can be read.
    pub(crate) fn settings(&self, config: UsersConfig, ring: &Arc<Ring>, dev: bool) -> UsersSettings {
        let (mail, texts) = (self.mail.clone(), self.texts.clone());
        UsersSettings { config, ring: ring.clone(), mail, texts, outbox: dev && !self.carried }
    }
}

impl UsersArgs {
    /// What the User service gets.
    pub(crate) fn config(&self) -> anyhow::Result<UsersConfig> {
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
            access_lifetime: Duration::from_secs(self.access_token_s),
            refresh_lifetime: Duration::from_secs(self.refresh_token_s),
            codes_per_minute: self.codes_per_minute,
            sign_ins_per_minute: self.sign_ins_per_minute,
            apple: apple.transpose()?,
            twitter: twitter.transpose()?,
        })
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

    /// Who carries codes.
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
