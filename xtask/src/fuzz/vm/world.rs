//! What programs can see and change, and our engines running them on it.

#![allow(unsafe_code, reason = "runs engines that check nothing")]

use std::rc::Rc;

use bombus_isa::Imm64;
use bombus_platform::Helper;
use bombus_vm::fast::FastProgram;
use bombus_vm::jit::JitProgram;
use bombus_vm::jit::x64::X64;
use bombus_vm::native::{Callee, Environment, Linker, Lookup};
use bombus_vm::{
    Call, Context, Execution, Guests, Host, Program, Return, Stack, Tables, TrapKind, View, address,
};

use super::generate::{ARRAY, Case, HASH, HASH_ROOM, HASH_VALUE, PACKET, VALUE};
use crate::fuzz::random::Random;

/// What a run starts with, and what it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    pub(super) packet: [u8; PACKET],
    /// The array's only value.
    pub(super) element: [u8; VALUE],
    /// The hash, sorted.
    pub(super) hash: Vec<(u32, [u8; HASH_VALUE])>,
    /// What the program gave.
    pub(super) value: u32,
}

impl State {
    pub(super) fn new(random: &mut Random) -> State {
        fn fill<const N: usize>(random: &mut Random) -> [u8; N] {
            let mut bytes = [0; N];
            for word in bytes.chunks_mut(8) {
                let next = match random.below(4) {
                    0 => random.below(300) as u64,
                    1 => (random.next() as i16) as u64,
                    _ => random.next(),
                };
                word.copy_from_slice(&next.to_le_bytes());
            }
            bytes
        }
        let (packet, element) = (fill(random), fill(random));
        let keys = (0..HASH_ROOM as u32 + 4).filter(|_| random.once_in(3)).take(HASH_ROOM);
        let keys: Vec<u32> = keys.collect();
        let hash = keys.into_iter().map(|key| (key, fill(random))).collect();
        State { packet, element, hash, value: 0 }
    }
}

/// The maps and the packet, in places that do not move.
struct World {
    packet: Box<[u8; PACKET]>,
    maps: Maps,
}

/// An array of one value, and a hash.
struct Maps {
    element: Box<[u8; VALUE]>,
    keys: [Option<u32>; HASH_ROOM],
    values: Box<[u8; HASH_ROOM * HASH_VALUE]>,
}

const EEXIST: i64 = -(libc::EEXIST as i64);
const EINVAL: i64 = -(libc::EINVAL as i64);
const ENOENT: i64 = -(libc::ENOENT as i64);
const E2BIG: i64 = -(libc::E2BIG as i64);

impl World {
    fn new() -> World {
        let (packet, element) = (Box::new([0; PACKET]), Box::new([0; VALUE]));
        let maps = Maps { element, keys: [None; HASH_ROOM], values: Box::new([0; _]) };
        World { packet, maps }
    }

    fn set(&mut self, state: &State) {
        *self.packet = state.packet;
        *self.maps.element = state.element;
        self.maps.keys = [None; HASH_ROOM];
        for (slot, (key, value)) in state.hash.iter().enumerate() {
            self.maps.keys[slot] = Some(*key);
            self.maps.values[slot * HASH_VALUE..][..HASH_VALUE].copy_from_slice(value);
        }
    }

    fn state(&self, value: u64) -> State {
        let slots = self.maps.keys.iter().zip(self.maps.values.as_chunks().0);
        let mut hash: Vec<_> = slots.filter_map(|(key, value)| Some(((*key)?, *value))).collect();
        hash.sort();
        State { packet: *self.packet, element: *self.maps.element, hash, value: value as u32 }
    }
}

impl Maps {
    fn slot(&self, key: u32) -> Option<usize> {
        self.keys.iter().position(|other| *other == Some(key))
    }

    /// Which value of the hash an update goes to (`htab_map_update_elem`, `kernel/bpf/hashtab.c`).
    fn update(&mut self, key: u32, flags: u64) -> Result<usize, i64> {
        match (self.slot(key), flags) {
            (_, 3..) => Err(EINVAL),
            (Some(_), 1) => Err(EEXIST),
            (None, 2) => Err(ENOENT),
            (Some(slot), _) => Ok(slot),
            (None, _) => {
                let free = self.keys.iter().position(Option::is_none).ok_or(E2BIG)?;
                self.keys[free] = Some(key);
                Ok(free)
            }
        }
    }

    fn delete(&mut self, key: u32) -> i64 {
        match self.slot(key) {
            Some(slot) => {
                self.keys[slot] = None;
                0
            }
            None => ENOENT,
        }
    }

