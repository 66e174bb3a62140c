//! Guarded code: see [`crate::jit::guarded`].
//!
//! Registers are where the other compilers have them, but for `r10`: `rbp` has the host's address of
//! the frame's end, and the guest's is made of it where a program asks. `r12` is the environment.
//! Code outside of the way of most runs stands behind each function.

mod elements;

use std::mem::offset_of;
use std::ops::Range;

use bombus_isa::{AluOp, AtomicOp, Imm64, Op, Operand, Reg, Size, Width};
use bombus_platform::MAX_STACK;

use super::emit::Emitter;
use super::encode::{Arith, Branch, Cc, Gpr, Mem};
use super::{ENVIRONMENT, HOMES, SCRATCH, SCRATCH2, SCRATCH3, X64};
use crate::address::FRAME_STRIDE;
use crate::jit::guarded::{
    Environment, Facts, Guests, Known, Lookup, MAX_BLOCKS, OUT_OF_FUEL, Pane, Parts, Reach,
    Registers, STOPPED, Step, TOO_MANY_FRAMES, UNSET, Value, Windows, jump,
};
use crate::native::Unlinked;
use crate::program::target;
use crate::{MAX_FRAMES, MAX_LOOPS, Program};
use elements::{blocks, distance_of, place_of};

/// Registers that the code may change and must give back.
const SAVED: [Gpr; 6] = [Gpr::RBX, Gpr::RBP, Gpr::R12, Gpr::R13, Gpr::R14, Gpr::R15];
/// Registers that calls may change and the program may use.
const KEPT: [Gpr; 6] = [Gpr::RAX, Gpr::RDI, Gpr::RSI, Gpr::RDX, Gpr::RCX, Gpr::R8];

/// A field of the environment.
const fn field(offset: usize) -> Mem {
    Mem::new(ENVIRONMENT, offset as i32)
}

macro_rules! env {
    ($field:ident) => {
        field(offset_of!(Environment, $field))
    };
}

/// Where an access looks.
#[derive(Clone, Copy)]
enum Look {
    Subject,
    Recent,
}

impl Look {
    fn start(self) -> Mem {
        self.part(offset_of!(Pane, start))
    }

    fn part(self, offset: usize) -> Mem {
        field(
            offset
                + match self {
                    Look::Subject => offset_of!(Environment, subject),
                    Look::Recent => offset_of!(Environment, recent),
                },
        )
    }
}

/// Code that is reached seldom.
enum Cold {
    /// The end of the run, for a reason, at a slot.
    Stop { from: usize, pc: usize, why: u64 },
    /// A look-up in an array that has no such element.
    Absent { from: usize, to: usize },
    /// An access that was not in the first window, and may be in the second. One that is not aligned
    /// comes from elsewhere.
    Access {
        from: usize,
        misaligned: Option<usize>,
        to: usize,
        pc: usize,
        first: Look,
        second: Option<Look>,
    },
}

/// Compiles one program.
struct Guarded<'a> {
    emitter: Emitter<'a>,
    ops: &'a [Op],
    facts: &'a Facts,
    guests: &'a Guests<'a>,
    reach: Reach,
    /// Offset of each slot's code.
    offsets: Vec<u32>,
    /// Branches, and the slots that they go to.
    branches: Vec<(usize, usize)>,
    /// Branches to what stands at the end.
    to_finish: Vec<usize>,
    to_stopped: Vec<usize>,
    to_access: Vec<usize>,
    cold: Vec<Cold>,
    /// The function at hand.
    entry: usize,
    /// Where its code begins after the prologue.
    body: usize,
    saved: Vec<Gpr>,
    /// Bytes that it takes of the native stack beside.
    room: i32,
}

