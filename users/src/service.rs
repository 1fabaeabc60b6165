//! The User service over HTTP: the paths below `/v1/auth/`, and the key set.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use soundoff_common::guard::{GuardedCourier, Weather};
use soundoff_common::model::sign_ins::{self, Closed};
use soundoff_common::pipeline::audit::Trail;
use soundoff_common::pipeline::deliver::Kind;
use soundoff_common::pipeline::replies::Replies;
use soundoff_common::ports::courier::Courier;
use soundoff_common::ports::tables::Tables;
use soundoff_common::ports::tokens::Claims;
use soundoff_common::protocol::{Handle, now_ms};
use soundoff_common::telemetry::{CallLabel, Metrics, ReasonLabel};
use soundoff_common::web::http::{Answer, Peer, json, method_not_allowed, refuse};
use soundoff_common::web::pages::Pages;
use soundoff_common::web::secret::{LacksKey, Secret};
use ulid::Ulid;

use crate::audit::Audit;
use crate::config::UsersConfig;
use crate::couriers::Post;
use crate::fetch::Fetch;
use crate::keys::ring::{CACHED_S, Ring};
use crate::keys::seal::Seal;
use crate::keys::tokens::{Issuer, Verifier};
use crate::limits::Limit;
use crate::refusal::Refusal;
use crate::sessions::families;
use crate::sessions::refresh::RefreshKey;
use crate::ways::apple::Apple;
use crate::ways::twitter::Twitter;

/// What the User service needs from outside.
pub(crate) struct UsersDeps {
    /// Accounts, identities, sign-ins.
    pub(crate) tables: Arc<dyn Tables>,
    /// Closes sockets.
    pub(crate) replies: Replies,
    /// The keys of access tokens.
    pub(crate) ring: Arc<Ring>,
    /// The deployment's secret.
    pub(crate) secret: Secret,
    /// Sends mails.
    pub(crate) mail: Arc<dyn Courier>,
    /// Sends texts.
    pub(crate) texts: Arc<dyn Courier>,
    /// The process's metrics.
    pub(crate) metrics: Metrics,
    /// Where it is recorded what happens to accounts.
    pub(crate) trail: Trail,
    /// Which carriers and providers are away.
    pub(crate) weather: Weather,
    /// Whether notices that no courier carries can be read at `/dev/outbox`.
    pub(crate) outbox: bool,
}

/// The User service.
pub(crate) struct Users {
    pub(crate) config: UsersConfig,
    pub(crate) tables: Arc<dyn Tables>,
    replies: Replies,
    ring: Arc<Ring>,
    pub(crate) issuer: Issuer,
    verifier: Verifier,
    pub(crate) seal: Seal,
    pub(crate) refresh: RefreshKey,
    pub(crate) mail: Post,
    pub(crate) texts: Post,
    pub(crate) apple: Option<Apple>,
    pub(crate) twitter: Option<Twitter>,
    codes: Limit,
    sign_ins: Limit,
    metrics: Metrics,
    pub(crate) audit: Audit,
    pub(crate) outbox: bool,
}

/// A request, and who makes it.
pub(crate) struct Call {
    pub(crate) request: Request<Incoming>,
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// The address that it comes from.
    pub(crate) from: IpAddr,
    /// The claims of the access token that came with it, if that is valid.
    pub(crate) signed_in: Option<Claims>,
}

