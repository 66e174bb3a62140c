//! The checked interpreter's loop.

use std::rc::Rc;

use bombus_isa::{AtomicOp, Imm64, Op, Operand, Reg, Size};

use crate::{Call, Execution, Host, MAX_LOOPS, Program, Return, Step, Trap, TrapKind, semantics};

/// The registers of one function, and which of them hold something.
struct Registers {
    values: [u64; 16],
    set: u16,
}

impl Registers {
    #[inline(always)]
    fn get(&self, reg: Reg) -> Result<u64, TrapKind> {
        if self.set & (1 << (reg.0 & 15)) == 0 {
            return Err(TrapKind::UninitializedRegister(reg.0));
        }
        Ok(self.values[usize::from(reg.0 & 15)])
    }

    #[inline(always)]
    fn operand(&self, operand: Operand) -> Result<u64, TrapKind> {
        match operand {
            Operand::Reg(reg) => self.get(reg),
            Operand::Imm(imm) => Ok(imm as u64),
        }
    }

    #[inline(always)]
    fn set(&mut self, reg: Reg, value: u64) {
        self.values[usize::from(reg.0 & 15)] = value;
        self.set |= 1 << (reg.0 & 15);
    }

    /// `r1` to `r5`.
    fn args(&self) -> Args {
        let values = std::array::from_fn(|index| self.values[index + 1]);
        Args { values, set: self.set >> 1 & 0b1_1111 }
    }

    /// What a call leaves: `r1` to `r5` are gone, `r0` is its value.
    fn after_call(&mut self, value: Option<u64>) {
        self.set &= !0b11_1111;
        if let Some(value) = value {
            self.set(Reg::R0, value);
        }
    }
}

/// What a function gets in `r1` to `r5`.
#[derive(Clone, Copy)]
pub(crate) struct Args {
    values: [u64; 5],
    set: u16,
}

impl Args {
    /// These arguments, and nothing in the other registers.
    pub(crate) fn new(given: &[u64]) -> Args {
        let mut values = [0; 5];
        values.iter_mut().zip(given).for_each(|(value, given)| *value = *given);
        Args { values, set: (1 << given.len().min(5)) - 1 }
    }

    /// For helpers: what is not there reads as 0.
    fn or_zero(self) -> [u64; 5] {
        std::array::from_fn(|i| if self.set >> i & 1 == 0 { 0 } else { self.values[i] })
    }
}

