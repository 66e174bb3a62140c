//! Runs the code on the checked interpreter.

use bombus_compiler::Compiled;
use bombus_isa::{Imm64, Insn};
use bombus_platform::Helper;
use bombus_spec::{MapSpec, Reference};
use bombus_vm::{Call, Context, Execution, Host, Program, Return, Stack, TrapKind, address};

use super::Outcome;

/// What the helper for the process tells in tests.
pub(crate) const PID_TGID: u64 = (0x1234_5678 << 32) | 0x9abc_def0;

struct Maps(Vec<Vec<u8>>);

fn map_address(map: usize) -> u64 {
    address::pack(address::FIRST_HOST_REGION + map as u32, 0)
}

impl Maps {
    fn region(&mut self, address: u64) -> Option<&mut Vec<u8>> {
        let region = address::region(address).checked_sub(address::FIRST_HOST_REGION)?;
        self.0.get_mut(region as usize)
    }
}

impl Host for Maps {
    fn call(&mut self, execution: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let args = call.args;
        let value = match Helper::from_id(call.helper) {
            Some(Helper::GetCurrentPidTgid) => PID_TGID,
            Some(Helper::MapLookupElem) => {
                let is_first = execution.read(self, args[1], 4)? == [0; 4];
                if is_first { args[0] } else { 0 }
            }
            Some(Helper::MapUpdateElem) => {
                if execution.read(self, args[1], 4)? != [0; 4] {
                    return Ok(Return::Value(-7_i64 as u64));
                }
                let len = self.region(args[0]).map_or(0, |map| map.len());
                let value = execution.read(self, args[2], len)?.to_vec();
                if let Some(map) = self.region(args[0]) {
                    *map = value;
                }
                0
            }
            Some(Helper::Loop) => {
                let mut done = args[0];
                for i in 0..args[0] {
                    if execution.callback(call.program, args[1], &[i, args[2]], self)? != 0 {
                        done = i + 1;
                        break;
                    }
                }
                done
            }
            _ => return Err(TrapKind::UnknownHelper(call.helper)),
        };
        Ok(Return::Value(value))
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let at = address::offset(address) as usize;
        self.region(address)?.get(at..at.checked_add(len)?)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = address::offset(address) as usize;
        self.region(address)?.get_mut(at..at.checked_add(len)?)
    }
}

/// Slots with the numbers of maps where their file descriptors will be.
pub(crate) fn with_map_numbers(compiled: &Compiled, fds: &[i32]) -> Vec<Insn> {
    let patch = |slot: &bombus_spec::SpecInsn| {
        let mut insn = slot.insn;
        if let Some(Reference::Map(map) | Reference::MapValue { map, .. }) = slot.reference {
            insn.imm = fds[map as usize];
        }
        insn
    };
    compiled.insns.iter().map(patch).collect()
}

/// Runs the program over a context.
pub(crate) fn run(
    compiled: &Compiled,
    context: &[u8],
    maps: &[MapSpec],
) -> Result<Outcome, String> {
    let fds: Vec<i32> = (0..maps.len() as i32).collect();
    let insns = with_map_numbers(compiled, &fds);
    let mut resolve = |imm| match imm {
        Imm64::MapFd(map) => Some(map_address(map as usize)),
        Imm64::MapValue { fd, offset } => Some(map_address(fd as usize) + u64::from(offset)),
        _ => None,
    };
    let program = Program::new(&insns, 0, &mut resolve).map_err(|error| error.to_string())?;
    let mut host = Maps(maps.iter().map(|map| vec![0; map.value_size as usize]).collect());
    let mut stack = Stack::default();
    let mut context = context.to_vec();
    let mut execution = Execution::new(&mut stack, Context::Writable(&mut context));
    let value = execution.run(&program, &mut host).map_err(|trap| format!("{trap:?}"))?;
    Ok((value, context))
}
