//! What a host shows to machine code.

use std::marker::PhantomData;

use super::Reach;
use super::environment::{Environment, Place, Wanted, start};
use super::proven::Block;
use super::tables::{Tables, look_up};
use crate::address::{self, CTX};
use crate::{Context, Execution};

/// Takes memory that a program may use without asking, until the host is used again. An access inside
/// must do exactly what [`Host::memory`](crate::Host::memory) and
/// [`Host::memory_mut`](crate::Host::memory_mut) would let it do.
#[derive(Debug)]
pub struct View<'v, 'a> {
    environment: &'v mut Environment,
    wanted: &'v Wanted<'v>,
    has_subject: bool,
    has_recent: bool,
    has_fields: bool,
    has_tables: bool,
    lent: PhantomData<&'a mut [u8]>,
}

impl<'v, 'a> View<'v, 'a> {
    #[inline]
    pub(super) fn new(environment: &'v mut Environment, wanted: &'v Wanted<'v>) -> View<'v, 'a> {
        View {
            environment,
            wanted,
            has_subject: false,
            has_recent: false,
            has_fields: false,
            has_tables: false,
            lent: PhantomData,
        }
    }

    /// Shows what the program is about, at its guest address; when nothing is shown it is the
    /// context.
    #[inline]
    pub fn subject(&mut self, address: u64, bytes: Context<'a>) {
        self.environment.distance = start(&bytes).wrapping_sub(address);
        if self.wanted.reach.windows.subject {
            self.environment.subject.show(address, bytes);
        }
        self.has_subject = true;
    }

    /// Shows what is at the address that a helper just gave, or that was just asked for.
    #[inline]
    pub fn recent(&mut self, address: u64, bytes: Context<'a>) {
        self.environment.recent.show(address, bytes);
        self.has_recent = true;
    }

    /// Shows the context, for reads that the compiler was told of.
    #[inline]
    pub fn fields(&mut self, address: u64, bytes: &'a [u8]) {
        let Wanted { context, reach, .. } = *self.wanted;
        if reach.fields > 0 && address == context && bytes.len() >= reach.fields {
            self.environment.fields = bytes.as_ptr().expose_provenance() as u64;
            self.has_fields = true;
        }
    }

    /// Shows the tables, for look-ups that the compiler was told of, and the element at the address
    /// that a helper just gave, or that was just asked for.
    #[inline]
    pub fn tables<T: Tables>(&mut self, recent: u64, tables: &'a mut T) {
        // The element stays what it is until somebody uses the tables again: that is `look_up`, which
        // shows another, or the host, which is asked anew.
        if self.wanted.reach.windows.recent
            && let Some((address, bytes)) = tables.around(recent)
        {
            self.environment.recent.show(address, bytes);
            self.has_recent = true;
        }
        let mut has_blocks = true;
        for (place, reached) in self.environment.blocks.iter_mut().zip(&self.wanted.reach.blocks) {
            // Of others there is nothing to reach before a look-up, which says where it is.
            if !reached.is_array && !self.wanted.has_elements {
                continue;
            }
            match tables.block(reached.table) {
                Some(Block { first, address, memory }) => {
                    let distance = (memory.expose_provenance() as u64).wrapping_sub(address);
                    *place = Place { first, distance };
                }
                None => has_blocks = false,
            }
        }
        self.environment.tables = std::ptr::from_mut(tables).cast();
        self.environment.look_up = look_up::<T> as *const () as u64;
        self.has_tables = has_blocks;
    }

    /// Shows the tables of the run before, whose elements have stayed where they were
    /// ([`Host::show_subject`](crate::Host::show_subject)).
    #[inline]
    pub fn same_tables<T: Tables>(&mut self, tables: &'a mut T) {
        self.environment.tables = std::ptr::from_mut(tables).cast();
        self.environment.look_up = look_up::<T> as *const () as u64;
        self.has_tables = true;
    }

    /// Hides what was shown before and is not now; false: the code cannot run without.
    #[inline]
    pub(super) fn finish(self, execution: &mut Execution<'_>) -> bool {
        let Reach { fields, tables, windows, subject, ref blocks, .. } = *self.wanted.reach;
        if windows.subject && !self.has_subject {
            self.environment.subject.show(address::pack(CTX, 0), execution.context());
        }
        if windows.recent && !self.has_recent {
            self.environment.recent.hide();
        }
        let reaches_tables = tables || !blocks.is_empty();
        (fields == 0 || self.has_fields)
            && (!subject || self.has_subject)
            && (!reaches_tables || self.has_tables)
    }
}
