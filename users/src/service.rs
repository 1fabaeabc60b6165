//! The User service over HTTP: the paths below `/v1/auth/`, and the key set.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use soundoff_common::ports::tokens::{Claims, TokenVerifier};
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
use crate::foreign::ForeignTokens;
use crate::keys::ring::{CACHED_S, Ring};
use crate::keys::seal::Seal;
use crate::keys::tokens::Issuer;
use crate::limits::Limit;
use crate::refusal::Refusal;
use crate::sessions::client::client;
use crate::sessions::families;
use crate::sessions::refresh::RefreshKey;
use crate::ways::openid::{self, OpenId};
use crate::ways::twitter::Twitter;

/// What the User service needs from outside.
pub(crate) struct UsersDeps {
    /// Accounts, identities, sign-ins.
    pub(crate) tables: Arc<dyn Tables>,
    /// Closes sockets.
    pub(crate) replies: Replies,
    /// The keys of access tokens.
    pub(crate) ring: Arc<Ring>,
    /// Judges access tokens.
    pub(crate) verifier: Arc<dyn TokenVerifier>,
    /// The customer's own tokens, where they are taken.
    pub(crate) foreign_tokens: Option<Arc<ForeignTokens>>,
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
    pub(crate) replies: Replies,
    ring: Arc<Ring>,
    pub(crate) issuer: Issuer,
    verifier: Arc<dyn TokenVerifier>,
    pub(crate) foreign_tokens: Option<Arc<ForeignTokens>>,
    pub(crate) seal: Seal,
    pub(crate) refresh: RefreshKey,
    pub(crate) mail: Post,
    pub(crate) texts: Post,
    pub(crate) apple: Option<OpenId>,
    pub(crate) twitter: Option<Twitter>,
    pub(crate) openid: Vec<Arc<OpenId>>,
    codes: Limit,
    sign_ins: Limit,
    metrics: Metrics,
    pub(crate) audit: Audit,
    pub(crate) outbox: bool,
    /// The minute since 1970 in which the log last said that the texts are used up.
    told_in_minute: AtomicU64,
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

/// What a proof is judged by, beside the proof itself.
pub(crate) struct Asks {
    /// Milliseconds since 1970.
    pub(crate) now: u64,
    /// The address that it comes from.
    pub(crate) from: IpAddr,
    /// The claims of the access token that came with it.
    pub(crate) signed_in: Option<Claims>,
    /// The program that asks, if it said.
    pub(crate) client: Option<String>,
}

impl Call {
    /// What a proof in it is judged by.
    pub(crate) fn asks(&self) -> Asks {
        let client = client(self.request.headers());
        Asks { now: self.now, from: self.from, signed_in: self.signed_in.clone(), client }
    }
}

impl Users {
    /// The service.
    ///
    /// # Errors
    /// [`LacksKey`].
    pub(crate) fn new(config: UsersConfig, deps: UsersDeps) -> Result<Self, LacksKey> {
        let UsersDeps {
            tables,
            replies,
            ring,
            secret,
            mail,
            texts,
            metrics,
            trail,
            weather,
            outbox,
            verifier,
            foreign_tokens,
        } = deps;
        let fetch = Fetch::new();
        let at = |provider| fetch.behind(weather.engine(provider));
        let by =
            |courier, carrier| Post::new(Arc::new(GuardedCourier::new(courier, weather.engine(carrier))));
        Ok(Self {
            apple: config.apple.clone().map(|apple| OpenId::apple(apple, at("apple"))),
            twitter: config.twitter.clone().map(|twitter| Twitter::new(twitter, at("twitter"))),
            openid: openid::providers(&config.openid, at),
            codes: Limit::per_minute(config.codes_per_minute),
            sign_ins: Limit::per_minute(config.sign_ins_per_minute),
            config,
            tables,
            replies,
            issuer: Issuer::new(ring.clone()),
            verifier,
            foreign_tokens,
            ring,
            seal: Seal::new(&secret)?,
            refresh: RefreshKey::new(&secret)?,
            mail: by(mail, "mail"),
            texts: by(texts, "texts"),
            metrics,
            audit: Audit::new(trail),
            outbox,
            told_in_minute: AtomicU64::new(0),
        })
    }

