//! The sockets of this edge: all of them by id, and the joined ones by user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use soundoff_common::protocol::Handle;

use crate::connection::{Connection, Phase};

/// Into how many turns the sockets are divided. What is done to all of them now and then is done turn by turn, so that it is never much
/// at once and each socket is met once in every round, however late in the last one it came.
pub(crate) const TURNS: u64 = 32;

/// Local sockets. A socket is here before the Session Cache names it, and gone from here before the cache forgets it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    last_id: AtomicU64,
    /// By turn, which is the id's rest.
    all: [RwLock<HashMap<u64, Arc<Connection>>>; TURNS as usize],
    users: RwLock<HashMap<Handle, Vec<Arc<Connection>>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    fn turn_of(&self, id: u64) -> &RwLock<HashMap<u64, Arc<Connection>>> {
        &self.all[(id % TURNS) as usize]
    }

    pub(crate) fn open(&self, clock_ms: u64) -> Arc<Connection> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(Connection::new(id, clock_ms));
        write(self.turn_of(id)).insert(id, connection.clone());
        connection
    }

    /// Makes a socket its user's; answers how many the user has here now. Those that are closing do not count: a client that comes
    /// back at once is one device, not two.
    pub(crate) fn join(&self, user: &Handle, connection: &Arc<Connection>) -> usize {
        let mut users = write(&self.users);
        let sockets = users.entry(user.clone()).or_insert_with(|| Vec::with_capacity(1));
        sockets.push(connection.clone());
        sockets.iter().filter(|other| other.state().phase != Phase::Closing).count()
    }

    /// Forgets a socket.
    pub(crate) fn leave(&self, connection: &Connection) {
        write(self.turn_of(connection.id)).remove(&connection.id);
        let Some(identity) = connection.identity() else { return };
        let mut users = write(&self.users);
        if let Some(sockets) = users.get_mut(&identity.user) {
            sockets.retain(|other| other.id != connection.id);
            if sockets.is_empty() {
                users.remove(&identity.user);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.iter().map(|turn| read(turn).len()).sum()
    }

    /// Runs `f` on each of a user's sockets (or only the one named).
    pub(crate) fn each_of(&self, user: &Handle, only: Option<u64>, mut f: impl FnMut(&Connection)) {
        let users = read(&self.users);
        let sockets = users.get(user).map_or(&[][..], Vec::as_slice);
        for connection in sockets.iter().filter(|c| only.is_none_or(|id| c.id == id)) {
            f(connection);
        }
    }

    /// Runs `f` on every socket; `f` must be quick.
    pub(crate) fn each(&self, mut f: impl FnMut(&Arc<Connection>)) {
        self.all.iter().for_each(|turn| read(turn).values().for_each(&mut f));
    }

    /// The sockets that are past `hello` and not closing.
    pub(crate) fn joined(&self) -> Vec<Arc<Connection>> {
        (0..TURNS).flat_map(|turn| self.joined_of(turn)).collect()
    }

    /// Those of one turn.
    pub(crate) fn joined_of(&self, turn: u64) -> Vec<Arc<Connection>> {
        let joined = |c: &&Arc<Connection>| matches!(c.state().phase, Phase::Joining | Phase::Open);
        read(self.turn_of(turn)).values().filter(joined).cloned().collect()
    }

    pub(crate) fn holds(&self, connection: &Connection) -> bool {
        read(self.turn_of(connection.id)).contains_key(&connection.id)
    }
}
