//! The users who have something in the queues, by numbers, and how much of the room each holds.

use std::collections::HashMap;

use soundoff_common::protocol::Handle;

/// A user's number for as long as there is something of theirs, and a while longer: it may be given to another then.
pub(super) type User = u32;

/// Stands for all messages that are nobody's.
pub(super) const NOBODY: User = 0;

#[derive(Debug)]
struct Holder {
    /// `None` for nobody, and where the number is free.
    handle: Option<Handle>,
    /// Bytes of messages and dead letters.
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Users {
    numbers: HashMap<Handle, User>,
    /// By number.
    holders: Vec<Holder>,
    free: Vec<User>,
}

impl Default for Users {
    fn default() -> Self {
        let nobody = Holder { handle: None, bytes: 0 };
        Self { numbers: HashMap::new(), holders: vec![nobody], free: Vec::new() }
    }
}

impl Users {
    /// The number of a user, who gets one if they have none.
    pub(super) fn number(&mut self, user: Option<&Handle>) -> User {
        let Some(user) = user else { return NOBODY };
        if let Some(number) = self.numbers.get(user) {
            return *number;
        }
        let holder = Holder { handle: Some(user.clone()), bytes: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.holders[number as usize] = holder;
                number
            }
            None => {
                self.holders.push(holder);
                User::try_from(self.holders.len() - 1).expect("fewer users than bytes")
            }
        };
        self.numbers.insert(user.clone(), number);
        number
    }

    pub(super) fn handle(&self, user: User) -> Option<&Handle> {
        self.holders[user as usize].handle.as_ref()
    }

    /// The bytes that a user holds.
    pub(super) fn bytes_of(&self, user: &Handle) -> u64 {
        self.numbers.get(user).map_or(0, |number| self.holders[*number as usize].bytes)
    }

    pub(super) fn add(&mut self, user: User, bytes: u64) {
        self.holders[user as usize].bytes += bytes;
    }

    /// Forgets a user who holds nothing any more.
    pub(super) fn subtract(&mut self, user: User, bytes: u64) {
        let holder = &mut self.holders[user as usize];
        holder.bytes -= bytes;
        if holder.bytes == 0
            && let Some(handle) = holder.handle.take()
        {
            self.numbers.remove(&handle);
            self.free.push(user);
        }
    }

    /// Forgets all who hold nothing: the log has been read, and tells of many whose messages are done.
    pub(super) fn tidy(&mut self) {
        for user in 0..self.holders.len() {
            self.subtract(user as User, 0);
        }
        self.numbers.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}
