//! What is attached.

use std::fmt;
use std::path::Path;

use bombus_kernel::{LinkFd, Object};

use crate::{Error, Host, Map, Program, Result};

/// Programs at work. Dropping it detaches them.
///
/// It does not need the [`crate::Loaded`] that its programs came from: it keeps them itself, and
/// they keep their maps.
#[must_use = "the program is detached when this is dropped"]
pub struct Link<'k> {
    kernel: &'k dyn Host,
    fds: Vec<LinkFd>,
}

impl<'k> Link<'k> {
    pub(crate) fn new(kernel: &'k dyn Host, fds: Vec<LinkFd>) -> Link<'k> {
        Link { kernel, fds }
    }

    /// What is attached and was pinned there. Dropping this does not detach it while the pin is
    /// there.
    pub fn pinned(kernel: &'k dyn Host, path: impl AsRef<Path>) -> Result<Link<'k>> {
        Ok(Link::new(kernel, vec![kernel.pinned_link(path.as_ref())?]))
    }

    /// The handles, one for each place that a program is attached to.
    pub fn fds(&self) -> &[LinkFd] {
        &self.fds
    }

    /// Detaches now, and says what went wrong.
    pub fn detach(mut self) -> Result<()> {
        let fds = std::mem::take(&mut self.fds);
        let mut outcome = Ok(());
        for fd in fds {
            let detached = self.kernel.detach(fd);
            outcome = outcome.and(detached);
        }
        Ok(outcome?)
    }

    /// Leaves it attached until the kernel is dropped, or the process ends.
    pub fn forget(mut self) {
        self.fds.clear();
    }

    /// Gives it a name in a BPF file system, so that it stays attached when the process ends, until
    /// the name is removed.
    pub fn pin(self, path: impl AsRef<Path>) -> Result<()> {
        let [fd] = self.fds[..] else {
            return Err(Error::mismatch(format!(
                "{} attachments cannot have one name",
                self.fds.len()
            )));
        };
        self.kernel.pin(Object::Link(fd), path.as_ref())?;
        // The pin holds it; this handle would detach it.
        self.forget();
        Ok(())
    }

    /// Puts another program in its place, without a gap.
    pub fn update(&self, program: &Program<'_>) -> Result<()> {
        self.fds.iter().try_for_each(|&fd| Ok(self.kernel.link_update(fd, program.fd())?))
    }

    /// Puts another structure of kernel callbacks in its place.
    pub fn update_structure(&self, map: &Map<'_>) -> Result<()> {
        self.fds.iter().try_for_each(|&fd| Ok(self.kernel.link_update_map(fd, map.fd())?))
    }

    /// What an iterator has to say, from the start to the end.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        for &fd in &self.fds {
            text.extend(self.kernel.iterate(fd)?);
        }
        Ok(text)
    }
}

impl Drop for Link<'_> {
    fn drop(&mut self) {
        // What cannot be detached is detached with the kernel.
        self.fds.drain(..).for_each(|fd| drop(self.kernel.detach(fd)));
    }
}

impl fmt::Debug for Link<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.fds).finish()
    }
}
