//! How many uploads are in progress: in this process, and of each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use soundoff_common::lock::lock;
use soundoff_common::protocol::Handle;
use soundoff_common::web::http::{Answer, retry_later};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of uploads. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Places {
    room: Arc<Semaphore>,
    uploading: Arc<Mutex<HashMap<Handle, usize>>>,
    per_user: usize,
}

/// A place among the uploads in progress, given back when dropped.
pub(crate) struct Place {
    _room: OwnedSemaphorePermit,
    user: Handle,
    uploading: Arc<Mutex<HashMap<Handle, usize>>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploading = lock(&self.uploading);
        if let Some(count) = uploading.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                uploading.remove(&self.user);
            }
        }
    }
}

impl Places {
    /// At most `all` places in total, and `per_user` for each user.
    pub(crate) fn new(all: usize, per_user: usize) -> Self {
        Self { room: Arc::new(Semaphore::new(all)), uploading: Arc::default(), per_user }
    }

    /// A place for one more upload of a user.
    pub(crate) fn take(&self, user: &Handle) -> Result<Place, Box<Answer>> {
        let full = |status, detail| Err(Box::new(retry_later(status, "overloaded", detail, 2)));
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return full(StatusCode::SERVICE_UNAVAILABLE, "too many uploads are in progress; try again");
        };
        let mut uploading = lock(&self.uploading);
        let count = uploading.get(user).copied().unwrap_or(0);
        if count >= self.per_user {
            return full(StatusCode::TOO_MANY_REQUESTS, "finish your other uploads first");
        }
        uploading.insert(user.clone(), count + 1);
        drop(uploading);
        Ok(Place { _room: room, user: user.clone(), uploading: self.uploading.clone() })
    }
}
