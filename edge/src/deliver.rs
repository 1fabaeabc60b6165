//! What workers deliver: who may deliver, and which sockets get it.

use hyper::Method;
use serde_json::value::RawValue;
use soundoff_common::pipeline::deliver::{
    self, DELIVER_PATH, DeliverAnswer, DeliverRequest, Delivery, Kind, Promised, is_fresh,
};
use soundoff_common::protocol::{CloseCode, Handle, now_ms};

use crate::edge::Edge;
use crate::state::Class;
use crate::websocket::text_frame;

/// Why deliveries were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// By the head.
    Head(deliver::Refused),
    /// The body is not the one that was signed.
    OtherBody,
    /// The body is longer than any that is taken.
    TooLarge,
    /// Not a deliver request of this version.
    Malformed,
}

/// Judges deliveries by their head: the length of their body, and the signature. No more is read of what is refused.
pub(crate) fn judge(edge: &Edge, body: usize, signed: &str) -> Result<Promised, Refused> {
    // An edge whose wall clock is wrong still has sockets: by the clock of mids, which goes by the other edges', what is
    // new is new for it, too.
    let now_ms = now_ms();
    let is_new = |at| is_fresh(at, now_ms) || is_fresh(at, edge.clock.agreed_ms(now_ms));
    edge.judge.judge(Method::POST.as_str(), DELIVER_PATH, body as u64, signed, is_new).map_err(Refused::Head)
}

/// Takes deliveries whose head was found good. Returns the body of the answer. The body is not parsed before it is found
/// to be the one that was signed.
pub(crate) fn take(edge: &Edge, promised: &Promised, body: &[u8]) -> Result<Vec<u8>, Refused> {
    if !promised.is_kept_by(body) {
        return Err(Refused::OtherBody);
    }
    let request: DeliverRequest<Delivery<&RawValue>> =
        serde_json::from_slice(body).map_err(|_| Refused::Malformed)?;
    let answer = DeliverAnswer { missing: hand_out(edge, &request.deliveries) };
    Ok(serde_json::to_vec(&answer).expect("an answer is JSON"))
}

/// Puts each delivery on its sockets' queues; returns which users had no socket.
fn hand_out(edge: &Edge, deliveries: &[Delivery<&RawValue>]) -> Vec<(usize, Handle)> {
    let mut missing = Vec::new();
    for (at, delivery) in deliveries.iter().enumerate() {
        edge.metrics.edge_deliveries.inc();
        // Encoded once: all sockets share it.
        let wire = delivery.frame.as_ref().map(|frame| text_frame(frame.get()));
        for user in &delivery.to {
            let mut taken = false;
            edge.registry.each_of(user, delivery.connection, |connection| {
                taken |= match (delivery.kind, &wire, delivery.seq) {
                    (Kind::Push, wire, Some(seq)) => edge.offer_push(connection, seq, wire.as_ref()),
                    (Kind::Reply, Some(wire), _) => edge.offer_wire(connection, wire.clone(), Class::Durable),
                    (Kind::Event, Some(wire), _) => edge.offer_wire(connection, wire.clone(), Class::Event),
                    (Kind::Revoke, ..) => {
                        let is_excepted = delivery.except.is_some_and(|session| connection.is_of(session));
                        if !is_excepted && delivery.session.is_none_or(|session| connection.is_of(session)) {
                            edge.close(connection, CloseCode::SessionRevoked);
                        }
                        // A socket of another sign-in is here all the same: its registration must stay.
                        true
                    }
                    (Kind::Renew, ..) => {
                        edge.close(connection, CloseCode::TokenExpired);
                        true
                    }
                    // Without a number it would be every socket of the user's; the one that was meant is gone.
                    (Kind::Replace, ..) => {
                        if delivery.connection.is_some() {
                            edge.close(connection, CloseCode::Replaced);
                        }
                        true
                    }
                    (Kind::Probe, ..) => {
                        edge.probe(connection);
                        true
                    }
                    // A push without a `seq` or a reply without a frame says nothing; its sender need not send it
                    // again.
                    (Kind::Push | Kind::Reply | Kind::Event, ..) => true,
                };
            });
            if !taken {
                missing.push((at, user.clone()));
            }
        }
    }
    missing
}
