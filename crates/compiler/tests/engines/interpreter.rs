//! Runs IR as it stands. Addresses are a region and an offset.

use bombus_compiler::ir::{Block, Function, LoadWidth, Module, Op, StackSlot, Term, Value};
use bombus_compiler::passes::eval;
use bombus_platform::Helper;

use super::Outcome;

const REGION: u64 = 1 << 32;
const CONTEXT: u64 = 1;
const FIRST_MAP: u64 = 0x10;
const FIRST_SLOT: u64 = 0x1000;
/// Stands for the address of a function.
const CODE: u64 = 0x7fff;

struct Machine<'a> {
    module: &'a Module,
    context: Vec<u8>,
    maps: Vec<Vec<u8>>,
    slots: Vec<Vec<u8>>,
    fuel: u32,
}

/// Runs the entry over a context.
pub(crate) fn run(module: &Module, context: &[u8], maps: &[u32]) -> Result<Outcome, String> {
    let maps = maps.iter().map(|&size| vec![0; size as usize]).collect();
    let mut machine =
        Machine { module, context: context.to_vec(), maps, slots: Vec::new(), fuel: 1_000_000 };
    let value = machine.call(0, &[CONTEXT * REGION])?;
    Ok((value, machine.context))
}

impl Machine<'_> {
    fn call(&mut self, func: u32, args: &[u64]) -> Result<u64, String> {
        let func = &self.module.functions[func as usize];
        let first = self.slots.len();
        self.slots.extend(func.slots.iter().map(|slot| vec![0; slot.size as usize]));
        let frame = Frame { func, first, values: vec![0; func.values as usize] };
        let result = frame.run(self, args);
        self.slots.truncate(first);
        result
    }

    fn memory(&mut self, address: u64, len: usize) -> Result<&mut [u8], String> {
        let (region, offset) = (address / REGION, (address % REGION) as usize);
        let bytes = match region {
            CONTEXT => Some(&mut self.context),
            FIRST_SLOT.. => self.slots.get_mut((region - FIRST_SLOT) as usize),
            FIRST_MAP.. => self.maps.get_mut((region - FIRST_MAP) as usize),
            _ => None,
        };
        bytes
            .and_then(|bytes| bytes.get_mut(offset..offset.checked_add(len)?))
            .ok_or_else(|| format!("no memory at {address:#x}"))
    }

    fn load(&mut self, address: u64, len: usize) -> Result<u64, String> {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(self.memory(address, len)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn helper(&mut self, helper: Helper, args: &[u64]) -> Result<u64, String> {
        match helper {
            Helper::GetCurrentPidTgid => Ok(super::vm::PID_TGID),
            Helper::MapLookupElem => {
                let key = self.load(args[1], 4)?;
                Ok(if key == 0 { args[0] } else { 0 })
            }
            Helper::MapUpdateElem => {
                if self.load(args[1], 4)? != 0 {
                    return Ok(-7_i64 as u64);
                }
                let len = self.maps[(args[0] / REGION - FIRST_MAP) as usize].len();
                let value = self.memory(args[2], len)?.to_vec();
                self.memory(args[0], len)?.copy_from_slice(&value);
                Ok(0)
            }
            Helper::Loop => {
                for i in 0..args[0] {
                    if self.call((args[1] % REGION) as u32, &[i, args[2]])? != 0 {
                        return Ok(i + 1);
                    }
                }
                Ok(args[0])
            }
            _ => Err(format!("no helper {}", helper.name())),
        }
    }
}

struct Frame<'a> {
    func: &'a Function,
    /// Position of its first slot in the machine.
    first: usize,
    values: Vec<u64>,
}