    async fn serve(&self, way: Way, from: IpAddr, request: Request<Incoming>) -> Result<Answer, Refusal> {
        match way {
            Way::Keys | Way::Ways => {}
            Way::Start | Way::StartProof(_) => self.codes.check(from)?,
            _ => self.sign_ins.check(from)?,
        }
        let signed_in = if way.heeds_token() { self.signed_in(&request).await? } else { None };
        let call = Call { request, now: now_ms(), from, signed_in };
        match way {
            Way::Keys => Ok(self.key_set()),
            Way::Start => self.start(call).await,
            Way::Verify => self.verify(call).await,
            Way::Apple => self.apple(call).await,
            Way::Twitter => self.twitter(call).await,
            Way::OpenId(name) => self.openid(call, &name).await,
            Way::Foreign => self.foreign(call).await,
            Way::Refresh => self.refresh(call).await,
            Way::Logout => self.logout(call).await,
            Way::Identities => self.identities(call).await,
            Way::Unlink(id) => self.unlink(call, &id).await,
            Way::StartProof(id) => self.start_proof(call, &id).await,
            Way::Prove(id) => self.prove(call, &id).await,
            Way::Sessions => self.sessions(call).await,
            Way::EndSession(id) => self.end_session(call, &id).await,
            Way::EndOthers => self.end_others(call).await,
            Way::StartPasskey => self.start_passkey(call).await,
            Way::VerifyPasskey => self.verify_passkey(call).await,
            Way::StartAdding => self.start_adding(call).await,
            Way::AddPasskey => self.add_passkey(call).await,
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
        let found = sign_ins::of_bearer(&*self.tables, &*self.verifier, request.headers(), now_s).await;
        found.map_err(|closed| match closed {
            Closed::Unknown(error) => error.into(),
            Closed::NoKeys => Refusal::Unavailable(closed.into()),
            Closed::NoUser | Closed::Ended => BAD,
        })
    }

    /// Counts a text that was not sent.
    pub(crate) fn text_refused(&self, reason: &'static str) {
        self.metrics.users_texts_refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Counts a text for which there was no room in the day's, and says so once a minute: the Terraform's alarm reads
    /// the log.
    pub(crate) fn texts_are_used_up(&self, now: u64) {
        self.text_refused("budget");
        let minute = now / 60_000;
        if self.told_in_minute.swap(minute, Ordering::Relaxed) != minute {
            tracing::warn!("the texts of this day are used up: --texts-per-day says how many there are");
        }
    }

    /// Ends sessions of a user: their tokens are invalid from now on, and their sockets close, on all edges.
    pub(crate) async fn end(&self, user: &Handle, sessions: &[Ulid]) -> Result<(), Refusal> {
        families::end(&*self.tables, user, sessions).await?;
        sessions.iter().for_each(|session| self.audit.ended(user, *session));
        self.close(user, sessions).await;
        Ok(())
    }

    /// Closes the sockets of sessions that have ended.
    pub(crate) async fn close(&self, user: &Handle, sessions: &[Ulid]) {
        let closed = sessions.iter().map(|at| self.replies.close(Kind::Revoke, user.clone(), Some(*at)));
        futures_util::future::join_all(closed).await;
    }
}

pub(crate) const JWKS: &str = "/.well-known/jwks.json";
const OPENID: &str = "/v1/auth/openid";
const IDENTITIES: &str = "/v1/auth/identities";
const SESSIONS: &str = "/v1/auth/sessions";

/// The calls; some name an identity or a session.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Keys,
    Start,
    Verify,
    Apple,
    Twitter,
    OpenId(String),
    Foreign,
    Refresh,
    Logout,
    Identities,
    Unlink(String),
    StartProof(String),
    Prove(String),
    Sessions,
    EndSession(String),
    EndOthers,
    StartPasskey,
    VerifyPasskey,
    StartAdding,
    AddPasskey,
    Ways,
}

impl Way {
    /// The call at a path, with its method.
    fn at(path: &str) -> Option<(&'static str, Self)> {
        Some(match path {
            JWKS => ("GET", Way::Keys),
            "/v1/auth/ways" => ("GET", Way::Ways),
            "/v1/auth/email/start" | "/v1/auth/phone/start" => ("POST", Way::Start),
            "/v1/auth/email/verify" | "/v1/auth/phone/verify" => ("POST", Way::Verify),
            "/v1/auth/apple" => ("POST", Way::Apple),
            "/v1/auth/twitter" => ("POST", Way::Twitter),
            "/v1/auth/passkey/start" => ("POST", Way::StartPasskey),
            "/v1/auth/passkey/verify" => ("POST", Way::VerifyPasskey),
            "/v1/auth/passkeys/start" => ("POST", Way::StartAdding),
            "/v1/auth/passkeys" => ("POST", Way::AddPasskey),
            "/v1/auth/foreign" => ("POST", Way::Foreign),
            "/v1/auth/refresh" => ("POST", Way::Refresh),
            "/v1/auth/logout" => ("POST", Way::Logout),
            IDENTITIES => ("GET", Way::Identities),
            SESSIONS => ("GET", Way::Sessions),
            path => return Self::of_one(path),
        })
    }

