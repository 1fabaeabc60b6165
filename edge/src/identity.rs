//! Who uses a socket.

use soundoff_common::ports::sessions::DeviceMark;
use soundoff_common::protocol::Handle;

/// Who uses the socket, known from a valid `hello` on.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) user: Handle,
    pub(crate) device: Option<Box<str>>,
}

impl Identity {
    /// Whether both are one device of one user.
    pub(crate) fn is_device_of(&self, other: &Identity) -> bool {
        self.user == other.user && self.device.is_some() && self.device == other.device
    }

    /// What stands for the device's name where other edges read it.
    pub(crate) fn mark(&self) -> Option<DeviceMark> {
        self.device.as_deref().map(DeviceMark::of)
    }
}
