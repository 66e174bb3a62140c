//! Look-ups that machine code makes by itself, in tables that the program names.

use std::ffi::c_void;

use super::environment::{Environment, start};
use super::proven::Block;
use crate::Context;

/// Tables whose elements are found by keys.
pub trait Tables {
    /// The element that has a key in a table: its guest address, and its memory. The key has as many
    /// bytes as [`Lookup::key`] said.
    fn look_up(&mut self, table: usize, key: &[u8]) -> Option<(u64, Context<'_>)>;

    /// The element that a guest address is in: where it starts, and its memory.
    fn around(&mut self, address: u64) -> Option<(u64, Context<'_>)>;

    /// Where the elements of a table are, if they have a [`Layout`](super::Layout). They stay there
    /// until somebody else than [`Tables::look_up`] uses the tables.
    fn block(&mut self, table: usize) -> Option<Block> {
        let _ = table;
        None
    }
}

/// What a call of a helper does that is a look-up: what [`Tables::look_up`] gives is its value, or 0,
/// and nothing else happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// The table.
    pub table: usize,
    /// Bytes of its keys, which `r2` points to.
    pub key: usize,
}

/// Looks up a key, and shows the element: through a window, if the code looks through that one, and in
/// its table if that is one of the blocks.
///
/// # Safety
///
/// The environment must be that of a run whose code is waiting, its tables of this type, and there
/// must be so many bytes at `key`.
pub(super) unsafe extern "C" fn look_up<T: Tables, const WINDOW: bool>(
    environment: *mut Environment,
    table: usize,
    key: *const u8,
    len: usize,
    block: usize,
) -> u64 {
    // SAFETY: the caller's: while the code waits nobody else has the environment, and nobody uses
    // the tables, which the host has lent, or the frame that the key is in.
    let (environment, tables, key) = unsafe {
        let environment = &mut *environment;
        let tables: *mut c_void = environment.tables;
        (environment, &mut *tables.cast::<T>(), std::slice::from_raw_parts(key, len))
    };
    match tables.look_up(table, key) {
        Some((address, bytes)) => {
            if let Some(place) = environment.blocks.get_mut(block) {
                place.distance = start(&bytes).wrapping_sub(address);
            }
            if WINDOW {
                environment.recent.show(address, bytes);
            }
            address
        }
        None => {
            if WINDOW {
                environment.recent.hide();
            }
            0
        }
    }
}
