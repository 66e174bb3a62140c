//! What a host shows to machine code.

use std::marker::PhantomData;

use super::environment::{Environment, Pane};
use crate::address::{self, CTX};
use crate::{Context, Execution};

/// Takes memory that a program may use without asking, until the host is used again. An access inside
/// must do exactly what [`Host::memory`](crate::Host::memory) and
/// [`Host::memory_mut`](crate::Host::memory_mut) would let it do.
#[derive(Debug)]
pub struct View<'v, 'a> {
    environment: &'v mut Environment,
    /// Address of the context, and how many bytes of it must be shown.
    wanted: (u64, usize),
    has_subject: bool,
    has_recent: bool,
    has_fields: bool,
    lent: PhantomData<&'a mut [u8]>,
}

impl<'v, 'a> View<'v, 'a> {
    #[inline]
    pub(super) fn new(environment: &'v mut Environment, wanted: (u64, usize)) -> View<'v, 'a> {
        let (has_subject, has_recent, has_fields) = (false, false, false);
        View { environment, wanted, has_subject, has_recent, has_fields, lent: PhantomData }
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
        let (context, len) = self.wanted;
        if len > 0 && address == context && bytes.len() >= len {
            self.environment.fields = bytes.as_ptr().expose_provenance() as u64;
            self.has_fields = true;
        }
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
        self.wanted.1 == 0 || self.has_fields
    }
}

impl Pane {
    #[inline]
    fn hide(&mut self) {
        self.show(0, Context::ReadOnly(&[]));
    }
}