impl Execution<'_> {
    /// Runs a function in a frame of its own. `None`: it left `r0` undefined.
    pub(crate) fn enter<H: Host>(
        &mut self,
        program: &Rc<Program>,
        entry: usize,
        args: Args,
        host: &mut H,
    ) -> Result<Option<u64>, Trap> {
        let depth = self.depth;
        let (mut program, mut entry, mut args) = (program.clone(), entry, args);
        let value = loop {
            let mut pc = entry;
            match self.execute(&program, &mut pc, args, host) {
                Ok(End::Exit(None)) if depth == 0 => {
                    let kind = TrapKind::UninitializedRegister(0);
                    return Err(Trap { program: program.id(), pc, kind });
                }
                Ok(End::Exit(value)) => break value,
                Ok(End::TailCall(next, context)) => {
                    (program, entry, args) = (next, 0, Args::new(&[context]));
                    self.depth = depth;
                }
                Err(Stop::Here(kind)) => {
                    let here = Trap { program: program.id(), pc, kind };
                    return Err(self.stopped_inside.take().unwrap_or(here));
                }
                Err(Stop::Inner(trap)) => return Err(trap),
            }
        };
        self.depth = depth;
        Ok(value)
    }

    fn execute<H: Host>(
        &mut self,
        program: &Rc<Program>,
        at: &mut usize,
        args: Args,
        host: &mut H,
    ) -> Result<End, Stop> {
        let mut regs = Registers { values: [0; 16], set: args.set << 1 };
        regs.values[1..6].copy_from_slice(&args.values);
        regs.set(Reg::FP, self.push_frame()?);
        let (ops, entry) = (program.ops(), *at);
        let mut loops = MAX_LOOPS;
        loop {
            let pc = *at;
            let mut next = pc + 1;
            host.follow(&Step {
                slot: pc,
                registers: &regs.values,
                set: regs.set,
                frames: self.open_frames(),
            });
            match ops[pc] {
                Op::Alu { width, op, dst, src } => {
                    let b = regs.operand(src)?;
                    let a = if op == bombus_isa::AluOp::Mov { 0 } else { regs.get(dst)? };
                    regs.set(dst, semantics::alu(op, width, a, b));
                }
                Op::Neg { width, dst } => {
                    let a = regs.get(dst)?;
                    regs.set(dst, semantics::neg(width, a));
                }
                Op::MovSx { width, from, dst, src } => {
                    let a = regs.get(src)?;
                    regs.set(dst, semantics::movsx(width, from, a));
                }
                Op::End { order, size, dst } => {
                    let a = regs.get(dst)?;
                    regs.set(dst, semantics::endian(order, size, a));
                }
                Op::LoadImm64 { dst, imm } => {
                    let value = match imm {
                        Imm64::Value(value) => value,
                        Imm64::Func(distance) => Program::function_address(pc, distance),
                        // Program::new leaves nothing else.
                        _ => return Err(TrapKind::Unsupported.into()),
                    };
                    regs.set(dst, value);
                    next += 1;
                }
                Op::Load { size, signed, dst, base, off } => {
                    let address = displaced(regs.get(base)?, off);
                    regs.set(dst, self.load(host, address, size, signed)?);
                }
                Op::Store { size, base, off, src } => {
                    let address = displaced(regs.get(base)?, off);
                    let value = regs.operand(src)?;
                    put(self.write(host, address, size.bytes())?, value);
                }
                Op::Atomic { size, op, fetch, base, off, src } => {
                    let address = aligned(displaced(regs.get(base)?, off), size)?;
                    let operand = regs.get(src)?;
                    let expected = if op == AtomicOp::Cmpxchg { regs.get(Reg::R0)? } else { 0 };
                    let old = self.exchange(host, address, size, op, operand, expected)?;
                    if op == AtomicOp::Cmpxchg {
                        regs.set(Reg::R0, old);
                    } else if fetch {
                        regs.set(src, old);
                    }
                }
                Op::LoadAcquire { size, dst, base, off } => {
                    let address = aligned(displaced(regs.get(base)?, off), size)?;
                    let value = number(self.read(host, address, size.bytes())?);
                    regs.set(dst, value);
                }
                Op::StoreRelease { size, base, off, src } => {
                    let address = aligned(displaced(regs.get(base)?, off), size)?;
                    let value = regs.get(src)?;
                    put(self.write(host, address, size.bytes())?, value);
                }
                Op::Goto { off } => next = target(next, off.into()),
                Op::GotoLong { off } => next = target(next, off.into()),
                Op::MayGoto { off } => match loops.checked_sub(1) {
                    Some(left) => loops = left,
                    None => next = target(next, off.into()),
                },
                Op::JumpIf { width, cond, dst, src, off } => {
                    if semantics::compare(cond, width, regs.get(dst)?, regs.operand(src)?) {
                        next = target(next, off.into());
                    }
                }
                Op::CallHelper { id } => {
                    let args = regs.args().or_zero();
                    match host.call(self, &Call { helper: id, args, program })? {
                        Return::Value(value) => regs.after_call(Some(value)),
                        Return::TailCall(program) => return Ok(End::TailCall(program, args[0])),
                    }
                }
                Op::CallLocal { off } => {
                    let callee = target(next, off.into());
                    let value = self.enter(program, callee, regs.args(), host);
                    regs.after_call(value.map_err(Stop::Inner)?);
                }
                Op::LoadPacket { size, index, imm } => {
                    let index = index.map_or(Ok(0), |index| regs.get(index))?;
                    let (context, offset) =
                        (regs.get(Reg(6))?, semantics::packet_offset(index, imm));
                    let Some(number) = host.load_packet(self, context, offset, size)? else {
                        self.burn(pc.saturating_sub(entry) as u64 + 1)?;
                        return Ok(End::Exit(Some(0)));
                    };
                    regs.after_call(Some(number.into()));
                }
                Op::Exit => {
                    // Forward distance is paid for here, so that helpers which call a function
                    // again and again pay for it each time.
                    self.burn(pc.saturating_sub(entry) as u64 + 1)?;
                    return Ok(End::Exit(regs.get(Reg::R0).ok()));
                }
                Op::GotoRegister { dst } => {
                    let place = regs.get(dst)?;
                    next = program.place_at(entry, place).ok_or(TrapKind::BadFunction(place))?;
                }
                Op::AddrSpaceCast { dst, src, to } => {
                    let arena = program.arena().ok_or(TrapKind::Unsupported)?;
                    let value = regs.get(src)?;
                    regs.set(dst, arena.cast(to, value));
                }
                // Program::linked leaves none.
                Op::CallKfunc { .. } => return Err(TrapKind::Unsupported.into()),
            }
            if next <= pc {
                self.burn((pc - next) as u64 + 1)?;
            }
            *at = next;
        }
    }
}

