//! The jumps on a path, and what instructions did that going back along it must know
//! (`struct bpf_jmp_history_entry`).

/// Registers and stack slots that are told apart at most.
const MAX_LINKS: usize = 5;

/// A register or stack slot of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    /// The frame.
    pub frame: u8,
    /// The register, or the stack slot.
    pub place: u8,
    /// Whether it is a register.
    pub is_register: bool,
}

/// Registers and slots whose numbers depend on each other (`struct linked_regs`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Links {
    len: u8,
    items: [Link; MAX_LINKS],
}

impl Links {
    /// One more; false when there is no room.
    pub(crate) fn push(&mut self, link: Link) -> bool {
        let Some(item) = self.items.get_mut(usize::from(self.len)) else { return false };
        *item = link;
        self.len += 1;
        true
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Link> + use<> {
        self.items.into_iter().take(self.len.into())
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.len.into()
    }
}

/// What an instruction did with the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Touch {
    /// It stored to, or loaded from, this slot of this frame: frame, slot.
    pub stack: Option<(u8, u8)>,
    /// Its destination register points to the stack.
    pub dst_is_stack: bool,
    /// Its source register points to the stack.
    pub src_is_stack: bool,
}

/// An instruction that is not just the one after the one before it, or that did something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Jump {
    /// Its slot.
    pub slot: u32,
    /// The slot before it on the path, or -1.
    pub previous: i32,
    /// What it did with the stack.
    pub touch: Touch,
    /// What depends on each other after it.
    pub links: Links,
}