impl X64 {
    /// Guarded code, which can stand anywhere.
    pub(in crate::jit) fn emit_guarded(
        &self,
        program: &Program,
        facts: &Facts,
        guests: &Guests<'_>,
    ) -> (Vec<u8>, Reach) {
        let slots = program.ops().len();
        let emitter = Emitter::new(X64 { blinding: None, ..*self }, program, &Unlinked, 0);
        let guarded = Guarded {
            emitter,
            ops: program.ops(),
            facts,
            guests,
            reach: Reach {
                fields: 0,
                tables: false,
                blocks: Vec::new(),
                windows: Windows::default(),
                subject: false,
                frame: MAX_STACK,
                needs: Parts::default(),
            },
            offsets: vec![0; slots],
            branches: Vec::new(),
            to_finish: Vec::new(),
            to_stopped: Vec::new(),
            to_access: Vec::new(),
            cold: Vec::new(),
            entry: 0,
            body: 0,
            saved: Vec::new(),
            room: 0,
        };
        guarded.emit(program)
    }
}

impl Guarded<'_> {
    fn emit(mut self, program: &Program) -> (Vec<u8>, Reach) {
        self.reach.blocks = blocks(self.guests, self.ops.len());
        let functions = program.functions();
        for (index, (&entry, uses)) in functions.iter().zip(program.uses()).enumerate() {
            let end = functions.get(index + 1).map_or(self.ops.len(), |&next| next as usize);
            let Some(Some(_)) = self.facts.at(entry as usize) else { continue };
            self.entry = entry as usize;
            self.offsets[self.entry] = self.emitter.asm.len() as u32;
            self.open(uses.registers, uses.loops);
            self.function(entry as usize..end);
            self.emitter.cold_code();
            self.cold();
        }
        self.access_stub();
        self.end();
        let mut asm = self.emitter.asm;
        for (at, slot) in self.branches {
            asm.patch(at, self.offsets[slot] as usize);
        }
        (asm.finish(), self.reach)
    }

    /// Whether the function at hand is the one that is entered from outside.
    fn is_main(&self) -> bool {
        self.entry == 0
    }

    fn open(&mut self, registers: u16, loops: bool) {
        let asm = &mut self.emitter.asm;
        let used = |reg: &usize| registers & (1 << reg) != 0;
        self.saved = if self.entry == 0 {
            SAVED.into()
        } else {
            (6..10).filter(used).map(|reg| HOMES[reg]).collect()
        };
        self.saved.iter().for_each(|&reg| asm.push(reg));
        // The return address is on the stack already, and calls want it aligned.
        self.room = match self.saved.len() % 2 {
            0 => MAIN_ROOM,
            _ if loops => 16,
            _ => 0,
        };
        if self.room != 0 {
            asm.arith_imm(Arith::Sub, Width::W64, Gpr::RSP, self.room);
        }
        if self.entry == 0 {
            asm.mov(Width::W64, ENVIRONMENT, Gpr::R9);
            asm.load(Size::Dw, false, Gpr::RBP, env!(frame));
            asm.store(Size::Dw, env!(native_stack), Gpr::RSP);
        } else {
            asm.arith_imm(Arith::Cmp, Width::W64, env!(depth), MAX_FRAMES as i32);
            let from = asm.branch(Branch::Jcc(Cc::Ae));
            asm.arith_imm(Arith::Add, Width::W64, env!(depth), 1);
            asm.arith_imm(Arith::Add, Width::W64, Gpr::RBP, FRAME_STRIDE as i32);
            // Zeros, 64 bytes at a time.
            asm.clear(SCRATCH3);
            asm.lea(Width::W64, SCRATCH, Mem::new(Gpr::RBP, -(MAX_STACK as i32)));
            let again = asm.len();
            (0..8).for_each(|word| asm.store(Size::Dw, Mem::new(SCRATCH, 8 * word), SCRATCH3));
            asm.arith_imm(Arith::Add, Width::W64, SCRATCH, 64);
            asm.arith(Arith::Cmp, Width::W64, SCRATCH, Gpr::RBP);
            asm.branch_to(Branch::Jcc(Cc::B), again);
            self.cold.push(Cold::Stop { from, pc: self.entry, why: TOO_MANY_FRAMES });
        }
        if loops {
            self.emitter.asm.store_imm(Size::Dw, LOOPS, MAX_LOOPS as i32);
        }
        self.body = self.emitter.asm.len();
    }

    fn function(&mut self, slots: Range<usize>) {
        let (mut pc, mut registers) = (slots.start, None);
        while pc < slots.end {
            let op = self.ops[pc];
            if let Some(known) = self.facts.at(pc) {
                registers = known.copied();
                if pc != self.entry {
                    self.offsets[pc] = self.emitter.asm.len() as u32;
                }
            }
            let Some(known) = &mut registers else {
                pc += op.slots();
                continue;
            };
            let before = *known;
            match self.facts.step(op, pc, known) {
                Step::Reads(reg) => {
                    let from = self.emitter.asm.branch(Branch::Jmp);
                    self.cold.push(Cold::Stop { from, pc, why: UNSET + u64::from(reg.0) });
                    registers = None;
                }
                Step::Next(next) => {
                    self.instruction(op, pc, &before);
                    if self.guests.known(next) == Known::Unreached {
                        registers = None;
                    }
                }
                Step::Stop => {
                    self.instruction(op, pc, &before);
                    registers = None;
                }
            }
            pc += op.slots();
        }
    }

    fn instruction(&mut self, op: Op, pc: usize, registers: &Registers) {
        match op {
            Op::Load { base, off, .. }
            | Op::LoadAcquire { base, off, .. }
            | Op::Store { base, off, .. }
            | Op::StoreRelease { base, off, .. }
            | Op::Atomic { base, off, .. } => {
                self.memory(op, pc, base, off.into(), registers[usize::from(base.0)]);
            }
            Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Operand::Reg(Reg::FP) } => {
                self.frame_pointer(self.emitter.gpr(dst));
            }
            Op::LoadImm64 { dst, imm } => {
                let value = match imm {
                    Imm64::Func(distance) => Program::function_address(pc, distance),
                    Imm64::Value(value) => value,
                    // Program::new leaves nothing else.
                    _ => 0,
                };
                self.emitter.asm.mov_imm(self.emitter.gpr(dst), value);
            }
            Op::Alu { width, op, dst, src } => {
                self.with_frame_pointer(src == Operand::Reg(Reg::FP), |emitter| {
                    emitter.alu(width, op, dst, src);
                });
            }
            Op::Neg { width, dst } => {
                let dst = self.emitter.gpr(dst);
                self.emitter.asm.unary(super::encode::Unary::Neg, width, dst);
            }
            Op::MovSx { width, from, dst, src } => {
                self.with_frame_pointer(src == Reg::FP, |emitter| {
                    let (dst, src) = (emitter.gpr(dst), emitter.gpr(src));
                    emitter.asm.extend(from, true, width, dst, src);
                });
            }
            Op::End { order, size, dst } => {
                let dst = self.emitter.gpr(dst);
                self.emitter.endian(order, size, dst);
            }
            Op::JumpIf { width, cond, dst, src, .. } => {
                let Some(target) = jump(op, pc).filter(|&target| target != pc + 1) else { return };
                // Which way it goes may be known.
                if self.guests.known(target) == Known::Unreached {
                    return;
                }
                if self.guests.known(pc + 1) == Known::Unreached {
                    return self.go(pc, target);
                }
                let uses = dst == Reg::FP || src == Operand::Reg(Reg::FP);
                let mut cc = Cc::E;
                self.with_frame_pointer(uses, |emitter| {
                    cc = emitter.compare(width, cond, dst, src);
                });
                self.jump_if(cc, pc, target);
            }
            Op::MayGoto { .. } => {
                let Some(target) = jump(op, pc).filter(|&target| target != pc + 1) else { return };
                self.emitter.asm.arith_imm(Arith::Cmp, Width::W64, LOOPS, 0);
                self.jump_if(Cc::E, pc, target);
                self.emitter.asm.arith_imm(Arith::Sub, Width::W64, LOOPS, 1);
            }
            Op::Goto { .. } | Op::GotoLong { .. } => {
                if let Some(target) = jump(op, pc) {
                    self.go(pc, target);
                }
            }
            Op::CallHelper { id } => match self.lookup(id, registers) {
                Some((lookup, key)) => self.look_up(lookup, key),
                None => self.call_helper(pc),
            },
            Op::CallLocal { off } => {
                let at = self.emitter.asm.branch(Branch::Call);
                self.branches.push((at, target(pc, off)));
                self.clear_arguments();
            }
            Op::Exit => self.exit(pc, registers),
            // `GuardedCode::compile` and `Program::linked` refuse these.
            Op::LoadPacket { .. }
            | Op::CallKfunc { .. }
            | Op::GotoRegister { .. }
            | Op::AddrSpaceCast { .. } => {}
        }
    }

    /// `to = r10`.
    fn frame_pointer(&mut self, to: Gpr) {
        self.emitter.asm.load(Size::Dw, false, to, env!(stack_distance));
        self.emitter.asm.arith(Arith::Add, Width::W64, to, Gpr::RBP);
    }

    /// Emits something that reads `r10`, if it does.
    fn with_frame_pointer(&mut self, uses: bool, emit: impl FnOnce(&mut Emitter<'_>)) {
        if uses {
            self.frame_pointer(SCRATCH3);
            self.emitter.homes[usize::from(Reg::FP.0)] = SCRATCH3;
        }
        emit(&mut self.emitter);
        self.emitter.homes[usize::from(Reg::FP.0)] = Gpr::RBP;
    }

    /// Takes from the fuel.
    fn burn(&mut self, pc: usize, instructions: usize) {
        let asm = &mut self.emitter.asm;
        asm.arith_imm(Arith::Sub, Width::W64, env!(fuel), instructions as i32);
        let from = asm.branch(Branch::Jcc(Cc::B));
        self.cold.push(Cold::Stop { from, pc, why: OUT_OF_FUEL });
    }

    fn go(&mut self, pc: usize, target: usize) {
        if target <= pc {
            self.burn(pc, pc - target + 1);
            self.back(Branch::Jmp, target);
        } else if target != pc + 1 {
            let at = self.emitter.asm.branch(Branch::Jmp);
            self.branches.push((at, target));
        }
    }

    fn jump_if(&mut self, cc: Cc, pc: usize, target: usize) {
        if target > pc {
            let at = self.emitter.asm.branch(Branch::Jcc(cc));
            self.branches.push((at, target));
            return;
        }
        let over = self.emitter.asm.short_jcc(cc.negated());
        self.go(pc, target);
        self.emitter.asm.patch_short(over);
    }

    /// Branches to a slot that was emitted; not into the prologue.
    fn back(&mut self, branch: Branch, target: usize) {
        let at = self.emitter.asm.branch(branch);
        if target == self.entry {
            self.emitter.asm.patch(at, self.body);
        } else {
            self.branches.push((at, target));
        }
    }

    fn call_helper(&mut self, pc: usize) {
        let asm = &mut self.emitter.asm;
        asm.store_imm(Size::Dw, env!(pc), pc as i32);
        asm.mov(Width::W64, Gpr::R9, ENVIRONMENT);
        asm.call_mem(env!(call));
        asm.test(Width::W32, Gpr::RDX, Gpr::RDX);
        let stopped = asm.branch(Branch::Jcc(Cc::Ne));
        self.to_stopped.push(stopped);
        self.clear_arguments();
    }

    /// The look-up that a call is, and where in the frame its key is.
    fn lookup(&self, helper: i32, registers: &Registers) -> Option<(Lookup, i32)> {
        let (Value::Number(number), Value::Frame(at)) = (registers[1], registers[2]) else {
            return None;
        };
        let lookup = (self.guests.lookup)(helper, number)?;
        let end = i64::from(at) + i64::try_from(lookup.key).ok()?;
        (at >= -(MAX_STACK as i32) && end <= 0).then_some((lookup, at))
    }

    fn look_up(&mut self, lookup: Lookup, key: i32) {
        let block = self.block(lookup.table);
        if let (Some((len, stride)), Some(block)) = (self.array(lookup.table), block) {
            return self.element(place_of(block), len, stride, key);
        }
        self.reach.tables = true;
        let asm = &mut self.emitter.asm;
        asm.mov(Width::W64, Gpr::RDI, ENVIRONMENT);
        asm.mov_imm(Gpr::RSI, lookup.table as u64);
        asm.lea(Width::W64, Gpr::RDX, Mem::new(Gpr::RBP, key));
        asm.mov_imm(Gpr::RCX, lookup.key as u64);
        asm.mov_imm(Gpr::R8, block.unwrap_or(MAX_BLOCKS) as u64);
        asm.call_mem(env!(look_up));
        self.clear_arguments();
    }

    /// Registers that hold nothing are zero, which is what helpers get of them.
    fn clear_arguments(&mut self) {
        (1..=5).for_each(|reg| self.emitter.asm.clear(HOMES[reg]));
    }

    fn exit(&mut self, pc: usize, registers: &Registers) {
        self.burn(pc, pc - self.entry + 1);
        let is_main = self.is_main();
        if is_main && registers[0] == Value::Unset {
            let from = self.emitter.asm.branch(Branch::Jmp);
            self.cold.push(Cold::Stop { from, pc, why: UNSET });
            return;
        }
        let asm = &mut self.emitter.asm;
        if is_main {
            asm.clear(Gpr::RDX);
        } else {
            asm.arith_imm(Arith::Sub, Width::W64, Gpr::RBP, FRAME_STRIDE as i32);
            asm.arith_imm(Arith::Sub, Width::W64, env!(depth), 1);
        }
        self.close();
    }

    /// Returns.
    fn close(&mut self) {
        let asm = &mut self.emitter.asm;
        if self.room != 0 {
            asm.arith_imm(Arith::Add, Width::W64, Gpr::RSP, self.room);
        }
        self.saved.iter().rev().for_each(|&reg| asm.pop(reg));
        asm.ret();
    }

    /// An access to memory.
    fn memory(&mut self, op: Op, pc: usize, base: Reg, off: i32, value: Value) {
        let (size, writes, aligned) = shape(op);
        let bytes = size.bytes() as i32;
        match value {
            Value::Frame(at) => {
                let at = at + off;
                let inside = at >= -(MAX_STACK as i32) && at + bytes <= 0;
                // Frames are aligned.
                if inside && !(aligned && at % bytes != 0) {
                    if writes && self.is_main() {
                        let from = (at + MAX_STACK as i32) as usize;
                        self.reach.frame = self.reach.frame.min(from);
                    }
                    return self.perform(op, Mem::new(Gpr::RBP, at));
                }
                self.guest_address(SCRATCH, base, off);
                return self.ask(op, pc);
            }
            Value::Context(at) if !writes && !aligned && at + off >= 0 => {
                let at = (at + off) as usize;
                if (self.guests.field)(at as u64, size.bytes()) {
                    self.reach.fields = self.reach.fields.max(at + size.bytes());
                    self.emitter.asm.load(Size::Dw, false, SCRATCH3, env!(fields));
                    return self.perform(op, Mem::new(SCRATCH3, at as i32));
                }
            }
            _ => {}
        }
        if base != Reg::FP && self.distance(pc, base, off, writes) {
            let index = Some((self.emitter.gpr(base), 0));
            return self.perform(op, Mem { base: SCRATCH3, index, disp: off });
        }
        let (first, second) = match (self.guests.known(pc), value) {
            (Known::Element(_) | Known::Elements(_), _) => (Look::Recent, None),
            (Known::Subject, _) => (Look::Subject, None),
            (_, Value::Returned) => (Look::Recent, Some(Look::Subject)),
            _ => (Look::Subject, Some(Look::Recent)),
        };
        for look in [Some(first), second].into_iter().flatten() {
            match look {
                Look::Subject => self.reach.windows.subject = true,
                Look::Recent => self.reach.windows.recent = true,
            }
        }
        self.guest_address(SCRATCH2, base, off);
        let misaligned = (aligned && size != Size::B).then(|| {
            self.emitter.asm.test_imm(Width::W32, SCRATCH2, bytes - 1);
            self.emitter.asm.branch(Branch::Jcc(Cc::Ne))
        });
        let from = self.look(first, size, writes);
        self.perform_inside(op, first);
        let to = self.emitter.asm.len();
        self.cold.push(Cold::Access { from, misaligned, to, pc, first, second });
    }

    /// Loads how far the host's addresses are from the guest's for an access that needs no look, into the
    /// third scratch register; false: it needs one.
    fn distance(&mut self, pc: usize, base: Reg, off: i32, writes: bool) -> bool {
        let distance = match self.guests.known(pc) {
            Known::Frame => {
                if writes {
                    self.reach.frame = 0;
                }
                Some(env!(frames))
            }
            // (Before somebody writes to what is lent, it is copied.)
            Known::Subject if !writes => {
                self.reach.subject = true;
                Some(env!(distance))
            }
            Known::Element(table) => self.block(table).map(distance_of),
            Known::Elements(tables) => return self.distance_of_one(tables, base, off),
            _ => None,
        };
        if let Some(distance) = distance {
            self.emitter.asm.load(Size::Dw, false, SCRATCH3, distance);
        }
        distance.is_some()
    }

    /// `to = base + off`.
    fn guest_address(&mut self, to: Gpr, base: Reg, off: i32) {
        if base == Reg::FP {
            self.frame_pointer(to);
            self.emitter.asm.arith_imm(Arith::Add, Width::W64, to, off);
        } else if off == 0 {
            self.emitter.asm.mov(Width::W64, to, self.emitter.gpr(base));
        } else {
            self.emitter.asm.lea(Width::W64, to, Mem::new(self.emitter.gpr(base), off));
        }
    }

    /// Looks whether the address in the second scratch register is in a window, and makes it a
    /// distance from the start; gives the branch that is taken when it is not.
    fn look(&mut self, look: Look, size: Size, writes: bool) -> usize {
        let asm = &mut self.emitter.asm;
        asm.arith_mem(Arith::Sub, Width::W64, SCRATCH2, look.start());
        asm.arith_mem(Arith::Cmp, Width::W64, SCRATCH2, look.part(Pane::limit(size, writes)));
        asm.branch(Branch::Jcc(Cc::Ae))
    }

    fn perform_inside(&mut self, op: Op, look: Look) {
        self.emitter.asm.load(Size::Dw, false, SCRATCH3, look.part(Pane::HOST));
        self.perform(op, Mem { base: SCRATCH3, index: Some((SCRATCH2, 0)), disp: 0 });
    }

    /// Where the value of a register is; the first scratch register is free for it.
    fn value(&mut self, reg: Reg) -> Gpr {
        if reg != Reg::FP {
            return self.emitter.gpr(reg);
        }
        self.frame_pointer(SCRATCH);
        SCRATCH
    }

    /// Does what an instruction does, at an address of the host.
    fn perform(&mut self, op: Op, mem: Mem) {
        match op {
            Op::Load { size, signed, dst, .. } => {
                self.emitter.asm.load(size, signed, self.emitter.gpr(dst), mem);
            }
            Op::LoadAcquire { size, dst, .. } => {
                self.emitter.asm.load(size, false, self.emitter.gpr(dst), mem);
            }
            Op::Store { size, src: Operand::Imm(imm), .. } => {
                self.emitter.asm.store_imm(size, mem, imm);
            }
            Op::Store { size, src: Operand::Reg(src), .. } | Op::StoreRelease { size, src, .. } => {
                let src = self.value(src);
                self.emitter.asm.store(size, mem, src);
            }
            Op::Atomic { size, op, fetch, src, .. } => self.exchange(size, op, fetch, src, mem),
            _ => {}
        }
    }

    /// An atomic operation; nobody else has the memory meanwhile.
    fn exchange(&mut self, size: Size, op: AtomicOp, fetch: bool, src: Reg, mem: Mem) {
        let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
        let src = self.emitter.gpr(src);
        let asm = &mut self.emitter.asm;
        let (old, new) = (SCRATCH, SCRATCH2);
        let mem = match mem.index {
            None => mem,
            Some(_) => {
                asm.lea(Width::W64, SCRATCH3, mem);
                Mem::new(SCRATCH3, 0)
            }
        };
        asm.load(size, false, old, mem);
        let arith = match op {
            AtomicOp::Add => Arith::Add,
            AtomicOp::Or => Arith::Or,
            AtomicOp::And => Arith::And,
            AtomicOp::Xor => Arith::Xor,
            AtomicOp::Xchg => {
                asm.store(size, mem, src);
                return asm.mov(Width::W64, src, old);
            }
            AtomicOp::Cmpxchg => {
                asm.arith(Arith::Cmp, width, old, Gpr::RAX);
                let differs = asm.short_jcc(Cc::Ne);
                asm.store(size, mem, src);
                asm.patch_short(differs);
                return asm.mov(Width::W64, Gpr::RAX, old);
            }
        };
        asm.mov(width, new, old);
        asm.arith(arith, width, new, src);
        asm.store(size, mem, new);
        if fetch {
            asm.mov(Width::W64, src, old);
        }
    }

    /// Has the interpreter do it, at the guest address in the first scratch register.
    fn ask(&mut self, op: Op, pc: usize) {
        let value = match op {
            Op::Store { src, .. } => Some(src),
            Op::StoreRelease { src, .. } | Op::Atomic { src, .. } => Some(Operand::Reg(src)),
            _ => None,
        };
        match value {
            Some(Operand::Imm(imm)) => self.emitter.asm.mov_imm(SCRATCH3, imm as u64),
            Some(Operand::Reg(Reg::FP)) => self.frame_pointer(SCRATCH3),
            Some(Operand::Reg(src)) => {
                self.emitter.asm.mov(Width::W64, SCRATCH3, self.emitter.gpr(src));
            }
            None => {}
        }
        self.emitter.asm.mov_imm(SCRATCH2, pc as u64);
        let call = self.emitter.asm.branch(Branch::Call);
        self.to_access.push(call);
        let into = match op {
            Op::Load { dst, .. } | Op::LoadAcquire { dst, .. } => Some(dst),
            Op::Atomic { op: AtomicOp::Cmpxchg, .. } => Some(Reg::R0),
            Op::Atomic { fetch: true, src, .. } => Some(src),
            _ => None,
        };
        if let Some(into) = into {
            self.emitter.asm.mov(Width::W64, self.emitter.gpr(into), SCRATCH);
        }
    }

    /// What was put off.
    fn cold(&mut self) {
        for cold in std::mem::take(&mut self.cold) {
            match cold {
                Cold::Stop { from, pc, why } => {
                    self.arrive(from);
                    let asm = &mut self.emitter.asm;
                    asm.mov_imm(Gpr::RAX, pc as u64);
                    asm.mov_imm(Gpr::RDX, why);
                    let finish = asm.branch(Branch::Jmp);
                    self.to_finish.push(finish);
                }
                Cold::Absent { from, to } => {
                    self.arrive(from);
                    self.emitter.asm.clear(HOMES[0]);
                    self.emitter.asm.branch_to(Branch::Jmp, to);
                }
                Cold::Access { from, misaligned, to, pc, first, second } => {
                    let op = self.ops[pc];
                    let (size, writes, _) = shape(op);
                    self.arrive(from);
                    let asm = &mut self.emitter.asm;
                    asm.arith_mem(Arith::Add, Width::W64, SCRATCH2, first.start());
                    asm.mov(Width::W64, SCRATCH, SCRATCH2);
                    let slow = second.map(|second| {
                        let slow = self.look(second, size, writes);
                        self.perform_inside(op, second);
                        self.emitter.asm.branch_to(Branch::Jmp, to);
                        slow
                    });
                    if let Some(misaligned) = misaligned {
                        self.arrive(misaligned);
                        self.emitter.asm.mov(Width::W64, SCRATCH, SCRATCH2);
                    }
                    if let Some(slow) = slow {
                        self.arrive(slow);
                    }
                    self.ask(op, pc);
                    self.emitter.asm.branch_to(Branch::Jmp, to);
                }
            }
        }
    }

    fn arrive(&mut self, branch: usize) {
        let here = self.emitter.asm.len();
        self.emitter.asm.patch(branch, here);
    }

    /// Calls the interpreter's function for accesses: the guest address is in the first scratch
    /// register, the slot in the second, the value in the third; what was read comes back in the
    /// first. All other registers stay.
    fn access_stub(&mut self) {
        for call in std::mem::take(&mut self.to_access) {
            self.arrive(call);
        }
        let asm = &mut self.emitter.asm;
        KEPT.into_iter().for_each(|reg| asm.push(reg));
        asm.push(SCRATCH);
        asm.mov(Width::W64, Gpr::RDI, ENVIRONMENT);
        asm.mov(Width::W64, Gpr::RSI, SCRATCH);
        asm.mov(Width::W64, Gpr::RDX, SCRATCH2);
        asm.mov(Width::W64, Gpr::RCX, SCRATCH3);
        asm.mov(Width::W64, Gpr::R8, Gpr::RAX);
        asm.call_mem(env!(access));
        asm.mov(Width::W64, SCRATCH2, Gpr::RDX);
        asm.pop(SCRATCH);
        asm.mov(Width::W64, SCRATCH, Gpr::RAX);
        KEPT.into_iter().rev().for_each(|reg| asm.pop(reg));
        asm.test(Width::W32, SCRATCH2, SCRATCH2);
        let stopped = asm.branch(Branch::Jcc(Cc::Ne));
        asm.ret();
        self.to_stopped.push(stopped);
    }

    /// The way out of any depth.
    fn end(&mut self) {
        for stopped in std::mem::take(&mut self.to_stopped) {
            self.arrive(stopped);
        }
        self.emitter.asm.mov_imm(Gpr::RDX, STOPPED);
        for finish in std::mem::take(&mut self.to_finish) {
            self.arrive(finish);
        }
        self.emitter.asm.load(Size::Dw, false, Gpr::RSP, env!(native_stack));
        (self.saved, self.room) = (SAVED.into(), MAIN_ROOM);
        self.close();
    }
}

/// What the function that is entered from outside takes of the native stack beside saved registers.
const MAIN_ROOM: i32 = 8;

/// What is left of the budget of `may_goto`.
const LOOPS: Mem = Mem::new(Gpr::RSP, 0);

/// Size of an access, whether it writes, and whether it must be aligned.
fn shape(op: Op) -> (Size, bool, bool) {
    match op {
        Op::Load { size, .. } => (size, false, false),
        Op::LoadAcquire { size, .. } => (size, false, true),
        Op::Store { size, .. } => (size, true, false),
        Op::StoreRelease { size, .. } | Op::Atomic { size, .. } => (size, true, true),
        _ => (Size::B, false, false),
    }
}