/// What instructions do to memory.
impl Execution<'_> {
    #[inline(always)]
    fn load<H: Host>(
        &mut self,
        host: &mut H,
        address: u64,
        size: Size,
        signed: bool,
    ) -> Result<u64, TrapKind> {
        let value = number(self.read(host, address, size.bytes())?);
        Ok(if signed { semantics::sign_extend(size, value) } else { value })
    }

    /// An atomic read-modify-write operation; gives what was there.
    #[inline(always)]
    fn exchange<H: Host>(
        &mut self,
        host: &mut H,
        address: u64,
        size: Size,
        op: AtomicOp,
        operand: u64,
        expected: u64,
    ) -> Result<u64, TrapKind> {
        let memory = self.write(host, address, size.bytes())?;
        let old = number(memory);
        put(memory, semantics::atomic(op, size, old, operand, expected));
        Ok(old)
    }

    /// Does what an instruction does to the memory at an address, with the value of its operand and
    /// of `r0`; gives what it reads.
    pub(crate) fn access<H: Host>(
        &mut self,
        host: &mut H,
        op: Op,
        address: u64,
        value: u64,
        expected: u64,
    ) -> Result<u64, TrapKind> {
        match op {
            Op::Load { size, signed, .. } => self.load(host, address, size, signed),
            Op::LoadAcquire { size, .. } => self.load(host, aligned(address, size)?, size, false),
            Op::Store { size, .. } => {
                put(self.write(host, address, size.bytes())?, value);
                Ok(0)
            }
            Op::StoreRelease { size, .. } => {
                put(self.write(host, aligned(address, size)?, size.bytes())?, value);
                Ok(0)
            }
            Op::Atomic { size, op, .. } => {
                self.exchange(host, aligned(address, size)?, size, op, value, expected)
            }
            _ => Err(TrapKind::Unsupported),
        }
    }
}

/// How a function ended.
enum End {
    Exit(Option<u64>),
    /// The program to go on with, and its context.
    TailCall(Rc<Program>, u64),
}

/// Why a function did not end.
enum Stop {
    /// The current instruction is at fault.
    Here(TrapKind),
    /// An instruction of a function that it called.
    Inner(Trap),
}

impl From<TrapKind> for Stop {
    fn from(kind: TrapKind) -> Stop {
        Stop::Here(kind)
    }
}

#[inline(always)]
fn displaced(base: u64, off: i16) -> u64 {
    base.wrapping_add(off as u64)
}

/// The slot `distance` after `next`. Validation has seen that it is one.
#[inline(always)]
fn target(next: usize, distance: i64) -> usize {
    next.wrapping_add(distance as usize)
}

fn aligned(address: u64, size: Size) -> Result<u64, TrapKind> {
    if address.is_multiple_of(size.bytes() as u64) {
        Ok(address)
    } else {
        Err(TrapKind::Misaligned(address))
    }
}

/// A little-endian number of 1, 2, 4 or 8 bytes.
#[inline(always)]
fn number(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// Stores the low bytes of a number.
#[inline(always)]
fn put(memory: &mut [u8], value: u64) {
    let len = memory.len();
    memory.copy_from_slice(&value.to_le_bytes()[..len]);
}
