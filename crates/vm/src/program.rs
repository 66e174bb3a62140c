//! Programs, decoded and structurally sound.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use bombus_isa::opcode::{class, jmp, mode};
use bombus_isa::{Imm64, Insn, Op};

use crate::jit::guarded::{GuardedCode, Guests};
use crate::names::{Arena, Names};
use crate::{address, validate};

/// A program that can run: every instruction decoded, every `ld_imm64` a number or one of the
/// program's functions, every jump inside its function.
#[derive(Clone, Debug)]
pub struct Program {
    ops: Box<[Op]>,
    /// Entry slots of the functions, sorted; the first is 0.
    functions: Box<[u32]>,
    /// What each of them uses.
    uses: Box<[Uses]>,
    /// By slot, where `gotox` may go; empty when there is none.
    places: Box<[bool]>,
    arena: Option<Arena>,
    /// Guarded machine code, if it was asked for; inside: if there can be some.
    code: OnceCell<Option<Rc<GuardedCode>>>,
    id: u32,
}

/// What a function uses.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Uses {
    /// Registers, a bit each; now and then one too many, for this is only a look at the fields.
    pub(crate) registers: u16,
    /// It calls something: a load from the packet is a call, too.
    pub(crate) calls: bool,
    /// It has `may_goto`.
    pub(crate) loops: bool,
}

/// Whether it is a legacy packet load.
const fn is_packet_load(code: u8) -> bool {
    code & 7 == class::LD && matches!(code & 0xe0, mode::ABS | mode::IND)
}

impl Uses {
    fn of(insns: &[Insn]) -> Uses {
        const CALL: u8 = class::JMP | jmp::CALL;
        const MAY_GOTO: u8 = class::JMP | jmp::JCOND;
        insns.iter().fold(Uses::default(), |uses, insn| Uses {
            registers: uses.registers | 1 << (insn.dst.0 & 15) | 1 << (insn.src.0 & 15),
            calls: uses.calls | (insn.code == CALL) | is_packet_load(insn.code),
            loops: uses.loops | (insn.code == MAY_GOTO),
        })
    }
}

/// The slot that an instruction means which names it by its distance: counted from the next one.
/// Validation has seen that it is there.
#[inline]
pub(crate) fn target(slot: usize, distance: impl Into<i64>) -> usize {
    (slot as i64 + 1 + distance.into()) as usize
}

/// Why a program cannot be run. The text reads as the kernel verifier's log does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidProgram {
    /// Slot of the instruction that is at fault.
    pub pc: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for InvalidProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "insn {}: {}", self.pc, self.reason)
    }
}

impl std::error::Error for InvalidProgram {}

impl Program {
    /// Decodes and checks a program. `id` comes back in traps. `resolve` says what a `ld_imm64`
    /// that names something of the host loads; it is not asked about plain numbers and functions.
    pub fn new(
        insns: &[Insn],
        id: u32,
        resolve: &mut dyn FnMut(Imm64) -> Option<u64>,
    ) -> Result<Rc<Program>, InvalidProgram> {
        Program::linked(insns, id, &mut |imm| resolve(imm))
    }

    /// The same, with everything that a program can name.
    pub fn linked(
        insns: &[Insn],
        id: u32,
        names: &mut dyn Names,
    ) -> Result<Rc<Program>, InvalidProgram> {
        let (ops, arena) = validate::decode(insns, names)?;
        let functions = validate::check(&ops)?;
        let ends = functions.iter().skip(1).map(|&next| next as usize).chain([insns.len()]);
        let uses =
            functions.iter().zip(ends).map(|(&entry, end)| Uses::of(&insns[entry as usize..end]));
        let uses = uses.collect();
        Ok(Rc::new(Program {
            places: validate::places(&ops),
            arena,
            ops: ops.into(),
            functions: functions.into(),
            uses,
            code: OnceCell::new(),
            id,
        }))
    }

    /// Has [`Execution`](crate::Execution) run this program in guarded machine code from now on, where
    /// it is given what the code is made for; false: there is none, and it stays with the interpreter.
    /// Nothing else changes. Only the first call counts.
    pub fn compile(&self, guests: &Guests<'_>) -> bool {
        let code = || GuardedCode::compile(self, guests).ok().map(Rc::new);
        self.code.get_or_init(code).is_some()
    }

    /// Its guarded machine code.
    #[inline]
    pub(crate) fn code(&self) -> Option<&GuardedCode> {
        self.code.get()?.as_deref()
    }

    /// The number it was made with.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// One instruction a slot; second slots of `ld_imm64` hold a copy of the first, and nothing
    /// jumps there.
    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Entry slots of the functions, sorted; the first is 0.
    pub(crate) fn functions(&self) -> &[u32] {
        &self.functions
    }

    /// What each of them uses.
    pub(crate) fn uses(&self) -> &[Uses] {
        &self.uses
    }

    /// The arena that its addresses are cast for.
    #[inline]
    pub(crate) fn arena(&self) -> Option<Arena> {
        self.arena
    }

    /// The slot that `gotox` goes to from a function, when its register holds a place of that
    /// function.
    pub(crate) fn place_at(&self, entry: usize, value: u64) -> Option<usize> {
        let slot = usize::try_from(address::offset(value)).ok()?;
        let is_place = address::region(value) == address::CODE && *self.places.get(slot)?;
        let after = self.functions.partition_point(|&function| function as usize <= entry);
        let end = self.functions.get(after).map_or(self.ops.len(), |&next| next as usize);
        (is_place && (entry..end).contains(&slot)).then_some(slot)
    }

    /// The guest address of the function that a `ld_imm64` in slot `pc` means.
    #[inline]
    pub(crate) fn function_address(pc: usize, distance: i32) -> u64 {
        address::pack(address::CODE, target(pc, distance) as u64)
    }

    /// The entry slot that a function's guest address stands for.
    pub(crate) fn function_at(&self, value: u64) -> Option<usize> {
        let pc = address::offset(value);
        let entry = u32::try_from(pc).ok()?;
        let known = self.functions.binary_search(&entry).is_ok();
        (address::region(value) == address::CODE && known).then_some(pc as usize)
    }
}
