//! From classic to extended BPF (what `bpf_convert_filter`, `net/core/filter.c`, means).
//!
//! The kernel keeps the old packet loads as instructions that do everything by themselves. Here a
//! load is a comparison with the packet's end and a plain load, which every engine has and every
//! verifier can follow.

use std::fmt;

use bombus_isa::{AluOp, Cond, Insn, Reg, Size, opcode};
use opcode::{X, alu, class, jmp};

use crate::op::Op;
use crate::{Extension, Filter};

/// How the program that comes out is given the packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PacketAccess {
    /// As memory: `r1` is its address, `r2` how many bytes there are, `r3` how long the packet was
    /// on the wire. The program calls no helper.
    Memory {
        /// Where the network layer's header starts, for loads that count from there.
        network_header: u32,
    },
    /// As `struct __sk_buff`, for a traffic control classifier. Bytes that are not in the linear
    /// part are fetched by helper.
    SocketBuffer,
}

/// Why a valid filter cannot be converted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConvertError {
    /// It asks for something that nobody knows about such a packet.
    NotThere {
        /// The instruction, from 0.
        at: usize,
        /// What it asks for.
        extension: Extension,
    },
    /// A jump would be longer than instructions can say.
    TooLong,
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConvertError::NotThere { at, extension } => {
                let name = extension.name();
                write!(f, "instruction {at}: a packet in memory has no '{name}' (extension)")
            }
            ConvertError::TooLong => write!(f, "the filter has too many loads"),
        }
    }
}

impl std::error::Error for ConvertError {}

/// Loads from here on count from the network layer's header, and from the link layer's
/// (`SKF_NET_OFF`, `SKF_LL_OFF`, `include/uapi/linux/filter.h`).
const NET_OFF: i32 = -0x10_0000;
const LL_OFF: i32 = -0x20_0000;

/// Largest offset that the kernel's verifier follows (`MAX_PACKET_OFF`).
const MAX_PACKET_OFF: u32 = 0xffff;

/// For an instruction that no other leads to.
const UNREACHED: u32 = u32::MAX;

/// Where the context is kept; below scratch memory.
const CTX_SLOT: i16 = -72;

/// Fields of `struct __sk_buff`.
mod skb {
    pub(super) const LEN: i16 = 0;
    pub(super) const PKT_TYPE: i16 = 4;
    pub(super) const MARK: i16 = 8;
    pub(super) const QUEUE_MAPPING: i16 = 12;
    pub(super) const PROTOCOL: i16 = 16;
    pub(super) const VLAN_PRESENT: i16 = 20;
    pub(super) const VLAN_TCI: i16 = 24;
    pub(super) const VLAN_PROTO: i16 = 28;
    pub(super) const IFINDEX: i16 = 40;
    pub(super) const HASH: i16 = 68;
    pub(super) const DATA: i16 = 76;
    pub(super) const DATA_END: i16 = 80;
}

/// Helpers by number.
mod helper {
    pub(super) const GET_PRANDOM_U32: i32 = 7;
    pub(super) const GET_SMP_PROCESSOR_ID: i32 = 8;
    pub(super) const SKB_LOAD_BYTES: i32 = 26;
    pub(super) const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
}

/// Who is who. A program over memory calls nothing, so it needs no register that it has to save.
struct Registers {
    a: Reg,
    x: Reg,
    data: Reg,
    end: Reg,
    tmp: Reg,
}

const IN_MEMORY: Registers =
    Registers { a: Reg::R0, x: Reg::R5, data: Reg::R1, end: Reg::R2, tmp: Reg::R4 };
const IN_BUFFER: Registers =
    Registers { a: Reg::R6, x: Reg::R7, data: Reg::R8, end: Reg::R9, tmp: Reg::R2 };
/// The length on the wire.
const WIRE_LEN: Reg = Reg::R3;

/// Where a jump goes.
#[derive(Clone, Copy)]
enum Target {
    /// A classic instruction.
    Classic(usize),
    /// The end of a load, by its detour.
    AfterLoad(usize),
    /// A detour.
    Detour(usize),
    /// Verdict 0.
    Reject,
    /// The function that loads by helper.
    Loader,
}