    /// Whether an update of the array is in order (`array_map_update_elem`).
    fn check_array_update(key: u32, flags: u64) -> Result<(), i64> {
        match (key, flags) {
            (_, 3..) => Err(EINVAL),
            (1.., _) => Err(E2BIG),
            (_, 1) => Err(EEXIST),
            _ => Ok(()),
        }
    }
}

/// Guest addresses of the checked interpreter.
mod guest {
    use super::address::{FIRST_HOST_REGION, offset, pack, region};

    pub(super) const PACKET: u32 = FIRST_HOST_REGION;
    pub(super) const ELEMENT: u32 = FIRST_HOST_REGION + 1;
    pub(super) const VALUES: u32 = FIRST_HOST_REGION + 2;
    pub(super) const MAPS: u32 = FIRST_HOST_REGION + 3;

    pub(super) const fn map(fd: i32) -> u64 {
        pack(MAPS, fd as u64)
    }

    /// The map that such an address names.
    pub(super) const fn map_at(address: u64) -> Option<usize> {
        if region(address) == MAPS { Some(offset(address) as usize) } else { None }
    }

    /// A value of the hash.
    pub(super) const fn value(slot: usize) -> u64 {
        pack(VALUES, (slot * super::HASH_VALUE) as u64)
    }
}

impl Host for World {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, d, _] = call.args;
        let mut key = || -> Result<u32, TrapKind> {
            let bytes = vm.read(self, b, 4)?;
            Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
        };
        let array = a == guest::map(ARRAY);
        let value = match Helper::from_id(call.helper) {
            Some(Helper::MapLookupElem) => match (key()?, array) {
                (0, true) => address::pack(guest::ELEMENT, 0),
                (_, true) => 0,
                (key, false) => self.maps.slot(key).map_or(0, guest::value),
            },
            Some(Helper::MapUpdateElem) => {
                let key = key()?;
                let bytes = vm.read(self, c, if array { VALUE } else { HASH_VALUE })?.to_vec();
                let result = if array {
                    Maps::check_array_update(key, d)
                        .map(|()| self.maps.element.copy_from_slice(&bytes))
                } else {
                    self.maps.update(key, d).map(|slot| {
                        self.maps.values[slot * HASH_VALUE..][..HASH_VALUE].copy_from_slice(&bytes);
                    })
                };
                result.err().unwrap_or(0) as u64
            }
            Some(Helper::MapDeleteElem) => {
                let key = key()?;
                (if array { EINVAL } else { self.maps.delete(key) }) as u64
            }
            Some(Helper::Loop) => {
                let mut round = 0;
                while round < a {
                    round += 1;
                    if vm.callback(call.program, b, &[round - 1, c], self)? != 0 {
                        break;
                    }
                }
                round
            }
            _ => return Err(TrapKind::UnknownHelper(call.helper)),
        };
        Ok(Return::Value(value))
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        self.memory_mut(address, len).map(|bytes| &*bytes)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let memory: &mut [u8] = match address::region(address) {
            guest::PACKET => &mut *self.packet,
            guest::ELEMENT => &mut *self.maps.element,
            guest::VALUES => &mut *self.maps.values,
            _ => return None,
        };
        let at = address::offset(address) as usize;
        memory.get_mut(at..at.checked_add(len)?)
    }

    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        let start = |region| address::pack(region, 0);
        view.subject(start(guest::PACKET), Context::Writable(&mut *self.packet));
        view.tables(recent, &mut self.maps);
    }
}

impl Tables for Maps {
    fn look_up(&mut self, map: usize, key: &[u8]) -> Option<(u64, Context<'_>)> {
        let key = u32::from_le_bytes(*key.first_chunk()?);
        if map as i32 == ARRAY {
            return (key == 0).then(|| self.around(address::pack(guest::ELEMENT, 0)))?;
        }
        let slot = self.slot(key)?;
        let value = &mut self.values[slot * HASH_VALUE..][..HASH_VALUE];
        Some((guest::value(slot), Context::Writable(value)))
    }

    fn around(&mut self, address: u64) -> Option<(u64, Context<'_>)> {
        let start = address::pack(address::region(address), 0);
        match address::region(address) {
            guest::ELEMENT => Some((start, Context::Writable(&mut *self.element))),
            guest::VALUES => Some((start, Context::Writable(&mut *self.values))),
            _ => None,
        }
    }
}

/// The world, for programs that hold addresses of this process.
struct Native {
    world: World,
}

