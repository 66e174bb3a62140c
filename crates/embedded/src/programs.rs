//! Loaded programs.
#![allow(unsafe_code, reason = "has machine code leave out what is proved; says why that is sound")]

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use bombus_btf::{Btf, Type, TypeId};
use bombus_isa::{Imm64, Insn, Op};
use bombus_kernel::{Error, ProgLoad, Result};
use bombus_platform::{Helper, ProgType, takes_packets};
use bombus_vm::{Arena, Guests, Known, Layout, Program, Proven, Trap, address};

use crate::context_use;
use crate::maps::Map;
use crate::packet::reads_plainly;
use crate::patient;
use crate::run::{arena_address, kfunc_number, lookup, map_address, value_address};

/// Runs that are left to the interpreter.
const RUNS_INTERPRETED: u32 = 16;

/// A loaded program.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) prog_type: ProgType,
    pub(crate) program: Rc<Program>,
    /// Its types, when it allocates objects.
    pub(crate) types: Option<Arc<Btf>>,
    /// The map that is its arena.
    pub(crate) arena: Option<usize>,
    /// Whether it can tell on which CPU it runs.
    pub(crate) sees_cpu: bool,
    /// Whether it asks for user and group.
    pub(crate) sees_user: bool,
    /// Whether what it does is the same a little later: see [`crate::patient`].
    pub(crate) may_wait: bool,
    /// How many bytes of its context it may read, from the start.
    pub(crate) context_bytes: usize,
    /// The maps with elements that it names.
    tables: Vec<Elements>,
    /// What is known of each slot; nothing, when nobody has proved the program.
    known: Vec<Known>,
    /// Runs so far, while they are counted.
    runs: Cell<u32>,
    /// Where instructions came from: first slot, and the place as the user knows it. Sorted.
    places: Vec<(u32, String)>,
    /// Runs that were stopped because the program did what it must not.
    pub(crate) faults: u64,
    /// What the first of them was.
    pub(crate) first_fault: Option<String>,
}

/// A map with elements.
#[derive(Clone, Copy, Debug)]
struct Elements {
    map: usize,
    key_size: usize,
    /// How they lie, where engines can find them by themselves.
    layout: Option<Layout>,
}

/// Loads a program. `id` becomes its number; `maps` and `btf` are what it may refer to; `known` is what
/// the verifier has proved.
pub(crate) fn load(
    load: &ProgLoad<'_>,
    id: u32,
    maps: &[Map],
    btf: Option<&Arc<Btf>>,
    kernel: Option<&Btf>,
    known: Vec<Known>,
) -> Result<Loaded> {
    let rejected =
        |log: String| Error::Rejected { program: load.name.to_owned(), errno: libc::EINVAL, log };
    let ops = decode(load.insns);
    let arena = ops.iter().find_map(|op| arena_of(*op, maps));
    let mut names = Names { maps, kernel, arena, is_proved: !known.is_empty() };
    names.check_kfuncs(&ops)?;
    let program = Program::linked(load.insns, id, &mut names)
        .map_err(|invalid| rejected(invalid.to_string()))?;
    let helpers = || {
        ops.iter().filter_map(|&op| match op {
            Op::CallHelper { id } => Some(id),
            _ => None,
        })
    };
    // Only who allocates objects has to know their types.
    let types = btf.filter(|_| ops.iter().any(|op| matches!(op, Op::CallKfunc { .. }))).cloned();
    let sees_user = helpers().any(|id| id == Helper::GetCurrentUidGid.id());
    let sees_cpu = helpers().any(|id| {
        let cpu = [
            Helper::GetSmpProcessorId,
            Helper::GetNumaNodeId,
            Helper::MapLookupPercpuElem,
            Helper::PerfEventOutput,
        ];
        cpu.iter().any(|helper| helper.id() == id)
    });
    Ok(Loaded {
        name: load.name.to_owned(),
        prog_type: load.prog_type,
        program,
        sees_cpu,
        sees_user,
        types,
        arena,
        may_wait: patient::may_wait(&ops, maps),
        context_bytes: context_use::bytes_read(&ops),
        tables: tables(&ops, maps),
        known,
        runs: Cell::new(0),
        places: btf.map_or_else(Vec::new, |types| places(load.line_info, types)),
        faults: 0,
        first_fault: None,
    })
}

/// One operation a slot; second slots of `ld_imm64` repeat the first. The code is known to be valid.
pub(crate) fn decode(insns: &[Insn]) -> Vec<Op> {
    let valid = bombus_isa::ops(insns).filter_map(|(_, op)| op.ok());
    valid.flat_map(|op| std::iter::repeat_n(op, op.slots())).collect()
}

/// The number of a map that a program names.
fn map_number(fd: i32, maps: &[Map]) -> Option<usize> {
    usize::try_from(fd).ok()?.checked_sub(1).filter(|&map| map < maps.len())
}

/// The maps with elements that a program names.
fn tables(ops: &[Op], maps: &[Map]) -> Vec<Elements> {
    let named = ops.iter().filter_map(|op| match *op {
        Op::LoadImm64 { imm: Imm64::MapFd(fd) | Imm64::MapValue { fd, .. }, .. } => {
            map_number(fd, maps)
        }
        _ => None,
    });
    let elements = |map: usize| {
        let layout = maps[map].table()?.layout(address::region(value_address(map, 0)));
        Some(Elements { map, key_size: maps[map].key_size, layout })
    };
    named.filter_map(elements).collect()
}