/// The way of a load that the quick way is not for.
struct Detour {
    /// Offset, when it is a constant; else it is in `tmp`.
    offset: Option<u32>,
    size: Size,
    to: Reg,
    /// Slot after the quick way.
    after: usize,
    /// Slot where the quick way begins once the offset is in `tmp`.
    again: usize,
    /// First slot of the detour.
    start: usize,
}

struct Converter {
    access: PacketAccess,
    regs: Registers,
    insns: Vec<Insn>,
    jumps: Vec<(usize, Target)>,
    /// First slot of each classic instruction.
    starts: Vec<usize>,
    detours: Vec<Detour>,
    /// Bytes that the packet has for certain, before each classic instruction.
    known: Vec<u32>,
}

impl Filter {
    /// Converts the filter. What comes out is given the packet as `access` says and gives the
    /// verdict, the number of bytes to keep: 0 drops the packet.
    pub fn convert(&self, access: PacketAccess) -> Result<Vec<Insn>, ConvertError> {
        let regs = match access {
            PacketAccess::Memory { .. } => IN_MEMORY,
            PacketAccess::SocketBuffer => IN_BUFFER,
        };
        let mut known = vec![UNREACHED; self.ops().len() + 1];
        known[0] = 0;
        let (insns, jumps, starts, detours) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut converter = Converter { access, regs, insns, jumps, starts, detours, known };
        converter.prologue();
        for (at, &op) in self.ops().iter().enumerate() {
            converter.starts.push(converter.insns.len());
            // Verifiers refuse code that nothing leads to.
            if converter.known[at] != UNREACHED {
                converter.op(at, op)?;
            }
        }
        converter.finish()
    }
}

impl Converter {
    fn emit(&mut self, insn: Insn) {
        self.insns.push(insn);
    }

