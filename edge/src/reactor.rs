//! Drives many sockets from one task, so that an idle socket costs a place in a list and no task, timer or I/O registration of the
//! runtime's.
//!
//! A reactor has an epoll set of its own, which the runtime watches as one file. Whoever leaves something for a socket marks it in the
//! reactor's [`Mailbox`]; what many leave at once is written in one turn.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::task::AtomicWaker;
use mio::{Events, Interest, Token};
use slab::Slab;
use tokio::io::unix::AsyncFd;

use crate::edge::Edge;
use crate::socket::{Driven, Readiness, Socket};

/// How many events are asked for at once, and how many sockets have their turn before the runtime's other tasks have theirs.
const TURN: usize = 256;

/// What others leave for a reactor.
#[derive(Default)]
pub(crate) struct Mailbox {
    left: Mutex<Left>,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Left {
    arrivals: Vec<Socket>,
    /// Places of sockets that have something to do.
    marked: Vec<u32>,
}

impl Mailbox {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands over a new socket.
    pub(crate) fn hand_over(&self, socket: Socket) {
        self.left().arrivals.push(socket);
        self.waker.wake();
    }

    /// Says that the socket at a place has something to do.
    pub(crate) fn mark(&self, place: u32) {
        self.left().marked.push(place);
        self.waker.wake();
    }
}

#[expect(
    deprecated,
    reason = "what takes its place is unsafe; a mio::Poll keeps its file open as long as it lives"
)]
fn watched(set: mio::Poll) -> std::io::Result<AsyncFd<mio::Poll>> {
    AsyncFd::new(set)
}

impl std::fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// A task that drives its share of an edge's sockets for as long as it is polled.
pub(crate) struct Reactor {
    edge: Arc<Edge>,
    mailbox: Arc<Mailbox>,
    set: AsyncFd<mio::Poll>,
    events: Events,
    sockets: Slab<Socket>,
    /// Places whose turn is to come. One that was given up meanwhile, or has a new socket, is driven in vain, which does no harm.
    due: Vec<u32>,
}

impl Reactor {
    /// A reactor without sockets.
    ///
    /// # Errors
    /// The kernel has no epoll set to give.
    pub(crate) fn new(edge: Arc<Edge>, mailbox: Arc<Mailbox>) -> anyhow::Result<Self> {
        let set = mio::Poll::new().and_then(watched).context("cannot watch sockets")?;
        let (events, sockets) = (Events::with_capacity(TURN), Slab::new());
        Ok(Self { edge, mailbox, set, events, sockets, due: Vec::new() })
    }

    /// Takes in what was left in the mailbox; answers whether there was anything.
    fn collect(&mut self) -> bool {
        let Left { arrivals, mut marked } = std::mem::take(&mut *self.mailbox.left());
        let some = !arrivals.is_empty() || !marked.is_empty();
        self.due.append(&mut marked);
        for socket in arrivals {
            self.insert(socket);
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

    /// Looks which sockets the network has made ready; answers whether there may be more.
    fn look(&mut self, cx: &mut Context<'_>) -> std::io::Result<bool> {
        let Poll::Ready(guard) = self.set.poll_read_ready_mut(cx) else { return Ok(false) };
        let mut guard = guard?;
        guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO))?;
        let full = self.events.iter().count() == TURN;
        if !full {
            // What becomes ready from here on wakes again.
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
            // A fault at one socket ends that one only, as if each had a task.
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
        // Before the mailbox is looked into: what is left after the look wakes.
        reactor.mailbox.waker.register(cx.waker());
        let collected = reactor.collect();
        let looked = match reactor.look(cx) {
            Ok(looked) => looked,
            Err(error) => return Poll::Ready(error),
        };
        reactor.drive();
        if collected || looked || !reactor.due.is_empty() {
            // Others first; then whatever came meanwhile.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        let arrivals = std::mem::take(&mut self.mailbox.left().arrivals);
        arrivals.into_iter().chain(self.sockets.drain()).for_each(|socket| socket.end(&self.edge));
    }
}
