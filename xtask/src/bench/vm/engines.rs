//! The engines, behind one function each.

use std::rc::Rc;

use bombus_vm::fast::FastProgram;
use bombus_vm::jit::JitProgram;
use bombus_vm::jit::x64::X64;
use bombus_vm::native::{Callee, Environment, Linker};
use bombus_vm::{Call, Context, Execution, Host, Return, Stack, TrapKind};

use super::programs::Program;
use super::{Measured, measure};

/// Helper that gives 0, and helper that looks up; `vm.h` has their numbers.
pub(super) const HELPER: i32 = 100;
pub(super) const LOOKUP: i32 = 101;

/// An engine.
pub(super) struct Engine {
    pub(super) name: &'static str,
    pub(super) measure: fn(&Program) -> Result<Measured, String>,
}

/// The JIT's tiers, the fast interpreter.
pub(super) const TIERS: [&str; 2] = ["our JIT", "our optimising JIT"];
pub(super) const FAST: &str = "our interpreter";
/// Those that no program may be slower than.
pub(super) const PEERS: [&str; 2] = ["rbpf JIT", "kernel JIT"];

/// All of them.
pub(super) const ALL: &[Engine] = &[
    Engine { name: TIERS[0], measure: jit },
    Engine { name: TIERS[1], measure: optimising_jit },
    Engine { name: PEERS[0], measure: rbpf_jit },
    Engine { name: PEERS[1], measure: super::kernel::jit },
    Engine { name: FAST, measure: fast },
    Engine { name: "our checked interpreter", measure: checked },
    Engine { name: "rbpf interpreter", measure: rbpf_interpreter },
];

/// Memory as aligned as that of the machine's own code.
#[repr(align(64))]
struct Memory([u8; 16384]);

impl Memory {
    fn of(program: &Program) -> Result<Box<Memory>, String> {
        let bytes = program.memory.as_slice().try_into();
        Ok(Box::new(Memory(bytes.map_err(|_| "vm.h has another size of memory")?)))
    }
}

/// A program as our engines take it.
pub(super) fn valid(code: &[bombus_isa::Insn]) -> Result<Rc<bombus_vm::Program>, String> {
    bombus_vm::Program::new(code, 0, &mut |_| None).map_err(|error| error.to_string())
}

/// The JIT's two tiers.
pub(super) fn tier(optimise: bool) -> X64 {
    X64 { optimise, ..X64::of_this_machine() }
}

fn jit(program: &Program) -> Result<Measured, String> {
    machine_code(program, false)
}

fn optimising_jit(program: &Program) -> Result<Measured, String> {
    machine_code(program, true)
}

fn machine_code(program: &Program, optimise: bool) -> Result<Measured, String> {
    let compiled = JitProgram::compile_for(&tier(optimise), &*valid(&program.code)?, &Helpers);
    let compiled = compiled.map_err(|error| error.to_string())?;
    native(program, |args, env| {
        // SAFETY: the checked interpreter runs the same programs on the same memory.
        unsafe { compiled.run(args, env) }
    })
}

fn fast(program: &Program) -> Result<Measured, String> {
    let compiled = FastProgram::compile(&*valid(&program.code)?, &Helpers);
    let compiled = compiled.map_err(|error| error.to_string())?;
    native(program, |args, env| {
        // SAFETY: as `jit`.
        unsafe { compiled.run(args, env) }
    })
}

fn native(
    program: &Program,
    mut run: impl FnMut([u64; 5], &mut Environment) -> u64,
) -> Result<Measured, String> {
    let mut memory = Memory::of(program)?;
    let args = [memory.0.as_mut_ptr().expose_provenance() as u64, memory.0.len() as u64, 0, 0, 0];
    let mut env = Environment::new(std::ptr::null_mut());
    let value = run(args, &mut env);
    Ok(Measured { value, ..measure(|| run(args, &mut env)) })
}

fn checked(program: &Program) -> Result<Measured, String> {
    let valid = valid(&program.code)?;
    let (mut memory, mut stack) = (Memory::of(program)?, Stack::default());
    let mut run = || {
        let context = Context::Writable(&mut memory.0);
        let value = Execution::new(&mut stack, context).run(&valid, &mut Checked);
        value.map_err(|trap| trap.to_string())
    };
    let value = run()?;
    Ok(Measured { value, ..measure(|| run().unwrap_or_default()) })
}

fn rbpf_jit(program: &Program) -> Result<Measured, String> {
    let (bytes, mut memory) = (bytes(program), Memory::of(program)?);
    let mut vm = rbpf_vm(&bytes)?;
    vm.jit_compile().map_err(|error| error.to_string())?;
    // SAFETY: as `jit`; only one run at a time has the memory.
    let mut run = || unsafe { vm.execute_program_jit(lend(&mut memory)) };
    let value = run().map_err(|error| error.to_string())?;
    Ok(Measured { value, ..measure(|| run().unwrap_or_default()) })
}

