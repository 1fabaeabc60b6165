//! The sockets of this edge: all of them by id, and the joined ones by user.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

use hashbrown::HashTable;
use soundoff_common::lock::{read, write};
use soundoff_common::ports::sessions::DeviceMark;
use soundoff_common::protocol::Handle;

use crate::connection::Connection;
use crate::identity::Identity;
use crate::state::Phase;

/// Into how many turns the sockets are divided. Work on all sockets goes turn by turn, so that it is never much at
/// once, and every round meets each socket once, even one that came late in the round before.
pub(crate) const TURNS: u64 = 32;

/// A table entry is a pointer and a byte: the key is in the socket itself.
type Sockets = RwLock<HashTable<Arc<Connection>>>;

/// Local sockets. A socket is added here before the Session Cache names it, and counts as gone when it begins to close,
/// before the cache forgets it.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    last_id: AtomicU64,
    /// By turn, which is the id modulo [`TURNS`].
    all: [Sockets; TURNS as usize],
    /// By the user's hash.
    users: Sockets,
    /// Users choose their handles, so they must not be able to predict the hashes.
    hashes: RandomState,
}

/// A user's sockets at the moment at which one of them joined. Closing ones are not among them: a client that comes
/// back at once is one device, not two.
pub(crate) struct Joined {
    /// Of which device each of them is, the new one included.
    pub(crate) devices: Vec<Option<DeviceMark>>,
    /// The older ones of the new one's device.
    pub(crate) older: Vec<Arc<Connection>>,
}

/// Ids are counted up, so spreading them is enough.
fn hash_of(id: u64) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn user_of(connection: &Connection) -> Option<&Handle> {
    connection.identity().map(|identity| &identity.user)
}

impl Registry {
    fn turn_of(&self, id: u64) -> &Sockets {
        &self.all[(id % TURNS) as usize]
    }

    /// Takes in a new socket, which `make` makes from its id.
    pub(crate) fn open(&self, make: impl FnOnce(u64) -> Connection) -> Arc<Connection> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Arc::new(make(id));
        let spread = |other: &Arc<Connection>| hash_of(other.id);
        write(self.turn_of(id)).insert_unique(hash_of(id), connection.clone(), spread);
        connection
    }

    fn hash_of_user(&self, connection: &Connection) -> u64 {
        self.hashes.hash_one(user_of(connection).expect("a joined socket has a user"))
    }

    /// Adds a socket to its user's, and says which they are now.
    pub(crate) fn join(&self, identity: &Identity, connection: &Arc<Connection>) -> Joined {
        let mut users = write(&self.users);
        let hash = self.hashes.hash_one(&identity.user);
        let mut joined = Joined { devices: vec![identity.mark()], older: Vec::new() };
        for other in users.iter_hash(hash).filter(|other| !other.is_closing()) {
            let Some(theirs) = other.identity().filter(|theirs| theirs.user == identity.user) else {
                continue;
            };
            joined.devices.push(theirs.mark());
            if theirs.is_device_of(identity) {
                joined.older.push(other.clone());
            }
        }
        users.insert_unique(hash, connection.clone(), |other| self.hash_of_user(other));
        joined
    }

    /// Forgets a socket.
    pub(crate) fn leave(&self, connection: &Connection) {
        let same = |other: &Arc<Connection>| other.id == connection.id;
        let forget = |table: &mut HashTable<Arc<Connection>>, hash| {
            if let Ok(entry) = table.find_entry(hash, same) {
                entry.remove();
            }
        };
        forget(&mut write(self.turn_of(connection.id)), hash_of(connection.id));
        if let Some(user) = user_of(connection) {
            forget(&mut write(&self.users), self.hashes.hash_one(user));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.iter().map(|turn| read(turn).len()).sum()
    }

    /// Runs `f` on each of a user's sockets, or only on the one with the id `only`.
    pub(crate) fn each_of(&self, user: &Handle, only: Option<u64>, mut f: impl FnMut(&Connection)) {
        let users = read(&self.users);
        let own = users.iter_hash(self.hashes.hash_one(user)).filter(|c| user_of(c) == Some(user));
        for connection in own.filter(|c| only.is_none_or(|id| c.id == id)) {
            f(connection);
        }
    }

    /// Runs `f` on every socket; `f` must be quick.
    pub(crate) fn each(&self, mut f: impl FnMut(&Arc<Connection>)) {
        self.all.iter().for_each(|turn| read(turn).iter().for_each(&mut f));
    }

    /// The sockets that are past `hello` and not closing.
    pub(crate) fn joined(&self) -> Vec<Arc<Connection>> {
        (0..TURNS).flat_map(|turn| self.joined_of(turn)).collect()
    }

    /// The joined sockets of one turn.
    pub(crate) fn joined_of(&self, turn: u64) -> Vec<Arc<Connection>> {
        let joined = |c: &&Arc<Connection>| matches!(c.state().phase, Phase::Joining | Phase::Open);
        read(self.turn_of(turn)).iter().filter(joined).cloned().collect()
    }
}