/// What such programs hold in place of a map.
const fn native_map(fd: i32) -> u64 {
    0x1000 + fd as u64
}

/// The world and the key of a call.
///
/// # Safety
///
/// The environment must be one of [`Engines::run`]'s, and `key` the address of a key.
unsafe fn world_and_key<'a>(key: u64, environment: &mut Environment) -> (&'a mut World, u32) {
    // SAFETY: the caller vouches for both; nobody else has the world while the program runs.
    unsafe { (&mut *environment.host.cast::<World>(), (key as *const u32).read_unaligned()) }
}

unsafe extern "C" fn lookup(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    environment: &mut Environment,
) -> u64 {
    // SAFETY: programs of the generator give the address of a key.
    let (world, key) = unsafe { world_and_key(key, environment) };
    if map == native_map(ARRAY) {
        return if key == 0 { world.maps.element.as_mut_ptr() as u64 } else { 0 };
    }
    let values = world.maps.values.as_mut_ptr() as u64;
    world.maps.slot(key).map_or(0, |slot| values + (slot * HASH_VALUE) as u64)
}

unsafe extern "C" fn update(
    map: u64,
    key: u64,
    value: u64,
    flags: u64,
    _: u64,
    environment: &mut Environment,
) -> u64 {
    // SAFETY: programs of the generator give the address of a key.
    let (world, key) = unsafe { world_and_key(key, environment) };
    let to = if map == native_map(ARRAY) {
        Maps::check_array_update(key, flags).map(|()| &mut world.maps.element[..])
    } else {
        let slot = world.maps.update(key, flags);
        slot.map(|slot| &mut world.maps.values[slot * HASH_VALUE..][..HASH_VALUE])
    };
    match to {
        Ok(to) => {
            // SAFETY: and that of a value; it may be the very place that it goes to.
            unsafe { std::ptr::copy(value as *const u8, to.as_mut_ptr(), to.len()) };
            0
        }
        Err(errno) => errno as u64,
    }
}

unsafe extern "C" fn delete(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    environment: &mut Environment,
) -> u64 {
    // SAFETY: programs of the generator give the address of a key.
    let (world, key) = unsafe { world_and_key(key, environment) };
    (if map == native_map(ARRAY) { EINVAL } else { world.maps.delete(key) }) as u64
}

unsafe extern "C" fn repeat(
    rounds: u64,
    function: u64,
    context: u64,
    _: u64,
    _: u64,
    environment: &mut Environment,
) -> u64 {
    let mut round = 0;
    while round < rounds {
        round += 1;
        // SAFETY: programs of the generator give one of their functions.
        if unsafe { environment.call_back(function, [round - 1, context, 0, 0, 0]) } != 0 {
            break;
        }
    }
    round
}

impl Linker for Native {
    fn helper(&self, id: i32) -> Option<Callee> {
        Some(Callee::Helper(match Helper::from_id(id)? {
            Helper::MapLookupElem => lookup,
            Helper::MapUpdateElem => update,
            Helper::MapDeleteElem => delete,
            Helper::Loop => repeat,
            _ => return None,
        }))
    }

    fn lookup(&self, map: u64) -> Option<Lookup> {
        let base = self.world.maps.element.as_ptr() as u64;
        let array = Lookup::Array { base, stride: VALUE as u32, len: 1 };
        (map == native_map(ARRAY)).then_some(array)
    }
}

/// Our engines, and the world that they work on.
pub(super) struct Engines {
    checked: World,
    native: Native,
    stack: Stack,
}

/// A case, ready to run on all of them.
pub(super) struct Loaded {
    checked: Rc<Program>,
    /// With guarded machine code, if there is some.
    pub(super) guarded: Option<Rc<Program>>,
    /// Name and machine code.
    fast: Option<FastProgram>,
    jits: Vec<(&'static str, JitProgram)>,
}

impl Engines {
    pub(super) fn new() -> Engines {
        let (checked, native) = (World::new(), Native { world: World::new() });
        Engines { checked, native, stack: Stack::default() }
    }

