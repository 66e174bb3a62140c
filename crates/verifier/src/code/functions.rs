//! The functions of a program: where they start, where they may jump (`add_subprogs`,
//! `check_subprogs` of `kernel/bpf/verifier.c`).

use bombus_btf::{Btf, FuncInfo, Kind, Linkage, Type, TypeId};
use bombus_isa::Insn;
use bombus_isa::opcode::{X, call, class, jmp, mode, pseudo, size};

use super::refuse;
use crate::{Privileges, Program, Rejection};

/// Functions of a program at most (`BPF_MAX_SUBPROGS`).
const MAX_FUNCTIONS: usize = 256;
/// Number of the helper `bpf_tail_call`.
pub(super) const TAIL_CALL: i32 = 12;
const CALL: u8 = class::JMP | jmp::CALL;
const EXIT: u8 = class::JMP | jmp::EXIT;
const LOAD_IMM64: u8 = class::LD | mode::IMM | size::DW;

/// A function of the program.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// Its first slot.
    pub start: u32,
    /// The slot after its last.
    pub end: u32,
    /// Its name by the program's types; empty when these say nothing.
    pub name: String,
    /// Its type.
    pub func: Option<TypeId>,
    /// Who can see it.
    pub linkage: Option<Linkage>,
    /// Place in [`Program::lines`] of its first line.
    pub line: Option<usize>,
    /// The slot of its last `exit`; 0 when it has none.
    pub exit: u32,
    /// Whether it is called when an exception is thrown.
    pub is_exception_callback: bool,
    /// Whether it makes tail calls.
    pub has_tail_call: bool,
    /// Whether it loads from the packet by `LD_ABS` or `LD_IND`.
    pub has_packet_load: bool,
    /// Whether it, or what it calls, may change where packets lie.
    pub changes_packet: bool,
    /// Whether it, or what it calls, may sleep.
    pub might_sleep: bool,
    /// Whether it, or what it calls, may throw an exception.
    pub might_throw: bool,
}

impl Function {
    /// Whether it is verified on its own, for any arguments.
    pub fn is_global(&self) -> bool {
        self.linkage == Some(Linkage::Global)
    }

    /// Whether the slot is one of its own.
    pub const fn has(&self, slot: usize) -> bool {
        self.start as usize <= slot && slot < self.end as usize
    }

