//! Brings a socket up to its inbox's head, in order, no faster than its client reads.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use soundoff_common::pipeline::inbox::{self, Entry};
use soundoff_common::ports::tables::TableError;
use soundoff_common::protocol::{CloseCode, ErrorBody, ErrorCode, Handle, ServerFrame};

use crate::connection::Connection;
use crate::edge::Edge;
use crate::state::Offer;
use crate::websocket::json_frame;

/// The most entries of one read.
const PAGE: usize = 100;
/// The longest pause between tries when the tables fail.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Reads the inbox until the socket has everything that is known to exist.
///
/// The socket's reactor polls this again each time the socket has written something. Waiting for room relies on that.
pub(crate) async fn catch_up(edge: Arc<Edge>, connection: Arc<Connection>) {
    let Some(identity) = connection.identity() else { return };
    let mut pause = Duration::from_millis(50);
    while let Some((after, upto)) = connection.span() {
        match page(&edge, &connection, &identity.user, after, upto).await {
            Ok(true) => pause = Duration::from_millis(50),
            Ok(false) => return,
            Err(error @ (TableError::Corrupt(_) | TableError::Invalid(_))) => {
                tracing::error!(%error, after, "an inbox cannot be read");
                return edge.close(&connection, CloseCode::Shedding);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read an inbox; will try again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Hands one page to the socket; `false` when the socket is closing.
async fn page(
    edge: &Edge,
    connection: &Connection,
    user: &Handle,
    after: u64,
    upto: u64,
) -> Result<bool, TableError> {
    let mut entries = inbox::read(&*edge.tables, user, after, PAGE).await?;
    if entries.is_empty() {
        // Either nothing is there, or all of it has expired. The head, read before a second look, shows which.
        let head =
            inbox::heads(&*edge.tables, std::slice::from_ref(user)).await?.first().copied().unwrap_or(0);
        entries = inbox::read(&*edge.tables, user, after, PAGE).await?;
        if entries.is_empty() {
            if head > after && !hand_over(edge, connection, head, &[expired(head + 1)]).await {
                return Ok(false);
            }
            if head < upto {
                connection.nothing_past(head);
            }
            return Ok(true);
        }
    }
    let mut expected = after + 1;
    for (seq, entry) in &entries {
        let mut frames = Vec::with_capacity(1);
        if *seq > expected {
            frames.push(expired(*seq));
        }
        frames.push(push(*seq, entry));
        if !hand_over(edge, connection, *seq, &frames).await {
            return Ok(false);
        }
        expected = seq + 1;
    }
    Ok(true)
}

/// Waits until the socket has room; `false` when it is closing.
async fn hand_over(edge: &Edge, connection: &Connection, seq: u64, frames: &[Bytes]) -> bool {
    let offer = poll_fn(|_| match connection.offer_read(seq, frames, edge.room()) {
        Some(offer) => Poll::Ready(offer),
        None => Poll::Pending,
    });
    offer.await == Offer::Taken
}

fn push(seq: u64, entry: &Entry) -> Bytes {
    let mid = entry.mid.to_string();
    let frame = ServerFrame::Push { seq, push_type: &entry.push_type, mid: &mid, body: &entry.body };
    json_frame(&frame)
}

/// Says that entries are gone forever: a client must never mistake a gap for silence.
fn expired(first_left: u64) -> Bytes {
    let message = format!("inbox entries before seq {first_left} have expired: fetch what you need again");
    let error = ErrorBody::new(ErrorCode::NotFound, message);
    json_frame(&ServerFrame::Error { id: None, error: &error })
}
