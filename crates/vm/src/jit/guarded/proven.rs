//! What guarded code need not check, because somebody has proved it.

/// What is known of an instruction before it is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// It is never run.
    Unreached,
    /// What it accesses is in an open frame.
    Frame,
    /// What it reads is in what the program is about ([`View::subject`](super::View::subject)).
    Subject,
    /// What it accesses is in an element of this table, and it may be accessed that way.
    Element(usize),
    /// The same of one of these tables, a bit each: some of the first 64.
    Elements(u64),
}

/// A table whose elements lie in memory as in guest addresses, so that what is between the two is the
/// same for all: [`Tables::block`](super::Tables::block) shows them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The region that all guest addresses of elements are in.
    pub region: u32,
    /// When it is an array: how many elements it has, and how far they are from each other for whoever
    /// runs the program.
    pub array: Option<(u32, u64)>,
}

/// All elements of a table.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The guest address of the first element of an array that this run sees.
    pub first: u64,
    /// Some guest address of the table's, and where that is.
    pub address: u64,
    /// See there.
    pub memory: *mut u8,
}

/// Facts about a program that hold whenever it runs.
#[derive(Clone, Copy)]
pub struct Proven<'a> {
    pub(crate) known: &'a dyn Fn(usize) -> Known,
    pub(crate) layout: &'a dyn Fn(usize) -> Option<Layout>,
}

impl<'a> Proven<'a> {
    /// What is known of the instruction in a slot; how the tables lie that the code may reach without
    /// asking.
    ///
    /// # Safety
    ///
    /// Each must be true of every run of the program that is compiled with them, whoever its host is:
    /// what is said of instructions, and that [`Tables::block`](super::Tables::block) gives the memory
    /// of all elements of a table that has a layout, which stay there when the host is asked to
    /// [show its subject](crate::Host::show_subject).
    #[expect(unsafe_code, reason = "the code that is made of it checks nothing")]
    pub unsafe fn new(
        known: &'a dyn Fn(usize) -> Known,
        layout: &'a dyn Fn(usize) -> Option<Layout>,
    ) -> Proven<'a> {
        Proven { known, layout }
    }
}
