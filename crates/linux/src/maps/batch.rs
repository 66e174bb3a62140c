//! Many elements at one go: `BPF_MAP_*_BATCH` (Linux 5.6) where the type has them, otherwise one by
//! one.

use bombus_kernel::{Result, UpdateFlag};

use super::{Elements, OpenMap};
use crate::sys::{ENOTSUPP, Errno};

/// Room for keys or values of one batch, in bytes.
const BATCH_BYTES: usize = 256 << 10;

impl OpenMap {
    /// All elements.
    pub(crate) fn elements(&self) -> Result<Elements> {
        match self.elements_in_batches() {
            Ok(elements) => Ok(elements),
            // No such command, or not for this type.
            Err(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => self.elements_one_by_one(),
            Err(errno) => Err(self.error("read", errno)),
        }
    }

    fn elements_in_batches(&self) -> std::result::Result<Elements, Errno> {
        let (key_size, value_len) = (self.map.key_size().max(1), self.map.value_len().max(1));
        let mut room = self.fitting().min(self.map.max_entries().max(1) as usize);
        let mut elements = Vec::new();
        let (mut position, mut first) = (Vec::new(), true);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            keys.resize(room * key_size, 0);
            values.resize(room * value_len, 0);
            let before = position.clone();
            match self.map.lookup_batch(&mut position, first, &mut keys, &mut values) {
                Ok(found) => {
                    let keys = keys.chunks_exact(key_size);
                    let values = values.chunks_exact(value_len);
                    let pairs = keys.zip(values).take(found.count);
                    elements.extend(pairs.map(|(key, value)| (key.to_vec(), value.to_vec())));
                    if found.end {
                        return Ok(elements);
                    }
                    first = false;
                }
                // A hash table's bucket is given whole or not at all.
                Err(libc::ENOSPC) if room < self.map.max_entries() as usize => {
                    position = before;
                    room *= 2;
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn elements_one_by_one(&self) -> Result<Elements> {
        let mut elements = Vec::new();
        let mut key = self.next_key(None)?;
        while let Some(current) = key {
            key = self.next_key(Some(&current))?;
            if let Some(value) = self.lookup(&current)? {
                elements.push((current, value));
            }
            // A key that was deleted meanwhile makes the kernel start again from the first.
            if elements.len() > self.map.max_entries() as usize {
                break;
            }
        }
        Ok(elements)
    }

    /// How many elements one batch has room for.
    fn fitting(&self) -> usize {
        (BATCH_BYTES / self.map.key_size().max(self.map.value_len()).max(1)).max(1)
    }

    /// Stores all of them, or fails with the first that cannot be.
    pub(crate) fn update_batch(
        &self,
        elements: &[(Vec<u8>, Vec<u8>)],
        flag: UpdateFlag,
    ) -> Result<usize> {
        let mut rest = elements;
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(self.fitting())];
            let keys: Vec<u8> = batch.iter().flat_map(|(key, _)| key.iter().copied()).collect();
            let values: Vec<u8> = batch.iter().flat_map(|(_, value)| value.clone()).collect();
            // One of another size makes the others look like what they are not.
            let sizes = |(key, value): &(Vec<u8>, Vec<u8>)| {
                key.len() == self.map.key_size() && value.len() == self.map.value_len()
            };
            let (done, outcome) = if batch.iter().all(sizes) {
                self.map.update_batch(&keys, &values, flag as u64)
            } else {
                (0, Err(libc::EINVAL))
            };
            match outcome {
                Ok(()) if done > 0 => {}
                // No such command, or not for this type; or one that fails by itself, too.
                Ok(()) | Err(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => {
                    for (key, value) in rest {
                        self.update(key, value, flag)?;
                    }
                    return Ok(elements.len());
                }
                Err(errno) => return Err(self.error("write to", errno)),
            }
            rest = &rest[done..];
        }
        Ok(elements.len())
    }

    /// Deletes them; how many there were.
    pub(crate) fn delete_batch(&self, keys: &[Vec<u8>]) -> Result<usize> {
        let (mut rest, mut deleted) = (keys, 0);
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(self.fitting())];
            let bytes = batch.concat();
            let (done, outcome) = if batch.iter().all(|key| key.len() == self.map.key_size()) {
                self.map.delete_batch(&bytes)
            } else {
                (0, Err(libc::EINVAL))
            };
            deleted += done;
            match outcome {
                Ok(()) if done > 0 => rest = &rest[done..],
                // It stops at the first that is not there.
                Err(libc::ENOENT) => rest = rest.get(done + 1..).unwrap_or_default(),
                Ok(()) | Err(libc::EINVAL | libc::EOPNOTSUPP | ENOTSUPP) => {
                    for key in rest {
                        deleted += usize::from(self.delete(key)?);
                    }
                    return Ok(deleted);
                }
                Err(errno) => return Err(self.error("delete from", errno)),
            }
        }
        Ok(deleted)
    }
}