fn rbpf_interpreter(program: &Program) -> Result<Measured, String> {
    let (bytes, mut memory) = (bytes(program), Memory::of(program)?);
    let vm = rbpf_vm(&bytes)?;
    // SAFETY: only one run at a time has the memory.
    let mut run = || vm.execute_program(unsafe { lend(&mut memory) });
    let value = run().map_err(|error| error.to_string())?;
    Ok(Measured { value, ..measure(|| run().unwrap_or_default()) })
}

/// The memory for as long as rbpf wants it, which is as long as it has the program.
///
/// # Safety
///
/// Nobody may use it but the run that it is lent to.
unsafe fn lend<'a>(memory: &mut Memory) -> &'a mut [u8] {
    // SAFETY: the memory is there while programs run, the rest is the caller's.
    unsafe { std::slice::from_raw_parts_mut(memory.0.as_mut_ptr(), memory.0.len()) }
}

fn bytes(program: &Program) -> Vec<u8> {
    program.code.iter().flat_map(|insn| insn.to_bytes()).collect()
}

fn rbpf_vm(bytes: &[u8]) -> Result<rbpf::EbpfVmRaw<'_>, String> {
    let mut vm = rbpf::EbpfVmRaw::new(Some(bytes)).map_err(|error| error.to_string())?;
    let helpers: [(i32, rbpf::ebpf::Helper); 2] = [
        (HELPER, |value, _, _, _, _| nothing(value)),
        (LOOKUP, |table, key, _, _, _| {
            // SAFETY: as `lookup`.
            unsafe { find(table, key) }
        }),
    ];
    for (id, helper) in helpers {
        vm.register_helper(id as u32, helper).map_err(|error| error.to_string())?;
    }
    Ok(vm)
}

/// For our fast engines.
pub(super) struct Helpers;

impl Linker for Helpers {
    fn helper(&self, id: i32) -> Option<Callee> {
        match id {
            HELPER => Some(Callee::Helper(helper)),
            LOOKUP => Some(Callee::Helper(lookup)),
            _ => None,
        }
    }
}

unsafe extern "C" fn helper(
    value: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &mut Environment,
) -> u64 {
    nothing(value)
}

/// # Safety
///
/// `table` and `key` must be addresses of what they say.
unsafe extern "C" fn lookup(
    table: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &mut Environment,
) -> u64 {
    // SAFETY: the caller's.
    unsafe { find(table, key) }
}

#[inline(always)]
fn nothing(value: u64) -> u64 {
    std::hint::black_box(value);
    0
}

/// One place of `struct table` in `vm.h`.
#[repr(C)]
struct Place {
    key: u32,
    unused: u32,
    value: u64,
}

/// What `lookup` in `native.c` does.
///
/// # Safety
///
/// `table` and `key` must be addresses of what they say.
#[inline(always)]
unsafe fn find(table: u64, key: u64) -> u64 {
    let places = std::ptr::with_exposed_provenance::<Place>(table as usize);
    // SAFETY: the caller's.
    let key = unsafe { *std::ptr::with_exposed_provenance::<u32>(key as usize) };
    let mut at = place_of(key);
    loop {
        // SAFETY: there are 256 places, the caller's.
        let place = unsafe { &*places.add(at) };
        if place.key == key {
            return (&raw const place.value).expose_provenance() as u64;
        }
        if place.key == 0 {
            return 0;
        }
        at = (at + 1) % 256;
    }
}

fn place_of(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> 24) as usize
}

/// For the checked interpreter.
struct Checked;

impl Host for Checked {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [table, key, ..] = call.args;
        let value = match call.helper {
            HELPER => nothing(table),
            LOOKUP => {
                let mut number = |at: u64| -> Result<u32, TrapKind> {
                    let bytes = vm.read(self, at, 4)?;
                    Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
                };
                let key = number(key)?;
                let mut at = place_of(key);
                loop {
                    let place = table + (at * size_of::<Place>()) as u64;
                    match number(place)? {
                        found if found == key => break place + 8,
                        0 => break 0,
                        _ => at = (at + 1) % 256,
                    }
                }
            }
            other => return Err(TrapKind::UnknownHelper(other)),
        };
        Ok(Return::Value(value))
    }

    fn memory(&mut self, _: u64, _: usize) -> Option<&[u8]> {
        None
    }

    fn memory_mut(&mut self, _: u64, _: usize) -> Option<&mut [u8]> {
        None
    }
}
