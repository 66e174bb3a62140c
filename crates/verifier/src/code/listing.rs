//! Instructions and functions as the kernel's log writes them (`bpf_verbose_insn`, `fmt_subprog`).

use bombus_isa::{Imm64, Operand, Resolve};
use bombus_platform::HelperNames;

use super::Instruction;
use super::calls::Calls;
use super::stack::Given;

/// Spaces between an instruction that takes `len` columns and what the log says after it
/// (`bpf_vlog_alignment`).
pub(super) fn alignment(len: usize) -> usize {
    const MIN: usize = 8;
    const COLUMN: usize = 40;
    (len + MIN / 2).max(COLUMN).next_multiple_of(MIN) - len - 1
}

/// Writes what a program has.
#[derive(Clone, Copy)]
pub(super) struct Listing<'a>(pub(super) &'a Given<'a>);

struct Names<'a>(&'a Calls);

impl Resolve for Names<'_> {
    fn helper(&self, id: i32) -> Option<&str> {
        HelperNames.helper(id)
    }

    fn kfunc(&self, id: i32, btf: i16) -> Option<&str> {
        self.0.name(id, btf)
    }

    /// The kernel has put addresses in place of what was named.
    fn imm64(&self, imm: Imm64) -> Option<String> {
        match imm {
            Imm64::Value(_) => None,
            Imm64::Func(off) => Some(format!("{:#x}", off as u32)),
            _ => Some("0x0".to_owned()),
        }
    }
}

impl Listing<'_> {
    /// The instruction in a slot, with its opcode.
    pub(super) fn text(&self, slot: usize) -> String {
        let Given { insns, instructions, calls, .. } = *self.0;
        let insn = insns[slot];
        let text = match instructions[slot] {
            Instruction::Op(op) => op.display(&Names(calls)).to_string(),
            Instruction::GotoRegister { dst } => format!("gotox {dst}"),
            Instruction::LoadArgument { dst, off } => format!("{dst} = *(u64 *)(r11 {off:+})"),
            Instruction::StoreArgument { off, src: Operand::Reg(src) } => {
                format!("*(u64 *)(r11 {off:+}) = {src}")
            }
            Instruction::StoreArgument { off, src: Operand::Imm(value) } => {
                format!("*(u64 *)(r11 {off:+}) = {value}")
            }
            Instruction::InvalidAtomic => return format!("BUG_{:02x}", insn.code),
            Instruction::Second => String::new(),
        };
        format!("({:02x}) {text}", insn.code)
    }

    /// A function by its place and name.
    pub(super) fn function(&self, index: usize) -> String {
        match self.0.functions[index].name.as_str() {
            "" => format!("subprog#{index}"),
            name => format!("subprog#{index} {name}"),
        }
    }

    /// The slots of a function at which instructions start.
    pub(super) fn slots(&self, function: usize) -> impl Iterator<Item = usize> {
        let instructions = self.0.instructions;
        self.0.functions[function].slots().filter(|&slot| instructions[slot] != Instruction::Second)
    }

    /// Which registers are live before each instruction, and which loop it is in.
    pub(super) fn live(&self, components: &[u32], live: &[u16]) -> String {
        let mut text = String::from("Live regs before insn:\n");
        for slot in (0..self.0.functions.len()).flat_map(|function| self.slots(function)) {
            text += &match components[slot] {
                0 => "    ".to_owned(),
                component => format!("{component:3} "),
            };
            let shown = |register: u16| match live[slot] >> register & 1 {
                0 => '.',
                _ => char::from(b'0' + register as u8),
            };
            let registers: String = (0..10).map(shown).collect();
            text += &format!("{slot:3}: {registers} {}\n", self.text(slot));
        }
        text
    }
}