impl Users {
    /// The service.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub(crate) fn new(config: UsersConfig, deps: UsersDeps) -> Result<Self, LacksKey> {
        let UsersDeps { tables, replies, ring, secret, mail, texts, metrics, trail, weather, outbox } = deps;
        let fetch = Fetch::new();
        let at = |provider| fetch.behind(weather.engine(provider));
        let by =
            |courier, carrier| Post::new(Arc::new(GuardedCourier::new(courier, weather.engine(carrier))));
        Ok(Self {
            apple: config.apple.clone().map(|apple| Apple::new(apple, at("apple"))),
            twitter: config.twitter.clone().map(|twitter| Twitter::new(twitter, at("twitter"))),
            codes: Limit::per_minute(config.codes_per_minute),
            sign_ins: Limit::per_minute(config.sign_ins_per_minute),
            config,
            tables,
            replies,
            issuer: Issuer::new(ring.clone()),
            verifier: Verifier::new(ring.clone()),
            ring,
            seal: Seal::new(&secret)?,
            refresh: RefreshKey::new(&secret)?,
            mail: by(mail, "mail"),
            texts: by(texts, "texts"),
            metrics,
            audit: Audit::new(trail),
            outbox,
        })
    }

    async fn serve(&self, way: Way, from: IpAddr, request: Request<Incoming>) -> Result<Answer, Refusal> {
        match way {
            Way::Keys | Way::Ways => {}
            Way::Start => self.codes.check(from)?,
            _ => self.sign_ins.check(from)?,
        }
        // The other calls ignore a token: a client refreshes just when its own has expired.
        let signed_in = match way {
            Way::Verify | Way::Apple | Way::Twitter | Way::Identities | Way::Unlink => {
                self.signed_in(&request).await?
            }
            Way::Keys | Way::Ways | Way::Start | Way::Refresh | Way::Logout => None,
        };
        let call = Call { request, now: now_ms(), from, signed_in };
        match way {
            Way::Keys => Ok(self.key_set()),
            Way::Start => self.start(call).await,
            Way::Verify => self.verify(call).await,
            Way::Apple => self.apple(call).await,
            Way::Twitter => self.twitter(call).await,
            Way::Refresh => self.refresh(call).await,
            Way::Logout => self.logout(call).await,
            Way::Identities => self.identities(call).await,
            Way::Unlink => self.unlink(call).await,
            Way::Ways => Ok(self.ways()),
        }
    }

    fn key_set(&self) -> Answer {
        let mut answer = json(StatusCode::OK, &self.ring.jwks());
        let kept = format!("public, max-age={CACHED_S}");
        let kept = HeaderValue::from_str(&kept).expect("a number is ASCII");
        answer.headers_mut().insert(header::CACHE_CONTROL, kept);
        answer
    }

    /// Who is signed in. An invalid token is an error, and not the same as no token: its user would be surprised by a
    /// second account.
    async fn signed_in(&self, request: &Request<Incoming>) -> Result<Option<Claims>, Refusal> {
        const BAD: Refusal =
            Refusal::Unauthorized("the access token is not good; refresh it, or leave it out");
        let now_s = now_ms() / 1000;
        let found = sign_ins::of_bearer(&*self.tables, &self.verifier, request.headers(), now_s).await;
        found.map_err(|closed| match closed {
            Closed::Unknown(error) => error.into(),
            Closed::NoUser | Closed::Ended => BAD,
        })
    }

    /// Counts a text that was not sent.
    pub(crate) fn text_refused(&self, reason: &'static str) {
        self.metrics.users_texts_refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Ends a session: its tokens are invalid from now on, and its sockets close, on all edges.
    pub(crate) async fn end(&self, user: Handle, session: Ulid) -> Result<(), Refusal> {
        families::end(&*self.tables, session).await?;
        self.audit.ended(&user, session);
        self.replies.close(Kind::Revoke, user, Some(session)).await;
        Ok(())
    }
}

pub(crate) const JWKS: &str = "/.well-known/jwks.json";
const IDENTITIES: &str = "/v1/auth/identities";
/// The path of one of them, before its id.
pub(crate) const IDENTITY: &str = "/v1/auth/identities/";

/// The calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Keys,
    Start,
    Verify,
    Apple,
    Twitter,
    Refresh,
    Logout,
    Identities,
    Unlink,
    Ways,
}

impl Way {
    fn of(path: &str) -> Option<Self> {
        Some(match path {
            JWKS => Way::Keys,
            "/v1/auth/ways" => Way::Ways,
            "/v1/auth/email/start" | "/v1/auth/phone/start" => Way::Start,
            "/v1/auth/email/verify" | "/v1/auth/phone/verify" => Way::Verify,
            "/v1/auth/apple" => Way::Apple,
            "/v1/auth/twitter" => Way::Twitter,
            "/v1/auth/refresh" => Way::Refresh,
            "/v1/auth/logout" => Way::Logout,
            IDENTITIES => Way::Identities,
            path if path.starts_with(IDENTITY) => Way::Unlink,
            _ => return None,
        })
    }

    fn method(self) -> &'static str {
        match self {
            Way::Keys | Way::Identities | Way::Ways => "GET",
            Way::Unlink => "DELETE",
            _ => "POST",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Way::Keys => "keys",
            Way::Start => "start",
            Way::Verify => "verify",
            Way::Apple => "apple",
            Way::Twitter => "twitter",
            Way::Refresh => "refresh",
            Way::Logout => "logout",
            Way::Identities => "identities",
            Way::Unlink => "unlink",
            Way::Ways => "ways",
        }
    }
}

#[async_trait]
impl Pages for Users {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let way = Way::of(request.uri().path());
        let method = way.map_or("POST", Way::method);
        if request.method().as_str() != method {
            return method_not_allowed(method);
        }
        let Some(way) = way else {
            return refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such call; docs/protocol.md lists them",
            );
        };
        // Callers that cannot be distinguished are limited as one.
        let unknown = Peer(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let Peer(from) = request.extensions().get().copied().unwrap_or(unknown);
        let answered = self.serve(way, from, request).await;
        if let (Way::Verify | Way::Apple | Way::Twitter, Err(refusal)) = (way, &answered) {
            self.audit.refused(&self.seal, (way.name(), from), refusal);
        }
        let outcome = answered.as_ref().map_or_else(Refusal::name, |_| "ok");
        self.metrics.users_calls.get_or_create(&CallLabel { call: way.name(), outcome }).inc();
        answered.unwrap_or_else(Refusal::answer)
    }
}
