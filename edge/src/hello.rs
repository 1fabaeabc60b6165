//! From `hello` to `welcome`: register locally, then in the Session Cache, then read account and inbox, then merge.

use std::collections::HashSet;
use std::sync::Arc;

use soundoff_common::model::sign_ins::{self, Closed};
use soundoff_common::pipeline::inbox;
use soundoff_common::ports::sessions::{DeviceMark, Registration};
use soundoff_common::ports::tables::TableError;
use soundoff_common::ports::tokens::{Claims, Foreign, Token, TokenError};
use soundoff_common::protocol::{CloseCode, Role, ServerFrame, millis, now_ms, rfc3339};
use ulid::Ulid;

use crate::admission::Slot;
use crate::catch_up::catch_up;
use crate::connection::Connection;
use crate::edge::Edge;
use crate::identity::Identity;
use crate::outbound::announce;
use crate::registration::{enter, save_ack};
use crate::registry::Joined;
use crate::websocket::json_frame;

/// What the client said, and what its upgrade proved.
pub(crate) struct Hello {
    pub(crate) bearer: Option<Box<Token>>,
    pub(crate) token: Option<Box<str>>,
    pub(crate) device: Option<Box<str>>,
    pub(crate) cursor: Option<u64>,
    pub(crate) after: Option<Ulid>,
}

/// Joins the socket and brings it up to its inbox's head, or begins to close it.
pub(crate) async fn hello(edge: Arc<Edge>, connection: Arc<Connection>, hello: Hello) {
    match join(&edge, &connection, hello).await {
        Ok(()) => catch_up(edge, connection).await,
        Err(Closing::Code(code)) => edge.close(&connection, code),
        Err(Closing::Excess(wait_ms)) => edge.close_excess(&connection, wait_ms),
    }
}

/// Why a socket is not welcome.
enum Closing {
    Code(CloseCode),
    /// Its user has said `hello` too often, or too many users say it together: in so many milliseconds it may.
    Excess(u64),
}

impl From<CloseCode> for Closing {
    fn from(code: CloseCode) -> Self {
        Self::Code(code)
    }
}

/// Who speaks: the token in `hello` decides, else the upgrade's. Two tokens must belong to one user.
async fn claims(edge: &Edge, hello: &mut Hello, now_s: u64) -> Result<Claims, Closing> {
    let bearer = hello.bearer.take();
    let said = hello.token.take().map(|token| edge.tokens.verify(&token, now_s)).transpose();
    let said = said.map_err(|error| match error {
        TokenError::Unknown => CloseCode::Shedding,
        TokenError::Expired | TokenError::Invalid => CloseCode::BadToken,
    })?;
    let (claims, bearer) = match (said, bearer) {
        (None, Some(bearer)) => (of_either(edge, *bearer).await?, None),
        (None, None) => return Err(CloseCode::BadToken.into()),
        (Some(token), bearer) => {
            let claims = of_either(edge, token).await?;
            match bearer {
                None => (claims, None),
                Some(bearer) => (claims, Some(of_either(edge, *bearer).await?)),
            }
        }
    };
    let one_user = bearer.is_none_or(|bearer| bearer.user == claims.user);
    if one_user && claims.expires_at > now_s { Ok(claims) } else { Err(CloseCode::BadToken.into()) }
}

/// Whose a token is. One of the customer's own asks the tables, so it is paced like the `hello` that it is a part of:
/// by the user of theirs, since ours is not known yet.
async fn of_either(edge: &Edge, token: Token) -> Result<Claims, Closing> {
    let Token::Foreign(Foreign { session, .. }) = &token else { return Ok(whose(edge, token).await?) };
    edge.take_hello(session).map_err(Closing::Excess)?;
    let _slot = place(edge).await?;
    Ok(whose(edge, token).await?)
}

/// Whose a valid token is.
pub(crate) async fn whose(edge: &Edge, token: Token) -> Result<Claims, CloseCode> {
    sign_ins::whose(&*edge.tables, token).await.map_err(closing)
}

/// A place at the tables; it is given back when this is dropped.
async fn place(edge: &Edge) -> Result<Slot, Closing> {
    edge.at_tables.admit(edge.clock_ns()).await.map_err(|wait_ms| {
        edge.metrics.edge_hellos_put_off.inc();
        Closing::Excess(wait_ms)
    })
}

/// What the token's user may do, if the sign-in of the token is still open.
pub(crate) async fn check_sign_in(edge: &Edge, claims: &Claims) -> Result<Role, CloseCode> {
    let checked = sign_ins::check(&*edge.tables, claims, now_ms() / 1000).await;
    checked.map(|open| open.role).map_err(closing)
}

