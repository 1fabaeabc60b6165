use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::lock::lock;
use crate::ports::Unavailable;
use crate::ports::sessions::{Registration, Sessions};
use crate::protocol::Handle;

/// A Session Cache in memory.
#[derive(Default)]
pub struct MemorySessions(Mutex<HashMap<Handle, Vec<(Registration, Instant)>>>);

impl MemorySessions {
    /// All registrations that have not expired, in no order.
    pub fn all(&self) -> Vec<(Handle, Registration)> {
        let entries = lock(&self.0);
        let users = entries.iter();
        users.flat_map(|(user, list)| alive(list).map(|registration| (user.clone(), registration))).collect()
    }

    /// The registrations of one user.
    pub fn of(&self, user: &Handle) -> Vec<Registration> {
        lock(&self.0).get(user).map(|list| alive(list).collect()).unwrap_or_default()
    }

    /// Adds or refreshes one registration at once.
    pub fn put(&self, user: &Handle, registration: &Registration, ttl: Duration) {
        let mut entries = lock(&self.0);
        let list = entries.entry(user.clone()).or_default();
        list.retain(|(other, _)| other != registration);
        list.push((registration.clone(), Instant::now() + ttl));
    }

    /// Forgets everything, as a cache that restarts.
    pub fn clear(&self) {
        lock(&self.0).clear();
    }
}

fn alive(list: &[(Registration, Instant)]) -> impl Iterator<Item = Registration> {
    let now = Instant::now();
    list.iter().filter(move |(_, until)| *until > now).map(|(registration, _)| registration.clone())
}

#[async_trait]
impl Sessions for MemorySessions {
    async fn put_many(&self, entries: &[(Handle, Registration)], ttl: Duration) -> Result<(), Unavailable> {
        entries.iter().for_each(|(user, registration)| self.put(user, registration, ttl));
        Ok(())
    }

    async fn get_many(&self, handles: &[Handle]) -> Result<Vec<Vec<Registration>>, Unavailable> {
        Ok(handles.iter().map(|user| self.of(user)).collect())
    }

    async fn remove(&self, user: &Handle, registration: &Registration) -> Result<bool, Unavailable> {
        let now = Instant::now();
        let mut entries = lock(&self.0);
        let Some(list) = entries.get_mut(user) else { return Ok(false) };
        list.retain(|(_, until)| *until > now);
        let before = list.len();
        list.retain(|(other, _)| other != registration);
        Ok(list.len() < before)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ports::sessions::contract::{self, Harness};

    struct Fresh;

    #[async_trait]
    impl Harness for Fresh {
        async fn open(&self) -> Arc<dyn Sessions> {
            Arc::new(MemorySessions::default())
        }

        async fn pass(&self, time: Duration) {
            tokio::time::sleep(time).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_laws_of_sessions() {
        contract::a_handle_has_many_registrations(&Fresh).await;
        contract::only_its_own_token_removes(&Fresh).await;
        contract::each_expires_on_its_own(&Fresh).await;
        contract::get_many_answers_in_order(&Fresh).await;
        contract::a_registration_keeps_its_device(&Fresh).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keeps_the_laws_of_sessions_when_many_call() {
        contract::many_edges_at_once(&Fresh).await;
    }
}
