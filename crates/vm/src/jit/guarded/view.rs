//! What a host shows to machine code.

use std::marker::PhantomData;

use super::environment::{Environment, Pane, Wanted};
use super::tables::{Tables, look_up};
use crate::address::{self, CTX};
use crate::{Context, Execution};

/// Takes memory that a program may use without asking, until the host is used again. An access inside
/// must do exactly what [`Host::memory`](crate::Host::memory) and
/// [`Host::memory_mut`](crate::Host::memory_mut) would let it do.
#[derive(Debug)]
pub struct View<'v, 'a> {
    environment: &'v mut Environment,
    wanted: &'v Wanted,
    has_subject: bool,
    has_recent: bool,
    has_fields: bool,
    has_tables: bool,
    lent: PhantomData<&'a mut [u8]>,
}

impl<'v, 'a> View<'v, 'a> {
    #[inline]
    pub(super) fn new(environment: &'v mut Environment, wanted: &'v Wanted) -> View<'v, 'a> {
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
        self.environment.subject.show(address, bytes);
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
        let Wanted { context, fields, .. } = *self.wanted;
        if fields > 0 && address == context && bytes.len() >= fields {
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
        if let Some((address, bytes)) = tables.around(recent) {
            self.environment.recent.show(address, bytes);
            self.has_recent = true;
        }
        self.environment.tables = std::ptr::from_mut(tables).cast();
        self.environment.look_up = look_up::<T> as *const () as u64;
        self.has_tables = true;
    }

    /// Hides what was shown before and is not now; false: the code cannot run without.
    #[inline]
    pub(super) fn finish(self, execution: &mut Execution<'_>) -> bool {
        if !self.has_subject {
            self.environment.subject.show(address::pack(CTX, 0), execution.context());
        }
        if !self.has_recent {
            self.environment.recent.hide();
        }
        let Wanted { fields, tables, .. } = *self.wanted;
        (fields == 0 || self.has_fields) && (!tables || self.has_tables)
    }
}

impl Pane {
    #[inline]
    pub(super) fn hide(&mut self) {
        self.show(0, Context::ReadOnly(&[]));
    }
}
