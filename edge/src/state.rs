//! What waits for one socket, and where the socket is in its user's inbox: pure state, behind the connection's lock.
//! Every change leaves the state whole.

use std::collections::VecDeque;

use bytes::Bytes;
use soundoff_common::protocol::{CloseCode, Role};

use crate::websocket::{close_frame, ping_frame};

/// How a frame is treated when its reader is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// May be dropped.
    Event,
    /// Must not be dropped: a socket with no room for it closes 4002.
    Durable,
}

/// What happened to a frame that was handed to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    /// An event, and the queue is full.
    Dropped,
    /// The socket is closing, and counts as gone.
    Gone,
    /// There was no room for what must not be dropped, so the socket has begun to close.
    TooSlow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No valid `hello` yet.
    Silent,
    /// `hello` is being checked.
    Joining,
    Open,
    Closing,
}

/// The bounds of a socket's outbound queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) frames: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Out {
    pub(crate) wire: Bytes,
    pub(crate) class: Class,
}

/// What a socket must write and where it is in its user's inbox.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) queue: VecDeque<Out>,
    pub(crate) bytes: usize,
    /// How many bytes of the first frame are written: a frame that was begun can neither be dropped nor overtaken.
    pub(crate) written: usize,
    /// Nothing is written: `welcome` comes first and is not here yet, or the close waits until the last ack is saved.
    pub(crate) held: bool,
    /// The last inbox `seq` that was queued for this socket.
    pub(crate) delivered: u64,
    /// The newest inbox `seq` that is known to exist.
    pub(crate) seen: u64,
    /// The inbox is being read, or is about to be; live pushes only raise `seen`.
    pub(crate) catching_up: bool,
    pub(crate) acked: u64,
    /// The last ack that was saved or is being saved.
    pub(crate) saved: u64,
    /// How many acks are being saved.
    pub(crate) saving: u8,
    /// In milliseconds of the edge's clock. When a closing socket is cut; by when an open one must have given a sign of
    /// life, or 0 when it was not asked for one.
    pub(crate) deadline: u64,
    pub(crate) due_sent: bool,
    /// Nobody waits for its client to answer the close.
    pub(crate) abrupt: bool,
    /// What the user may do, as of the last token.
    pub(crate) role: Role,
    /// The sign-in of the last token; bytes, because a `u128` would make the whole larger.
    pub(crate) session: [u8; 16],
}

impl State {
    /// The state of a socket that has just opened.
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Silent,
            queue: VecDeque::new(),
            bytes: 0,
            written: 0,
            held: false,
            delivered: 0,
            seen: 0,
            catching_up: false,
            acked: 0,
            saved: 0,
            saving: 0,
            deadline: 0,
            due_sent: false,
            abrupt: false,
            role: Role::User,
            session: [0; 16],
        }
    }

    pub(crate) fn push(&mut self, wire: Bytes, class: Class) {
        self.bytes += wire.len();
        self.queue.push_back(Out { wire, class });
    }

    fn fits(&self, len: usize, room: Room) -> bool {
        self.queue.is_empty() || (self.queue.len() < room.frames && self.bytes + len <= room.bytes)
    }

    pub(crate) fn offer(
        &mut self,
        wire: Bytes,
        class: Class,
        room: Room,
        cut_at: impl FnOnce() -> u64,
    ) -> Offer {
        if self.phase == Phase::Closing {
            return Offer::Gone;
        }
        if !self.fits(wire.len(), room) {
            if class == Class::Event {
                return Offer::Dropped;
            }
            self.drop_events();
            if !self.fits(wire.len(), room) {
                self.close(Some(CloseCode::TooSlow.code()), CloseCode::TooSlow.reason(), cut_at());
                return Offer::TooSlow;
            }
        }
        self.push(wire, class);
        Offer::Taken
    }

    fn drop_events(&mut self) {
        let begun = usize::from(self.written > 0);
        let mut at = 0;
        let mut freed = 0;
        self.queue.retain(|out| {
            at += 1;
            let keep = at <= begun || out.class == Class::Durable;
            if !keep {
                freed += out.wire.len();
            }
            keep
        });
        self.bytes -= freed;
    }

    pub(crate) fn close(&mut self, code: Option<u16>, reason: &str, cut_at: u64) -> bool {
        if self.phase == Phase::Closing {
            return false;
        }
        self.phase = Phase::Closing;
        self.deadline = cut_at;
        if self.held || code == Some(CloseCode::TooSlow.code()) {
            // Nothing durable is lost: accepted messages are in main_q, pushes in the inbox.
            self.queue.truncate(usize::from(self.written > 0));
            self.bytes = self.queue.iter().map(|out| out.wire.len()).sum::<usize>() - self.written;
        }
        // Who reads the close may rely on its ack: the next socket of the device goes on after it.
        self.held = self.saving > 0 || self.acked > self.saved;
        self.catching_up = false;
        self.push(close_frame(code, reason), Class::Durable);
        true
    }

    /// Asks the client for a sign of life, unless it was asked before.
    pub(crate) fn probe(&mut self, room: Room, deadline: u64) {
        let open = self.phase == Phase::Open && self.deadline == 0;
        if open && self.offer(ping_frame(), Class::Event, room, || deadline) == Offer::Taken {
            self.deadline = deadline;
        }
    }

    /// Whether anything may be written now.
    pub(crate) fn has_output(&self) -> bool {
        !self.held && !self.queue.is_empty()
    }

    /// Whether more than half of the room is taken: no more input should be read.
    pub(crate) fn is_half_full(&self, room: Room) -> bool {
        self.queue.len() > room.frames / 2 || self.bytes > room.bytes / 2
    }

    pub(crate) fn is_catching_up(&self) -> bool {
        self.catching_up && self.phase == Phase::Open
    }

    /// Fills `slices` with what to write next; returns how many it filled.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [std::io::IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, out) in slices.iter_mut().zip(&self.queue) {
            let from = if filled == 0 { self.written } else { 0 };
            *slice = std::io::IoSlice::new(&out.wire[from..]);
            filled += 1;
        }
        filled
    }

    /// Notes that `n` bytes were written; returns how many frames that finished.
    pub(crate) fn wrote(&mut self, n: usize) -> u64 {
        self.bytes -= n;
        self.written += n;
        let mut frames = 0;
        while let Some(first) = self.queue.front()
            && self.written >= first.wire.len()
        {
            self.written -= first.wire.len();
            self.queue.pop_front();
            frames += 1;
        }
        if self.queue.is_empty() {
            // An idle socket owns no queue.
            self.queue = VecDeque::new();
        }
        frames
    }
}
