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
    shown: Parts,
    lent: PhantomData<&'a mut [u8]>,
}

impl<'v, 'a> View<'v, 'a> {
    #[inline]
    pub(super) fn new(environment: &'v mut Environment, wanted: &'v Wanted<'v>) -> View<'v, 'a> {
        View { environment, wanted, shown: Parts::default(), lent: PhantomData }
    }

    /// Shows what the program is about, at its guest address; when nothing is shown it is the
    /// context.
    #[inline]
    pub fn subject(&mut self, address: u64, bytes: Context<'a>) {
        self.environment.distance = start(&bytes).wrapping_sub(address);
        if self.wanted.reach.windows.subject {
            self.environment.subject.show(address, bytes);
        }
        self.shown.0 |= Parts::SUBJECT;
    }

    /// Shows what is at the address that a helper just gave, or that was just asked for.
    #[inline]
    pub fn recent(&mut self, address: u64, bytes: Context<'a>) {
        self.environment.recent.show(address, bytes);
        self.shown.0 |= Parts::RECENT;
    }

    /// Shows the context, for reads that the compiler was told of.
    #[inline]
    pub fn fields(&mut self, address: u64, bytes: &'a [u8]) {
        let Wanted { context, reach, .. } = *self.wanted;
        if address == context && bytes.len() >= reach.fields {
            self.environment.fields = bytes.as_ptr().expose_provenance() as u64;
            self.shown.0 |= Parts::FIELDS;
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
            self.shown.0 |= Parts::RECENT;
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
        self.look_ups(tables);
        if has_blocks {
            self.shown.0 |= Parts::TABLES;
        }
    }

    /// Shows the tables of the run before, whose elements have stayed where they were
    /// ([`Host::show_subject`](crate::Host::show_subject)).
    #[inline]
    pub fn same_tables<T: Tables>(&mut self, tables: &'a mut T) {
        self.look_ups(tables);
        self.shown.0 |= Parts::TABLES;
    }

    /// Has look-ups be made in these tables.
    #[inline]
    fn look_ups<T: Tables>(&mut self, tables: &'a mut T) {
        self.environment.tables = std::ptr::from_mut(tables).cast();
        let look_up = match self.wanted.reach.windows.recent {
            true => look_up::<T, true> as *const (),
            false => look_up::<T, false> as *const (),
        };
        self.environment.look_up = look_up as u64;
    }

    /// Hides what was shown before and is not now; false: the code cannot run without.
    #[inline]
    pub(super) fn finish(self, execution: &mut Execution<'_>) -> bool {
        let Reach { windows, needs, .. } = *self.wanted.reach;
        if windows.subject && !self.shown.has(Parts::SUBJECT) {
            self.environment.subject.show(address::pack(CTX, 0), execution.context());
        }
        if windows.recent && !self.shown.has(Parts::RECENT) {
            self.environment.recent.hide();
        }
        self.shown.has(needs.0)
    }
}

/// What there is to show, a bit each.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Parts(u8);

impl Parts {
    const SUBJECT: u8 = 1;
    const FIELDS: u8 = 2;
    const TABLES: u8 = 4;
    const RECENT: u8 = 8;

    /// What code cannot do without.
    pub(crate) fn needed(reach: &Reach) -> Parts {
        let tables = reach.tables || !reach.blocks.is_empty();
        let part = |part, is_needed| if is_needed { part } else { 0 };
        Parts(
            part(Parts::SUBJECT, reach.subject)
                | part(Parts::FIELDS, reach.fields > 0)
                | part(Parts::TABLES, tables),
        )
    }

    /// Whether all of these are there.
    #[inline]
    fn has(self, parts: u8) -> bool {
        parts & !self.0 == 0
    }
}