/// What a token that opens nothing does to its socket.
fn closing(closed: Closed) -> CloseCode {
    match closed {
        Closed::NoUser => CloseCode::BadToken,
        Closed::Ended => CloseCode::SessionRevoked,
        Closed::NoKeys => CloseCode::Shedding,
        Closed::Unknown(error) => shed(&error),
    }
}

/// A client that the tables cannot serve now should come back later.
fn shed(error: &TableError) -> CloseCode {
    tracing::warn!(%error, "cannot welcome a socket: the tables fail");
    CloseCode::Shedding
}

async fn join(edge: &Arc<Edge>, connection: &Arc<Connection>, mut hello: Hello) -> Result<(), Closing> {
    let now_s = now_ms() / 1000;
    let claims = claims(edge, &mut hello, now_s).await?;
    if let Some(told) = hello.after {
        edge.clock.hear(told);
    }
    let user = claims.user.clone();
    edge.take_hello(&user).map_err(Closing::Excess)?;
    let identity = Identity { user: user.clone(), device: hello.device.clone() };
    if !connection.join(identity, &claims) {
        return Ok(());
    }
    let Some(identity) = connection.identity() else { return Ok(()) };
    // It pays for the reads below, and is given back after them.
    let _slot = place(edge).await?;
    let joined = edge.registry.join(identity, connection);
    let elsewhere = register(edge, connection, identity, &joined).await?;
    // Account and sign-in are read after the registration: a revocation either shows in them or finds this socket.
    connection.empower(check_sign_in(edge, &claims).await?);
    replace(edge, identity, &joined.older, &elsewhere).await;
    let latest_s = edge.clock.latest_s();
    let resume = inbox::resume(&*edge.tables, &user, hello.device.as_deref(), hello.cursor, latest_s).await;
    let resume = resume.map_err(|error| shed(&error))?;
    let session = format!("{}-{}", edge.boot, connection.id);
    let welcome = ServerFrame::Welcome {
        session: &session,
        user: &user,
        cursor: resume.head,
        heartbeat_ms: millis(edge.config.heartbeat),
        token_expires_at: &rfc3339(claims.expires_at.saturating_mul(1000)),
        limits: &edge.limits,
    };
    connection.heard(edge.clock_ms());
    if connection.welcome(json_frame(&welcome), resume.cursor, resume.head) {
        edge.metrics.edge_welcomes.inc();
        announce(edge, connection, &user);
        if edge.is_draining() {
            edge.goaway(connection);
        }
    }
    Ok(())
}

/// Puts the socket into the Session Cache, if its user may have another one. Returns the user's sockets on other
/// edges.
async fn register(
    edge: &Arc<Edge>,
    connection: &Arc<Connection>,
    identity: &Identity,
    joined: &Joined,
) -> Result<Vec<Registration>, CloseCode> {
    let registered = edge.sessions.get_many(std::slice::from_ref(&identity.user)).await;
    let mut elsewhere = registered.ok().and_then(|mut lists| lists.pop()).unwrap_or_default();
    elsewhere.retain(|registration| *registration.boot != *edge.boot);
    if places(&joined.devices, &elsewhere) > edge.config.sockets_per_user {
        // Some of them may be gone without a word: their places are free when this client comes again.
        edge.registry.each_of(&identity.user, None, |other| edge.probe(other));
        if !elsewhere.is_empty() {
            edge.neighbours.probe(&identity.user);
        }
        return Err(CloseCode::TooManySockets);
    }
    // A task of its own: a socket that ends now must not end the put between its two ends.
    let _logged_by_the_runtime = edge.tasks.spawn(enter(edge.clone(), connection.clone())).await;
    Ok(elsewhere)
}

/// How many places a user's sockets take: those of one device take one together. Its older ones are being replaced, or
/// are left over from an edge that is gone.
fn places(here: &[Option<DeviceMark>], elsewhere: &[Registration]) -> usize {
    let mut devices = HashSet::new();
    let all = here.iter().copied().chain(elsewhere.iter().map(|registration| registration.device));
    all.filter(|device| device.is_none_or(|device| devices.insert(device))).count()
}

/// Closes the older sockets of a device that has said `hello`. What it has acked on them counts from here on.
///
/// Two sockets that join at the same moment on two edges may miss each other: both stay, and the one that its client
/// has left falls silent.
async fn replace(
    edge: &Arc<Edge>,
    identity: &Identity,
    older: &[Arc<Connection>],
    elsewhere: &[Registration],
) {
    let mine = identity.mark();
    for old in elsewhere.iter().filter(|old| mine.is_some() && old.device == mine) {
        edge.neighbours.replace(&identity.user, old);
    }
    for old in older {
        edge.close(old, CloseCode::Replaced);
        // A task of its own, as above.
        let _logged_by_the_runtime = edge.tasks.spawn(save_ack(edge.clone(), old.clone())).await;
    }
}