    /// Loads it into the checked interpreter, and into the others if they are asked for.
    pub(super) fn load(&self, case: &Case, others: bool) -> Result<Loaded, String> {
        let program = |map: fn(i32) -> u64| {
            let mut resolve = |imm| match imm {
                Imm64::MapFd(fd @ (ARRAY | HASH)) => Some(map(fd)),
                _ => None,
            };
            Program::new(case.own(), 0, &mut resolve).map_err(|invalid| invalid.to_string())
        };
        let native = program(native_map)?;
        let own = X64::of_this_machine();
        let plain = X64 { bmi2: false, movbe: false, ..own };
        let targets = [
            ("jit", own),
            ("optimising jit", X64 { optimise: true, ..own }),
            ("jit for an old processor", plain),
            ("optimising jit for an old processor", X64 { optimise: true, ..plain }),
            ("jit that hides constants", X64 { blinding: Some(1), ..own }),
        ];
        let compile = |(name, target): (&'static str, X64)| {
            let jit = JitProgram::compile_for(&target, &native, &self.native);
            jit.map(|jit| (name, jit)).map_err(|error| error.to_string())
        };
        let targets = targets.into_iter().filter(|_| others);
        let jits = targets.map(compile).collect::<Result<_, _>>()?;
        let fast = others.then(|| FastProgram::compile(&native, &self.native)).transpose();
        let fast = fast.map_err(|error| error.to_string())?;
        let guarded = program(guest::map)?;
        let lookup = |helper, number| {
            let table = guest::map_at(number).filter(|_| helper == Helper::MapLookupElem.id())?;
            Some(bombus_vm::Lookup { table, key: 4 })
        };
        let guests = Guests {
            args: 2,
            field: &|_, _| false,
            lookup: &lookup,
            may_tail_call: &|_| false,
            proven: None,
        };
        let compiled = others && guarded.compile(&guests);
        let guarded = compiled.then_some(guarded);
        Ok(Loaded { checked: program(guest::map)?, guarded, fast, jits })
    }

    /// Runs it on every engine; gives what the checked interpreter left, or what differs from it.
    pub(super) fn run(&mut self, loaded: &Loaded, start: &State) -> Result<State, String> {
        let expected = self.run_checked(&loaded.checked, start)?;
        if let Some(guarded) = &loaded.guarded {
            let found =
                self.run_checked(guarded, start).map_err(|error| format!("guarded: {error}"))?;
            if found != expected {
                return Err(format!("guarded code: {}", difference(&expected, &found)));
            }
        }
        if let Some(fast) = &loaded.fast {
            let found = self.run_native(start, |args, environment| {
                // SAFETY: programs of the generator stay within what they are given, which the
                // checked interpreter has just seen for this very state.
                unsafe { fast.run(args, environment) }
            });
            if found != expected {
                return Err(format!("fast interpreter: {}", difference(&expected, &found)));
            }
        }
        for (name, jit) in &loaded.jits {
            let found = self.run_native(start, |args, environment| {
                // SAFETY: programs of the generator stay within what they are given, which the
                // checked interpreter has just seen for this very state.
                unsafe { jit.run(args, environment) }
            });
            if found != expected {
                return Err(format!("{name}: {}", difference(&expected, &found)));
            }
        }
        Ok(expected)
    }

    fn run_checked(&mut self, program: &Rc<Program>, start: &State) -> Result<State, String> {
        self.checked.set(start);
        let data = address::pack(guest::PACKET, 0);
        let mut context = [0; 16];
        context[..8].copy_from_slice(&data.to_le_bytes());
        context[8..].copy_from_slice(&(data + PACKET as u64).to_le_bytes());
        let mut execution = Execution::new(&mut self.stack, Context::ReadOnly(&context));
        let value = execution.run(program, &mut self.checked);
        let value = value.map_err(|trap| format!("checked interpreter: {trap}"))?;
        Ok(self.checked.state(value))
    }

    fn run_native(
        &mut self,
        start: &State,
        run: impl FnOnce([u64; 5], &mut Environment) -> u64,
    ) -> State {
        let world = &mut self.native.world;
        world.set(start);
        let data = world.packet.as_mut_ptr() as u64;
        let context = [data, data + PACKET as u64];
        let mut environment = Environment::new(std::ptr::from_mut(world).cast());
        let value = run([context.as_ptr() as u64, 0, 0, 0, 0], &mut environment);
        world.state(value)
    }
}

/// What is not the same.
pub(super) fn difference(expected: &State, found: &State) -> String {
    let mut text = String::new();
    let mut field = |name: &str, expected: &dyn std::fmt::Debug, found: &dyn std::fmt::Debug| {
        let (expected, found) = (format!("{expected:02x?}"), format!("{found:02x?}"));
        if expected != found {
            text += &format!("\n  {name}: {found}\n  not {expected}");
        }
    };
    field("value", &expected.value, &found.value);
    field("packet", &expected.packet, &found.packet);
    field("element", &expected.element, &found.element);
    field("hash", &expected.hash, &found.hash);
    text
}
