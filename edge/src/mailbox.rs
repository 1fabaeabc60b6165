//! What other tasks leave for a reactor: new sockets, and marks on sockets that have something to do.

use std::sync::Mutex;
use std::task::Waker;

use futures_util::task::AtomicWaker;
use soundoff_common::lock::lock;

/// A reactor's mailbox. `A` is a new socket on its way: it holds a connection, and each connection holds its mailbox.
pub(crate) struct Mailbox<A> {
    left: Mutex<Left<A>>,
    waker: AtomicWaker,
}

/// What was left since the last look.
pub(crate) struct Left<A> {
    pub(crate) arrivals: Vec<A>,
    /// Places of sockets that have something to do.
    pub(crate) marked: Vec<u32>,
}

impl<A> Default for Left<A> {
    fn default() -> Self {
        Self { arrivals: Vec::new(), marked: Vec::new() }
    }
}

impl<A> Default for Mailbox<A> {
    fn default() -> Self {
        Self { left: Mutex::default(), waker: AtomicWaker::new() }
    }
}

impl<A> Mailbox<A> {
    /// Hands over a new socket.
    pub(crate) fn hand_over(&self, arrival: A) {
        lock(&self.left).arrivals.push(arrival);
        self.waker.wake();
    }

    /// Says that the socket at a place has something to do.
    pub(crate) fn mark(&self, place: u32) {
        lock(&self.left).marked.push(place);
        self.waker.wake();
    }

    /// Takes everything out.
    #[inline]
    pub(crate) fn take(&self) -> Left<A> {
        std::mem::take(&mut *lock(&self.left))
    }

    /// Wakes `waker` when something is left from now on.
    #[inline]
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

impl<A> std::fmt::Debug for Mailbox<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
