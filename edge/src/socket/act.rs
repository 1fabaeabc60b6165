//! What a socket does about a frame from its client.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use soundoff_common::protocol::{ClientFrame, CloseCode, Role};

use super::layout::Socket;
use crate::edge::Edge;
use crate::hello::{Hello, hello};
use crate::outbound::{Incoming, publish};
use crate::renew::renew;
use crate::session::Step;
use crate::state::Class;
use crate::websocket::{Inbound, pong_frame};

/// The whole frame that contains [`soundoff_common::protocol::ServerFrame::Pong`].
const PONG: &[u8] = b"\x81\x0d{\"op\":\"pong\"}";

impl Socket {
    #[inline]
    pub(super) fn act(&mut self, edge: &Arc<Edge>, inbound: Inbound<'_>, now_ns: u64, role: Role) {
        match inbound {
            Inbound::Text(text) => self.step(edge, text, now_ns, role),
            Inbound::Gathered(text) => self.step(edge, &text, now_ns, role),
            Inbound::Part | Inbound::Pong => {}
            Inbound::Ping(payload) => {
                if matches!(self.session.ping(now_ns, &edge.rules), Step::Pong) {
                    edge.offer_wire(&self.connection, pong_frame(payload), Class::Event);
                }
            }
            Inbound::Close(code) => {
                self.connection.echo_close(code, edge.cut_at());
                self.peer_closed = true;
            }
        }
    }

    /// Answers a frame that was over the limit.
    #[cold]
    pub(super) fn refuse_skipped(&mut self, edge: &Edge, start: &str, now_ns: u64, role: Role) {
        let connection = &self.connection;
        let standing = connection.standing(&edge.rules, role);
        match self.session.skipped(start, edge.config.frame_bytes, now_ns, standing) {
            Step::Refuse { id, error } => edge.refuse(connection, id.as_deref(), &error),
            Step::CloseExcess(wait_ms) => edge.close_excess(connection, wait_ms),
            _ => {}
        }
    }

    /// What a closing socket still says: its acks count, and its close ends it.
    pub(super) fn hear_last(&mut self, inbound: Inbound<'_>) {
        let text: &str = match &inbound {
            Inbound::Close(_) => return self.peer_closed = true,
            Inbound::Text(text) => text,
            Inbound::Gathered(text) => text,
            _ => return,
        };
        if let Ok(ClientFrame::Ack { cursor }) = ClientFrame::parse(text) {
            self.connection.ack(cursor);
        }
    }

    fn step(&mut self, edge: &Arc<Edge>, text: &str, now_ns: u64, role: Role) {
        let connection = &self.connection;
        match self.session.step(text, now_ns, connection.standing(&edge.rules, role)) {
            Step::Nothing => {}
            Step::Hello { token, device, cursor, after } => {
                let owned = |text: Option<Cow<'_, str>>| text.map(|text| Box::from(&*text));
                let bearer = self.busy.as_mut().and_then(|busy| busy.bearer.take());
                let said = Hello { bearer, token: owned(token), device: owned(device), cursor, after };
                let job = hello(edge.clone(), connection.clone(), said);
                self.busy().job = Some(Box::pin(job));
            }
            Step::Publish { id, message_type, body } => {
                let message = Incoming { id: &id, message_type: &message_type, body };
                if let Err(error) = publish(edge, connection, &message) {
                    edge.refuse(connection, Some(&id), &error);
                }
            }
            Step::Ack(cursor) => connection.ack(cursor),
            Step::Pong => drop(edge.offer_wire(connection, Bytes::from_static(PONG), Class::Event)),
            Step::Auth(token) => renew(edge, connection, &token),
            Step::Refuse { id, error } => edge.refuse(connection, id.as_deref(), &error),
            Step::RefuseAndClose { id, error } => {
                edge.refuse(connection, id.as_deref(), &error);
                edge.close(connection, CloseCode::ProtocolViolation);
            }
            Step::CloseExcess(wait_ms) => edge.close_excess(connection, wait_ms),
            Step::Close(code) => edge.close(connection, code),
        }
    }
}

#[cfg(test)]
mod tests {
    use soundoff_common::protocol::ServerFrame;

    use super::*;

    #[test]
    fn the_ready_made_pong_is_a_pong() {
        assert_eq!(PONG, crate::websocket::json_frame(&ServerFrame::Pong));
    }
}