/// The arena that an instruction names.
fn arena_of(op: Op, maps: &[Map]) -> Option<usize> {
    let (Op::LoadImm64 { imm: Imm64::MapFd(fd), .. }
    | Op::LoadImm64 { imm: Imm64::MapValue { fd, .. }, .. }) = op
    else {
        return None;
    };
    map_number(fd, maps).filter(|&map| maps[map].arena().is_some())
}

/// What a program's instructions name.
struct Names<'a> {
    maps: &'a [Map],
    kernel: Option<&'a Btf>,
    arena: Option<usize>,
    is_proved: bool,
}

impl Names<'_> {
    /// The name of a function of the kernel's.
    fn kfunc_name(&self, id: i32, btf: i16) -> Option<&str> {
        match self.kernel?.ty(TypeId(u32::try_from(id).ok()?))? {
            Type::Func { name, .. } if btf == 0 => Some(name),
            _ => None,
        }
    }

    /// That there is what the program calls.
    fn check_kfuncs(&self, ops: &[Op]) -> Result<()> {
        let missing = ops.iter().find_map(|op| match *op {
            Op::CallKfunc { id, btf } => {
                let name = self.kfunc_name(id, btf);
                let is_there = name.is_some_and(|name| kfunc_number(name).is_some());
                (!is_there).then(|| name.map_or_else(|| format!("#{id}"), str::to_owned))
            }
            _ => None,
        });
        missing.map_or(Ok(()), |name| {
            Err(Error::Unsupported {
                what: format!("the embedded kernel has no function {name}"),
                help: Some("with root privileges, --kernel linux may have it".into()),
            })
        })
    }
}

impl bombus_vm::Names for Names<'_> {
    fn immediate(&mut self, imm: Imm64) -> Option<u64> {
        resolve(imm, self.maps)
    }

    fn kfunc(&mut self, id: i32, btf: i16) -> Option<i32> {
        kfunc_number(self.kfunc_name(id, btf)?)
    }

    fn is_proved(&self) -> bool {
        self.is_proved
    }

    fn arena(&self) -> Option<Arena> {
        let map = self.arena?;
        let arena = self.maps[map].arena()?;
        let user = if arena.converts() { arena.user() } else { 0 };
        Some(Arena { address: arena_address(map), user })
    }
}

/// What a `ld_imm64` that names a map loads.
fn resolve(imm: Imm64, maps: &[Map]) -> Option<u64> {
    match imm {
        Imm64::MapFd(fd) => map_number(fd, maps).map(map_address),
        Imm64::MapValue { fd, offset } => {
            let map = map_number(fd, maps)?;
            maps[map].direct_value(map, offset)
        }
        _ => None,
    }
}

impl Loaded {
    /// Notes that it is about to run with so many arguments. From some run on that is done in machine
    /// code, where there can be some: compiling is not worth it for what runs once.
    #[inline]
    pub(crate) fn about_to_run(&self, args: usize) {
        let runs = self.runs.get();
        if runs <= RUNS_INTERPRETED {
            self.runs.set(runs + 1);
            if runs == RUNS_INTERPRETED {
                self.compile(args);
            }
        }
    }

    #[cold]
    fn compile(&self, args: usize) {
        let prog_type = self.prog_type;
        let elements = |map| self.tables.iter().find(|elements| elements.map == map);
        let known = |pc: usize| self.known.get(pc).copied().unwrap_or_default();
        let layout = |map| elements(map)?.layout;
        // SAFETY: the verifier has proved it, for maps of these sizes and for packets, which are what
        // `Run` shows; and maps stay as they were created.
        let proven = unsafe { Proven::new(&known, &layout) };
        self.program.compile(&Guests {
            args,
            lookup: &|helper, number| lookup(helper, number, |map| Some(elements(map)?.key_size)),
            field: &|offset, len| takes_packets(prog_type) && reads_plainly(prog_type, offset, len),
            may_tail_call: &|helper| helper == Helper::TailCall.id(),
            proven: (!self.known.is_empty()).then_some(proven),
        });
    }

    /// Notes that a run was stopped.
    pub(crate) fn fault(&mut self, trap: &Trap) {
        self.faults += 1;
        if self.first_fault.is_none() {
            let place = self.place(trap.pc).map_or_else(String::new, |place| format!("{place}: "));
            self.first_fault = Some(format!("{place}{trap}"));
        }
    }

    fn place(&self, pc: usize) -> Option<&str> {
        let after = self.places.partition_point(|&(slot, _)| slot as usize <= pc);
        Some(&self.places.get(after.checked_sub(1)?)?.1)
    }
}

/// Takes `struct bpf_line_info` records apart (`include/uapi/linux/bpf.h`).
fn places(line_info: &[u8], types: &Btf) -> Vec<(u32, String)> {
    let (records, _) = line_info.as_chunks::<16>();
    let string = |offset| std::str::from_utf8(types.string(offset)?).ok();
    let place = |record: &[u8; 16]| {
        let (words, _) = record.as_chunks::<4>();
        let word = |index: usize| u32::from_le_bytes(words[index]);
        let (file, text) = (string(word(1))?, string(word(2))?);
        let line = word(3) >> 10;
        Some((word(0), format!("{file}:{line} `{}`", text.trim())))
    };
    let mut places: Vec<_> = records.iter().filter_map(place).collect();
    places.sort_by_key(|&(slot, _)| slot);
    places
}
