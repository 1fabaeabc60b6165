//! The sockets of this edge: all of them by id, and the joined ones by user.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use soundoff_common::protocol::Handle;

use crate::connection::{Connection, Phase};

/// Local sockets. A socket is here before the Session Cache names it, and gone from here before the cache forgets it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    last_id: AtomicU64,
    all: RwLock<HashMap<u64, Arc<Connection>>>,
    users: RwLock<HashMap<Handle, Vec<Arc<Connection>>>>,
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Registry {
    pub(crate) fn open(&self, clock_ms: u64) -> Arc<Connection> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(Connection::new(id, clock_ms));
        write(&self.all).insert(id, connection.clone());
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
        write(&self.all).remove(&connection.id);
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
        read(&self.all).len()
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
        read(&self.all).values().for_each(&mut f);
    }

    /// The sockets that are past `hello` and not closing.
    pub(crate) fn joined(&self) -> Vec<Arc<Connection>> {
        let all = read(&self.all);
        let joined = |c: &&Arc<Connection>| matches!(c.state().phase, Phase::Joining | Phase::Open);
        all.values().filter(joined).cloned().collect()
    }

    pub(crate) fn holds(&self, connection: &Connection) -> bool {
        read(&self.all).contains_key(&connection.id)
    }
}