    fn jump(&mut self, insn: Insn, to: Target) {
        self.jumps.push((self.insns.len(), to));
        self.insns.push(insn);
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.access, PacketAccess::Memory { .. })
    }

    fn prologue(&mut self) {
        let Registers { a, x, data, end, .. } = self.regs;
        if self.is_in_memory() {
            self.emit(Insn::alu64_reg(alu::ADD, end, data));
        } else {
            self.emit(Insn::store(Size::Dw, Reg::FP, CTX_SLOT, Reg::R1));
            self.emit(Insn::load(Size::W, data, Reg::R1, skb::DATA));
            self.emit(Insn::load(Size::W, end, Reg::R1, skb::DATA_END));
        }
        self.emit(Insn::mov_imm(a, 0));
        self.emit(Insn::mov_imm(x, 0));
    }

    fn op(&mut self, at: usize, op: Op) -> Result<(), ConvertError> {
        let Registers { a, x, .. } = self.regs;
        let known = self.known[at];
        let mut known_after = known;
        match op {
            Op::LoadAbs { size, k } => known_after = self.load(a, size, k, known),
            Op::LoadInd { size, k } => self.load_indirect(size, k),
            Op::Extension(extension) => self.extension(at, extension)?,
            Op::LoadMem(k) => self.emit(Insn::load(Size::W, a, Reg::FP, word(k))),
            Op::LoadXMem(k) => self.emit(Insn::load(Size::W, x, Reg::FP, word(k))),
            Op::LoadImm(k) => self.emit(Insn::alu32_imm(alu::MOV, a, k as i32)),
            Op::LoadXImm(k) => self.emit(Insn::alu32_imm(alu::MOV, x, k as i32)),
            Op::LoadLen => self.load_len(a),
            Op::LoadXLen => self.load_len(x),
            Op::LoadXMsh(k) => {
                known_after = self.load(x, Size::B, k, known);
                if known_after != UNREACHED {
                    self.emit(Insn::alu32_imm(alu::AND, x, 0xf));
                    self.emit(Insn::alu32_imm(alu::LSH, x, 2));
                }
            }
            Op::Store(k) => self.emit(Insn::store(Size::W, Reg::FP, word(k), a)),
            Op::StoreX(k) => self.emit(Insn::store(Size::W, Reg::FP, word(k), x)),
            Op::Alu { op, k: Some(k) } => self.emit(Insn::alu32_imm(code(op), a, k as i32)),
            Op::Alu { op, k: None } => {
                if matches!(op, AluOp::Div | AluOp::Mod) {
                    self.jump(Insn::jmp32_imm(jmp::JEQ, x, 0, 0), Target::Reject);
                }
                self.emit(Insn::alu32_reg(code(op), a, x));
            }
            Op::Neg => self.emit(Insn::alu32_imm(alu::NEG, a, 0)),
            Op::Tax => self.emit(Insn::alu32_reg(alu::MOV, x, a)),
            Op::Txa => self.emit(Insn::alu32_reg(alu::MOV, a, x)),
            Op::Goto(k) => {
                self.go(at, k as usize, known);
                return Ok(());
            }
            Op::JumpIf { cond, k, jt, jf } => {
                self.jump_if(at, cond, k, usize::from(jt), usize::from(jf));
                return Ok(());
            }
            Op::Ret(Some(k)) => {
                self.emit(Insn::alu32_imm(alu::MOV, Reg::R0, k as i32));
                self.emit(Insn::exit());
                return Ok(());
            }
            Op::Ret(None) => {
                if a != Reg::R0 {
                    self.emit(Insn::alu32_reg(alu::MOV, Reg::R0, a));
                }
                self.emit(Insn::exit());
                return Ok(());
            }
        }
        self.known[at + 1] = self.known[at + 1].min(known_after);
        Ok(())
    }

    /// Goes to the instruction `distance` after the next.
    fn go(&mut self, at: usize, distance: usize, known: u32) {
        let to = at + 1 + distance;
        self.known[to] = self.known[to].min(known);
        if distance > 0 {
            self.jump(Insn::ja(0), Target::Classic(to));
        }
    }

    fn jump_if(&mut self, at: usize, cond: Cond, k: Option<u32>, jt: usize, jf: usize) {
        let Registers { a, x, .. } = self.regs;
        let known = self.known[at];
        let conditional = |op: u8| match k {
            Some(k) => Insn::jmp32_imm(op, a, k as i32, 0),
            None => Insn::jmp32_reg(op, a, x, 0),
        };
        // There is no opposite of "a bit in common".
        let (op, opposite) = match cond {
            Cond::Eq => (jmp::JEQ, Some(jmp::JNE)),
            Cond::Gt => (jmp::JGT, Some(jmp::JLE)),
            Cond::Ge => (jmp::JGE, Some(jmp::JLT)),
            _ => (jmp::JSET, None),
        };
        match opposite {
            _ if jt == jf => {}
            Some(opposite) if jt == 0 => {
                self.jump(conditional(opposite), Target::Classic(at + 1 + jf));
            }
            _ => self.jump(conditional(op), Target::Classic(at + 1 + jt)),
        }
        let taken = at + 1 + jt;
        self.known[taken] = self.known[taken].min(known);
        if jt == 0 && jt != jf && opposite.is_some() {
            self.known[at + 1 + jf] = self.known[at + 1 + jf].min(known);
        } else {
            self.go(at, jf, known);
        }
    }

    fn load_len(&mut self, to: Reg) {
        if self.is_in_memory() {
            self.emit(Insn::alu32_reg(alu::MOV, to, WIRE_LEN));
        } else {
            self.load_field(to, skb::LEN);
        }
    }

    fn load_field(&mut self, to: Reg, field: i16) {
        self.emit(Insn::load(Size::Dw, Reg::R1, Reg::FP, CTX_SLOT));
        self.emit(Insn::load(Size::W, to, Reg::R1, field));
    }

    fn extension(&mut self, at: usize, extension: Extension) -> Result<(), ConvertError> {
        let Registers { a, x, .. } = self.regs;
        let not_there = Err(ConvertError::NotThere { at, extension });
        let field = match extension {
            Extension::AluXorX => {
                self.emit(Insn::alu32_reg(alu::XOR, a, x));
                return Ok(());
            }
            _ if self.is_in_memory() => return not_there,
            Extension::Protocol => skb::PROTOCOL,
            Extension::PktType => skb::PKT_TYPE,
            Extension::Ifindex => skb::IFINDEX,
            Extension::Mark => skb::MARK,
            Extension::Queue => skb::QUEUE_MAPPING,
            Extension::RxHash => skb::HASH,
            Extension::VlanTag => skb::VLAN_TCI,
            Extension::VlanTagPresent => skb::VLAN_PRESENT,
            Extension::VlanTpid => skb::VLAN_PROTO,
            Extension::Cpu | Extension::Random => {
                let id = match extension {
                    Extension::Cpu => helper::GET_SMP_PROCESSOR_ID,
                    _ => helper::GET_PRANDOM_U32,
                };
                self.emit(Insn::call_helper(id));
                self.emit(Insn::alu32_reg(alu::MOV, a, Reg::R0));
                return Ok(());
            }
            Extension::NlAttr
            | Extension::NlAttrNest
            | Extension::HaType
            | Extension::PayOffset => return not_there,
        };
        self.load_field(a, field);
        if matches!(extension, Extension::Protocol | Extension::VlanTpid) {
            self.emit(big_endian(a, Size::H));
        }
        Ok(())
    }

    /// Loads from a constant offset. `known` bytes are there for certain; gives how many are
    /// afterwards: [`UNREACHED`] when the load always fails.
    fn load(&mut self, to: Reg, size: Size, k: u32, known: u32) -> u32 {
        let Registers { data, end, tmp, .. } = self.regs;
        let bytes = size.bytes() as u32;
        let offset = match self.access {
            PacketAccess::Memory { network_header } => from_start(k, network_header),
            PacketAccess::SocketBuffer if k > MAX_PACKET_OFF - bytes => {
                // Nothing but the helper can say.
                let detour = self.detours.len();
                self.jump(Insn::ja(0), Target::Detour(detour));
                self.detour(Some(k), size, to, 0);
                return known;
            }
            PacketAccess::SocketBuffer => Some(k),
        };
        let after = offset.and_then(|offset| Some((offset, offset.checked_add(bytes)?)));
        let Some((offset, after)) = after.filter(|(_, after)| *after <= i32::MAX as u32) else {
            self.jump(Insn::ja(0), Target::Reject);
            return UNREACHED;
        };
        // In a buffer the linear part may end before the packet does, so nothing is known there.
        let direct = i16::try_from(offset).ok().filter(|_| self.is_in_memory() && after <= known);
        if let Some(offset) = direct {
            self.emit(Insn::load(size, to, data, offset));
            self.swap(to, size);
            return known;
        }
        self.emit(Insn::mov(tmp, data));
        self.emit(Insn::alu64_imm(alu::ADD, tmp, after as i32));
        let too_short = match self.access {
            PacketAccess::Memory { .. } => Target::Reject,
            PacketAccess::SocketBuffer => Target::Detour(self.detours.len()),
        };
        self.jump(Insn::jmp_reg(jmp::JGT, tmp, end, 0), too_short);
        self.emit(Insn::load(size, to, tmp, -(bytes as i16)));
        self.swap(to, size);
        if !self.is_in_memory() {
            self.detour(Some(k), size, to, 0);
        }
        known.max(after)
    }

    /// Loads from `X + k`, a 32-bit sum.
    fn load_indirect(&mut self, size: Size, k: u32) {
        let Registers { a, x, data, end, tmp } = self.regs;
        let bytes = size.bytes() as i32;
        self.emit(Insn::alu32_reg(alu::MOV, tmp, x));
        if k != 0 {
            self.emit(Insn::alu32_imm(alu::ADD, tmp, k as i32));
        }
        let detour = self.detours.len();
        if self.is_in_memory() {
            self.jump(Insn::jmp32_imm(jmp::JSLT, tmp, 0, 0), Target::Detour(detour));
            let again = self.insns.len();
            self.emit(Insn::alu64_reg(alu::ADD, tmp, data));
            self.emit(Insn::mov(a, tmp));
            self.emit(Insn::alu64_imm(alu::ADD, a, bytes));
            self.jump(Insn::jmp_reg(jmp::JGT, a, end, 0), Target::Reject);
            self.emit(Insn::load(size, a, tmp, 0));
            self.swap(a, size);
            self.detour(None, size, a, again);
        } else {
            let most = (MAX_PACKET_OFF as i32) - bytes;
            self.jump(Insn::jmp32_imm(jmp::JGT, tmp, most, 0), Target::Detour(detour));
            self.emit(Insn::mov(Reg::R3, data));
            self.emit(Insn::alu64_reg(alu::ADD, Reg::R3, tmp));
            self.emit(Insn::mov(Reg::R4, Reg::R3));
            self.emit(Insn::alu64_imm(alu::ADD, Reg::R4, bytes));
            self.jump(Insn::jmp_reg(jmp::JGT, Reg::R4, end, 0), Target::Detour(detour));
            self.emit(Insn::load(size, a, Reg::R3, 0));
            self.swap(a, size);
            self.detour(None, size, a, 0);
        }
    }

    fn swap(&mut self, reg: Reg, size: Size) {
        if size != Size::B {
            self.emit(big_endian(reg, size));
        }
    }

    /// Notes a detour that comes back to the next instruction, or to `again`.
    fn detour(&mut self, offset: Option<u32>, size: Size, to: Reg, again: usize) {
        let after = self.insns.len();
        self.detours.push(Detour { offset, size, to, after, again, start: 0 });
    }

    fn finish(mut self) -> Result<Vec<Insn>, ConvertError> {
        for index in 0..self.detours.len() {
            self.detours[index].start = self.insns.len();
            match self.access {
                PacketAccess::Memory { network_header } => self.rebase(index, network_header),
                PacketAccess::SocketBuffer => self.call_loader(index),
            }
        }
        let reject = self.insns.len();
        if self.jumps.iter().any(|(_, to)| matches!(to, Target::Reject)) {
            self.emit(Insn::mov_imm(Reg::R0, 0));
            self.emit(Insn::exit());
        }
        let loader = self.insns.len();
        if self.jumps.iter().any(|(_, to)| matches!(to, Target::Loader)) {
            self.insns.extend(loader_function());
        }
        for (slot, to) in std::mem::take(&mut self.jumps) {
            let to = match to {
                Target::Classic(at) => self.starts[at],
                Target::AfterLoad(detour) => self.detours[detour].after,
                Target::Detour(detour) => self.detours[detour].start,
                Target::Reject => reject,
                Target::Loader => loader,
            };
            let distance = to as i32 - slot as i32 - 1;
            let insn = &mut self.insns[slot];
            match i16::try_from(distance) {
                _ if insn.code == class::JMP | jmp::CALL => insn.imm = distance,
                Ok(distance) => insn.off = distance,
                Err(_) if insn.code == class::JMP | jmp::JA => *insn = Insn::ja_long(distance),
                Err(_) => return Err(ConvertError::TooLong),
            }
        }
        Ok(self.insns)
    }

    /// In memory: an offset that counts from a header becomes one that counts from the start.
    fn rebase(&mut self, index: usize, network_header: u32) {
        let (tmp, again) = (self.regs.tmp, self.detours[index].again);
        let rebase = |header: u32, from: i32| {
            Insn::alu32_imm(alu::ADD, tmp, (header as i32).wrapping_sub(from))
        };
        self.jump(Insn::jmp32_imm(jmp::JSLT, tmp, LL_OFF, 0), Target::Reject);
        self.emit(Insn::jmp32_imm(jmp::JSGE, tmp, NET_OFF, 2));
        self.emit(rebase(0, LL_OFF));
        self.emit(Insn::ja(1));
        self.emit(rebase(network_header, NET_OFF));
        self.detours[index].after = again;
        self.jump(Insn::ja(0), Target::AfterLoad(index));
    }

    /// In a buffer: asks the function at the end.
    fn call_loader(&mut self, index: usize) {
        let Detour { offset, size, to, .. } = self.detours[index];
        if let Some(offset) = offset {
            self.emit(Insn::alu32_imm(alu::MOV, Reg::R2, offset as i32));
        }
        self.emit(Insn::load(Size::Dw, Reg::R1, Reg::FP, CTX_SLOT));
        self.emit(Insn::mov_imm(Reg::R3, size.bytes() as i32));
        self.jump(Insn::call_local(0), Target::Loader);
        self.jump(Insn::jmp_imm(jmp::JSLT, Reg::R0, 0, 0), Target::Reject);
        self.emit(Insn::alu32_reg(alu::MOV, to, Reg::R0));
        self.jump(Insn::ja(0), Target::AfterLoad(index));
    }
}