    /// Its slots.
    pub fn slots(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The function of a call or reference in this slot, as the slot where it starts.
pub(super) fn referred(insns: &[Insn], slot: usize) -> Option<i32> {
    let insn = insns[slot];
    match (insn.code, insn.src.0) {
        (CALL, call::LOCAL) | (LOAD_IMM64, pseudo::FUNC) => {
            Some((slot as i32).wrapping_add(insn.imm).wrapping_add(1))
        }
        _ => None,
    }
}

/// Finds all functions: the entry, what is called or referred to, what catches exceptions.
pub(super) fn discover(
    program: &Program<'_>,
    privileges: Privileges,
) -> Result<Vec<Function>, Rejection> {
    let mut starts = Starts { slots: vec![0], len: program.insns.len() };
    for slot in 0..program.insns.len() {
        let Some(to) = referred(program.insns, slot) else { continue };
        if !privileges.bpf {
            return Err(refuse(1, slot, NOT_FOR_ALL));
        }
        starts.add(to, slot)?;
    }
    let catcher = exception_callback(program)?;
    if let Some(catcher) = catcher {
        starts.add(catcher as i32, None)?;
    }
    let ends = starts.slots[1..].iter().copied().chain([starts.len as u32]);
    let function = |(&start, end)| Function {
        start,
        end,
        is_exception_callback: catcher == Some(start),
        ..Function::default()
    };
    Ok(starts.slots.iter().zip(ends).map(function).collect())
}

/// What those without `CAP_BPF` hear when they call.
pub(super) const NOT_FOR_ALL: &str =
    "loading/calling other bpf or kernel functions are allowed for CAP_BPF and CAP_SYS_ADMIN";

struct Starts {
    /// In order.
    slots: Vec<u32>,
    len: usize,
}

impl Starts {
    fn add(&mut self, to: i32, from: impl Into<Option<usize>>) -> Result<(), Rejection> {
        let from = from.into();
        let to = u32::try_from(to).ok().filter(|&to| (to as usize) < self.len);
        let to = to.ok_or_else(|| Rejection::invalid(from, "call to invalid destination"))?;
        if let Err(place) = self.slots.binary_search(&to) {
            if self.slots.len() >= MAX_FUNCTIONS {
                return Err(refuse(7, from, "too many subprograms"));
            }
            self.slots.insert(place, to);
        }
        Ok(())
    }
}

/// Where the function starts that the entry's declaration tag `exception_callback:NAME` names.
fn exception_callback(program: &Program<'_>) -> Result<Option<u32>, Rejection> {
    let (Some(btf), Some(entry)) = (program.btf, program.functions.first()) else {
        return Ok(None);
    };
    let Some(name) = tag(btf, entry.func, "exception_callback:")? else { return Ok(None) };
    let Some(id) = btf.find(Kind::Func, name) else {
        let message = format!("exception callback '{name}' could not be found in BTF");
        return Err(refuse(2, None, message));
    };
    if !matches!(btf.ty(id), Some(Type::Func { linkage: Linkage::Global, .. })) {
        let message = format!("exception callback '{name}' must have global linkage");
        return Err(Rejection::invalid(None, message));
    }
    let mut found = None;
    for &FuncInfo { insn, .. } in program.functions.iter().filter(|info| info.func == id) {
        if insn == 0 {
            let message = "invalid exception callback insn_off in func_info: 0";
            return Err(Rejection::invalid(None, message));
        }
        found = Some(insn);
    }
    let message = "exception callback type id not found in func_info";
    found.map(Some).ok_or_else(|| Rejection::invalid(None, message))
}

/// What follows `key` in the only declaration tag of a type that starts with it.
fn tag<'a>(btf: &'a Btf, of: TypeId, key: &str) -> Result<Option<&'a str>, Rejection> {
    let mut tags = btf.ids().filter(|&id| btf.kind(id) == Some(Kind::DeclTag)).filter_map(|id| {
        match btf.ty(id)? {
            Type::DeclTag { tag, ty, component: None } if ty == of => tag.strip_prefix(key),
            _ => None,
        }
    });
    let value = tags.next();
    match tags.next() {
        None => Ok(value),
        Some(_) => {
            let message = "multiple exception callback tags for main subprog";
            Err(refuse(17, None, message))
        }
    }
}

/// Checks that jumps stay in their function and that no function runs into the next.
pub(super) fn check_layout(insns: &[Insn], functions: &mut [Function]) -> Result<(), Rejection> {
    for function in functions {
        for slot in function.slots() {
            check_slot(insns[slot], slot, function)?;
        }
        let last = function.end as usize - 1;
        let code = insns[last].code;
        let ends = [EXIT, class::JMP | jmp::JA, class::JMP32 | jmp::JA];
        if !ends.contains(&code) && !is_goto_register(code) {
            return Err(Rejection::invalid(last, "last insn is not an exit or jmp"));
        }
    }
    Ok(())
}

fn check_slot(insn: Insn, slot: usize, function: &mut Function) -> Result<(), Rejection> {
    let class = insn.code & 7;
    if class == class::LD && matches!(insn.code & 0xe0, mode::ABS | mode::IND) {
        function.has_packet_load = true;
    }
    if !matches!(class, class::JMP | class::JMP32) {
        return Ok(());
    }
    match insn.code & 0xf0 {
        jmp::CALL => {
            function.has_tail_call |=
                insn.code == CALL && insn.src.0 == call::HELPER && insn.imm == TAIL_CALL;
        }
        jmp::EXIT => function.exit = slot as u32,
        _ if is_goto_register(insn.code) => {}
        _ => {
            let long = insn.code == class::JMP32 | jmp::JA;
            let distance = if long { insn.imm } else { insn.off.into() };
            let to = (slot as i32).wrapping_add(distance).wrapping_add(1);
            if !usize::try_from(to).is_ok_and(|to| function.has(to)) {
                let message = format!("jump out of range from insn {slot} to {to}");
                return Err(Rejection::invalid(slot, message));
            }
        }
    }
    Ok(())
}

fn is_goto_register(code: u8) -> bool {
    code & (0xf0 | X | 7) == class::JMP | jmp::JA | X
}
