//! What a translated program consists of.

/// A translated program.
#[derive(Debug)]
pub(super) struct Steps {
    /// Never empty. Execution cannot run off its end: every function ends in an exit or a jump.
    steps: Box<[Step]>,
}

impl Steps {
    pub(super) fn new(steps: Vec<Step>) -> Steps {
        Steps { steps: steps.into() }
    }

    pub(super) fn first(&self) -> *const Step {
        self.steps.as_ptr()
    }
}

/// What the interpreter looks at when it performs an instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Step {
    /// What to do.
    pub code: u16,
    /// What it does it with.
    pub fields: Fields,
}

/// The operands of an instruction.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
pub(super) struct Fields {
    /// Number of a register; below [`REGISTERS`].
    pub dst: u8,
    /// Number of a register, or [`NO_REGISTER`].
    pub src: u8,
    /// Of jumps and calls, bytes from this step to the next one; of loads and stores, bytes added to
    /// the address.
    pub off: i32,
    /// The immediate, extended to 64 bits.
    pub imm: i64,
}

const _: () = assert!(size_of::<Step>() == 16);

/// Registers there is room for. Programs have eleven.
pub(super) const REGISTERS: usize = 16;

/// Stands where an instruction has no second register. Nothing writes it.
pub(super) const NO_REGISTER: u8 = 15;

/// The registers of a program. Numbers are not checked: `translate` writes none that is too big.
#[derive(Debug)]
pub(super) struct Registers(pub [u64; REGISTERS]);

impl Registers {
    #[inline(always)]
    pub(super) fn get(&self, number: u8) -> u64 {
        debug_assert!(usize::from(number) < REGISTERS);
        // SAFETY: numbers come from `Fields`, which hold none of `REGISTERS` or more.
        unsafe { *self.0.get_unchecked(usize::from(number)) }
    }

    #[inline(always)]
    pub(super) fn set(&mut self, number: u8, value: u64) {
        debug_assert!(usize::from(number) < REGISTERS);
        // SAFETY: as `get`.
        unsafe { *self.0.get_unchecked_mut(usize::from(number)) = value }
    }
}

/// Numbers of the instructions that the table ([`super::instruction`]) does not have.
pub(super) mod number {
    use crate::fast::instruction::END;

    /// `r0` = the function in `imm`, called.
    pub(in crate::fast) const HELPER: u16 = END;
    /// Going on as the program that the function in `imm` finds.
    pub(in crate::fast) const TAIL_CALL: u16 = END + 1;
    /// `r0` = the address of an array's element, whose index stands at `r2`; `imm` is the first
    /// one's. The next step holds the number of elements in `off`, the distance between two in `imm`.
    pub(in crate::fast) const ELEMENT: u16 = END + 2;
    /// What belongs to the step before; never performed.
    pub(in crate::fast) const MORE: u16 = END + 3;
    /// A call of a function of the program.
    pub(in crate::fast) const CALL: u16 = END + 4;
    /// Return.
    pub(in crate::fast) const EXIT: u16 = END + 5;
    /// A jump when the function's loop budget is spent.
    pub(in crate::fast) const MAY_GOTO: u16 = END + 6;
    /// An atomic operation; `imm` says which.
    pub(in crate::fast) const ATOMIC: u16 = END + 7;
    /// `r0` = a number of the packet, by the function in `imm`: `dst` bytes at `off` and what is in
    /// `src`.
    pub(in crate::fast) const LOAD_PACKET: u16 = END + 8;
    /// Numbers from here on are those of pairs.
    pub(in crate::fast) const FIRST_PAIR: u16 = END + 9;
}