    /// The call about one identity, session or provider.
    fn of_one(path: &str) -> Option<(&'static str, Self)> {
        let below = |mount| path.strip_prefix(mount).and_then(|rest: &str| rest.strip_prefix('/'));
        if let Some(id) = below(SESSIONS) {
            let all = id == "others";
            return Some(("DELETE", if all { Way::EndOthers } else { Way::EndSession(id.to_owned()) }));
        }
        if let Some(name) = below(OPENID) {
            return Some(("POST", Way::OpenId(name.to_owned())));
        }
        let rest = below(IDENTITIES)?;
        Some(match rest.split_once('/') {
            None => ("DELETE", Way::Unlink(rest.to_owned())),
            Some((id, "start")) => ("POST", Way::StartProof(id.to_owned())),
            Some((id, "verify")) => ("POST", Way::Prove(id.to_owned())),
            Some(_) => return None,
        })
    }

    /// Whether an access token matters. The other calls ignore it: a client refreshes just when its own has expired.
    fn heeds_token(&self) -> bool {
        !matches!(self, Way::Keys | Way::Ways | Way::Start | Way::Refresh | Way::Logout)
    }

    /// Whether it proves who somebody is.
    fn signs_in(&self) -> bool {
        matches!(
            self,
            Way::Verify
                | Way::VerifyPasskey
                | Way::Apple
                | Way::Twitter
                | Way::OpenId(_)
                | Way::Foreign
                | Way::Prove(_)
        )
    }

    fn name(&self) -> &'static str {
        match self {
            Way::Keys => "keys",
            Way::Start => "start",
            Way::Verify => "verify",
            Way::Apple => "apple",
            Way::Twitter => "twitter",
            Way::OpenId(_) => "openid",
            Way::Foreign => "foreign",
            Way::Refresh => "refresh",
            Way::Logout => "logout",
            Way::Identities => "identities",
            Way::Unlink(_) => "unlink",
            Way::StartProof(_) => "start_proof",
            Way::Prove(_) => "prove",
            Way::Sessions => "sessions",
            Way::EndSession(_) => "end_session",
            Way::EndOthers => "end_others",
            Way::StartPasskey => "start_passkey",
            Way::VerifyPasskey => "verify_passkey",
            Way::StartAdding => "start_adding",
            Way::AddPasskey => "add_passkey",
            Way::Ways => "ways",
        }
    }
}

#[async_trait]
impl Pages for Users {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let Some((method, way)) = Way::at(request.uri().path()) else {
            return refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such call; docs/protocol.md lists them",
            );
        };
        if request.method().as_str() != method {
            return method_not_allowed(method);
        }
        // Callers that cannot be distinguished are limited as one.
        let unknown = Peer(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let Peer(from) = request.extensions().get().copied().unwrap_or(unknown);
        let (name, signs_in) = (way.name(), way.signs_in());
        let answered = self.serve(way, from, request).await;
        if let (true, Err(refusal)) = (signs_in, &answered) {
            self.audit.refused(&self.seal, (name, from), refusal);
        }
        let outcome = answered.as_ref().map_or_else(Refusal::name, |_| "ok");
        self.metrics.users_calls.get_or_create(&CallLabel { call: name, outcome }).inc();
        answered.unwrap_or_else(Refusal::answer)
    }
}