impl Frame<'_> {
    fn run(mut self, machine: &mut Machine<'_>, args: &[u64]) -> Result<u64, String> {
        let mut block = self.func.layout[0];
        self.enter(block, args);
        loop {
            for inst in &self.func.blocks[block.index()].insts {
                machine.fuel = machine.fuel.checked_sub(1).ok_or("endless")?;
                let value = self.op(machine, &inst.op)?;
                if let Some(result) = inst.result {
                    self.values[result.index()] = value;
                }
            }
            machine.fuel = machine.fuel.checked_sub(1).ok_or("endless")?;
            let target = match self.func.term(block) {
                Term::Jump(target) => target,
                Term::Branch(test, then, otherwise) => {
                    if self.get(*test) != 0 {
                        then
                    } else {
                        otherwise
                    }
                }
                Term::Return(value) => return Ok(self.get(*value)),
                Term::Unreachable => return Err("unreachable is reached".into()),
            };
            let args: Vec<u64> = target.args.iter().map(|&arg| self.get(arg)).collect();
            block = target.block;
            self.enter(block, &args);
        }
    }

    fn enter(&mut self, block: Block, args: &[u64]) {
        for (param, &arg) in self.func.blocks[block.index()].params.iter().zip(args) {
            self.values[param.index()] = arg;
        }
    }

    fn get(&self, value: Value) -> u64 {
        self.values[value.index()]
    }

    fn at(&self, base: Value, offset: i32) -> u64 {
        self.get(base).wrapping_add_signed(i64::from(offset))
    }

    fn slot(&self, slot: StackSlot) -> u64 {
        (FIRST_SLOT + (self.first + slot.index()) as u64) * REGION
    }

    fn op(&self, machine: &mut Machine<'_>, op: &Op) -> Result<u64, String> {
        let signed = |value: Value| self.get(value) as i64;
        Ok(match op {
            Op::Const(number) => *number as u64,
            Op::Unary(op, a) => eval::unary(*op, signed(*a)) as u64,
            Op::Binary(op, a, b) => eval::binary(*op, signed(*a), signed(*b)) as u64,
            Op::Compare(cond, a, b) => eval::compare(*cond, signed(*a), signed(*b)).into(),
            Op::Select(test, a, b) => self.get(if self.get(*test) != 0 { *a } else { *b }),
            Op::Load { width, base, offset } => {
                let value = machine.load(self.at(*base, *offset), width.bytes() as usize)? as i64;
                match width {
                    LoadWidth::S8 => i64::from(value as i8) as u64,
                    LoadWidth::S16 => i64::from(value as i16) as u64,
                    LoadWidth::S32 => i64::from(value as i32) as u64,
                    _ => value as u64,
                }
            }
            Op::Store { bytes, value, base, offset } => {
                let len = usize::from(*bytes);
                let value = self.get(*value).to_le_bytes();
                machine.memory(self.at(*base, *offset), len)?.copy_from_slice(&value[..len]);
                0
            }
            Op::AtomicAdd { bytes, value, base, offset } => {
                let (len, address) = (usize::from(*bytes), self.at(*base, *offset));
                let sum = machine.load(address, len)?.wrapping_add(self.get(*value));
                machine.memory(address, len)?.copy_from_slice(&sum.to_le_bytes()[..len]);
                0
            }
            Op::Zero { base, offset, size } => {
                machine.memory(self.at(*base, *offset), *size as usize)?.fill(0);
                0
            }
            Op::Copy { to, to_offset, from, from_offset, size, .. } => {
                let bytes = machine.memory(self.at(*from, *from_offset), *size as usize)?.to_vec();
                machine.memory(self.at(*to, *to_offset), *size as usize)?.copy_from_slice(&bytes);
                0
            }
            Op::SlotAddr(slot) => self.slot(*slot),
            Op::MapAddr(map) => (FIRST_MAP + u64::from(map.0)) * REGION,
            Op::MapValueAddr(map, offset) => {
                (FIRST_MAP + u64::from(map.0)) * REGION + u64::from(*offset)
            }
            Op::FuncAddr(func) => CODE * REGION + u64::from(func.0),
            Op::CallHelper(helper, args) => {
                let args: Vec<u64> = args.iter().map(|&arg| self.get(arg)).collect();
                machine.helper(*helper, &args)?
            }
            Op::Call(func, args) => {
                let args: Vec<u64> = args.iter().map(|&arg| self.get(arg)).collect();
                machine.call(func.0, &args)?
            }
        })
    }
}
