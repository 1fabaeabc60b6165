//! `auth`: a fresh token on a live socket.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use soundoff_common::ports::tokens::{Claims, Token, TokenError};
use soundoff_common::protocol::{CloseCode, ErrorBody, ErrorCode, ServerFrame, now_ms, rfc3339};

use crate::connection::Connection;
use crate::edge::Edge;
use crate::hello::{check_sign_in, whose};
use crate::state::Class;

/// How long a client should wait when the tables cannot check its token, in milliseconds.
const UNCHECKED_MS: u64 = 1000;

/// Checks a fresh token in a task apart from the socket's turn, one token at a time.
pub(crate) fn renew(edge: &Arc<Edge>, connection: &Arc<Connection>, token: &str) {
    let refuse = |code, message: &str| edge.refuse(connection, None, &ErrorBody::new(code, message));
    let token = match edge.tokens.verify(token, now_ms() / 1000) {
        Ok(token) => token,
        Err(TokenError::Unknown) => return unchecked(edge, connection),
        Err(error) => return refuse(ErrorCode::Unauthorized, &error.to_string()),
    };
    if let Token::Ours(claims) = &token
        && !is_same_user(edge, connection, claims)
    {
        return;
    }
    if connection.renewing.swap(true, Ordering::AcqRel) {
        return refuse(ErrorCode::RateLimited, "one auth at a time");
    }
    let (edge, connection) = (edge.clone(), connection.clone());
    tokio::spawn(async move {
        match whose(&edge, token).await {
            Ok(claims) => turn(&edge, &connection, &claims).await,
            Err(CloseCode::Shedding) => unchecked(&edge, &connection),
            Err(code) => edge.close(&connection, code),
        }
        connection.renewing.store(false, Ordering::Release);
    });
}

/// Whether a fresh token is one of the socket's user; if not, says so.
fn is_same_user(edge: &Edge, connection: &Connection, claims: &Claims) -> bool {
    let same = connection.identity().is_some_and(|identity| identity.user == claims.user);
    if !same {
        edge.refuse(connection, None, &ErrorBody::new(ErrorCode::Forbidden, "the token is another user's"));
    }
    same
}

/// Makes the socket one of the session of a fresh token, if that is open.
async fn turn(edge: &Edge, connection: &Connection, claims: &Claims) {
    if !is_same_user(edge, connection, claims) {
        return;
    }
    let before = connection.turn_to(claims.session);
    match check_sign_in(edge, claims).await {
        Ok(role) => {
            connection.renew(claims.expires_at, role);
            let expires = rfc3339(claims.expires_at.saturating_mul(1000));
            edge.offer(connection, &ServerFrame::AuthOk { token_expires_at: &expires }, Class::Durable);
        }
        Err(CloseCode::Shedding) => {
            connection.turn_to(before);
            unchecked(edge, connection);
        }
        Err(code) => edge.close(connection, code),
    }
}

/// Says that the token cannot be checked now.
fn unchecked(edge: &Edge, connection: &Connection) {
    let error = ErrorBody::new(ErrorCode::Overloaded, "cannot check the token now");
    edge.refuse(connection, None, &error.after(UNCHECKED_MS));
}
