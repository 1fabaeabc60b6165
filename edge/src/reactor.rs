//! Drives many sockets from one task, so that an idle socket costs a place in a list, and no task, timer or I/O
//! registration in the runtime.
//!
//! A reactor has its own epoll set, which the runtime watches as one file. A task that leaves something for a socket
//! marks it in the reactor's [`Mailbox`]; what many tasks leave at once is written in one turn.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use mio::{Events, Interest, Token};
use slab::Slab;
use tokio::io::unix::AsyncFd;

use crate::connection::Arrival;
use crate::edge::Edge;
use crate::mailbox::{Left, Mailbox};
use crate::socket::{Driven, Readiness, Socket};

/// How many events one look asks for at most, and how many sockets have their turn before the runtime's other tasks
/// have theirs.
const TURN: usize = 256;

#[expect(deprecated, reason = "its successor is unsafe; a mio::Poll keeps its file open as long as it lives")]
fn watched(set: mio::Poll) -> std::io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::new(set)
}

/// A task that drives its share of an edge's sockets while it is polled.
pub(crate) struct Reactor {
    edge: Arc<Edge>,
    mailbox: Arc<Mailbox<Arrival>>,
    set: AsyncFd<mio::Poll>,
    events: Events,
    sockets: Slab<Socket>,
    /// Places that wait for their turn. When a place is empty meanwhile, or has a new socket, the turn finds nothing to
    /// do, which is harmless.
    due: Vec<u32>,
}

impl Reactor {
    /// A reactor without sockets.
    ///
    /// # Errors
    /// When the kernel refuses an epoll set.
    pub(crate) fn new(edge: Arc<Edge>, mailbox: Arc<Mailbox<Arrival>>) -> anyhow::Result<Self> {
        let set = mio::Poll::new().and_then(watched).context("cannot watch sockets")?;
        let (events, sockets) = (Events::with_capacity(TURN), Slab::new());
        Ok(Self { edge, mailbox, set, events, sockets, due: Vec::new() })
    }

    /// Takes in what was left in the mailbox; returns whether there was anything.
    fn collect(&mut self) -> bool {
        let Left { arrivals, mut marked } = self.mailbox.take();
        let some = !arrivals.is_empty() || !marked.is_empty();
        self.due.append(&mut marked);
        for arrival in arrivals {
            self.insert(Socket::new(arrival));
        }
        some
    }

    fn insert(&mut self, socket: Socket) {
        let entry = self.sockets.vacant_entry();
        let place = u32::try_from(entry.key()).expect("far fewer sockets");
        let socket = entry.insert(socket);
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(place as usize);
        match self.set.get_ref().registry().register(socket.source(), token, both) {
            Ok(()) => {
                socket.settle(place);
                self.due.push(place);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot watch a socket");
                self.sockets.remove(place as usize).end(&self.edge);
            }
        }
    }

    /// Looks which sockets the network has made ready; returns whether there may be more.
    fn look(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let Poll::Ready(guard) = self.set.poll_read_ready_mut(cx) else { return Ok(false) };
        let mut guard = guard?;
        guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO))?;
        let full = self.events.iter().count() == TURN;
        if !full {
            // What becomes ready from now on wakes again.
            guard.clear_ready();
        }
        for event in &self.events {
            let Token(place) = event.token();
            let Some(socket) = self.sockets.get_mut(place) else { continue };
            let failed = event.is_error();
            socket.became(Readiness {
                readable: event.is_readable() || failed,
                writable: event.is_writable() || failed,
                ending: event.is_read_closed() || failed,
            });
            self.due.push(u32::try_from(place).expect("far fewer sockets"));
        }
        Ok(true)
    }

    /// Gives the next sockets their turn.
    fn drive(&mut self) {
        let most = self.due.len().min(TURN);
        let turn: Vec<u32> = self.due.drain(..most).collect();
        for place in turn {
            let Some(socket) = self.sockets.get_mut(place as usize) else { continue };
            // A panic at one socket ends only that one, as if each had its own task.
            let driven = catch_unwind(AssertUnwindSafe(|| socket.drive(&self.edge)));
            match driven.unwrap_or(Driven::Over) {
                Driven::Waits => {}
                Driven::Again => self.due.push(place),
                Driven::Over => self.sockets.remove(place as usize).end(&self.edge),
            }
        }
    }
}

impl Future for Reactor {
    type Output = std::io::Error;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Error> {
        let reactor = self.get_mut();
        // Before the look into the mailbox: what is left after it wakes.
        reactor.mailbox.register(cx.waker());
        let collected = reactor.collect();
        let looked = match reactor.look(cx) {
            Ok(looked) => looked,
            Err(error) => return Poll::Ready(error),
        };
        reactor.drive();
        if collected || looked || !reactor.due.is_empty() {
            // Other tasks first, then what came meanwhile.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let arrivals = self.mailbox.take().arrivals;
        arrivals
            .into_iter()
            .map(Socket::new)
            .chain(self.sockets.drain())
            .for_each(|socket| socket.end(&self.edge));
    }
}