/// `(context, offset, size)`: the number at the offset, which may count from a header; negative
/// when it is not in the packet.
fn loader_function() -> [Insn; 27] {
    /// `BPF_HDR_START_MAC`, `BPF_HDR_START_NET`.
    const FROM_LINK: i32 = 0;
    const FROM_NETWORK: i32 = 1;
    const BUFFER: i16 = -8;
    let (offset, to, size, kept_size) = (Reg::R2, Reg::R3, Reg::R4, Reg::R6);
    [
        Insn::mov(kept_size, to),
        Insn::mov(size, to),
        Insn::mov(to, Reg::FP),
        Insn::alu64_imm(alu::ADD, to, BUFFER as i32),
        Insn::jmp32_imm(jmp::JSGE, offset, 0, 8),
        Insn::jmp32_imm(jmp::JSLT, offset, LL_OFF, 16),
        Insn::mov_imm(Reg::R5, FROM_NETWORK),
        Insn::jmp32_imm(jmp::JSGE, offset, NET_OFF, 2),
        Insn::mov_imm(Reg::R5, FROM_LINK),
        Insn::alu32_imm(alu::ADD, offset, NET_OFF - LL_OFF),
        Insn::alu32_imm(alu::ADD, offset, -NET_OFF),
        Insn::call_helper(helper::SKB_LOAD_BYTES_RELATIVE),
        Insn::ja(1),
        Insn::call_helper(helper::SKB_LOAD_BYTES),
        Insn::jmp_imm(jmp::JNE, Reg::R0, 0, 7),
        Insn::jmp_imm(jmp::JEQ, kept_size, 2, 3),
        Insn::jmp_imm(jmp::JEQ, kept_size, 4, 7),
        Insn::load(Size::B, Reg::R0, Reg::FP, BUFFER),
        Insn::exit(),
        Insn::load(Size::H, Reg::R0, Reg::FP, BUFFER),
        big_endian(Reg::R0, Size::H),
        Insn::exit(),
        Insn::mov_imm(Reg::R0, -1),
        Insn::exit(),
        Insn::load(Size::W, Reg::R0, Reg::FP, BUFFER),
        big_endian(Reg::R0, Size::W),
        Insn::exit(),
    ]
}

