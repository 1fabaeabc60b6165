//! The places of sockets that have not said `hello`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use soundoff_common::lock::lock;

use crate::connection::Connection;

/// Sockets that may not have said `hello` yet, oldest first. They can never fill an edge: from some number on the
/// oldest must go.
#[derive(Debug)]
pub(crate) struct Lobby {
    waiting: Mutex<VecDeque<Arc<Connection>>>,
    share: usize,
}

impl Lobby {
    /// For an edge with `max_sockets` places. While no more than a sixteenth of them is taken by sockets without
    /// `hello`, nobody must go; they never take more than twice that.
    pub(crate) fn new(max_sockets: usize) -> Self {
        let share = (max_sockets / 16).max(8).min(max_sockets / 4).max(1);
        Self { waiting: Mutex::default(), share }
    }

    /// Lets a new socket wait here; returns those that must go.
    pub(crate) fn enter(&self, connection: Arc<Connection>) -> Vec<Arc<Connection>> {
        let mut waiting = lock(&self.waiting);
        waiting.push_back(connection);
        if waiting.len() <= 2 * self.share {
            return Vec::new();
        }
        // Not with each new socket: looking through all of them is paid by at least half as many.
        waiting.retain(|connection| connection.is_silent());
        let surplus = waiting.len().saturating_sub(self.share);
        waiting.drain(..surplus).collect()
    }

    /// Forgets sockets that have said `hello`, or are gone.
    pub(crate) fn tidy(&self) {
        let mut waiting = lock(&self.waiting);
        waiting.retain(|connection| connection.is_silent());
        if waiting.is_empty() {
            *waiting = VecDeque::new();
        }
    }
}