/// Offset from the packet's start; `None` when it is before that.
fn from_start(k: u32, network_header: u32) -> Option<u32> {
    match k as i32 {
        0.. => Some(k),
        k @ NET_OFF.. => network_header.checked_add((k - NET_OFF) as u32),
        k @ LL_OFF.. => Some((k - LL_OFF) as u32),
        _ => None,
    }
}

/// Place of a word of scratch memory, from the frame pointer.
fn word(k: u32) -> i16 {
    -4 * (k as i16 + 1)
}

/// Bytes from the packet as a number, or back.
fn big_endian(reg: Reg, size: Size) -> Insn {
    let imm = size.bytes() as i32 * 8;
    Insn { code: class::ALU | alu::END | X, dst: reg, src: Reg(0), off: 0, imm }
}

/// The operation in instructions.
fn code(op: AluOp) -> u8 {
    match op {
        AluOp::Add => alu::ADD,
        AluOp::Sub => alu::SUB,
        AluOp::Mul => alu::MUL,
        AluOp::Div | AluOp::Sdiv => alu::DIV,
        AluOp::Or => alu::OR,
        AluOp::And => alu::AND,
        AluOp::Lsh => alu::LSH,
        AluOp::Rsh => alu::RSH,
        AluOp::Mod | AluOp::Smod => alu::MOD,
        AluOp::Xor => alu::XOR,
        AluOp::Mov => alu::MOV,
        AluOp::Arsh => alu::ARSH,
    }
}
