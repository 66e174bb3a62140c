//! The walk along every path of a program, with what is known at each instruction
//! (`do_check`, `kernel/bpf/verifier.c`).

mod backtrack;
mod compare;
pub(crate) mod history;
mod keep;
mod observe;
mod outline;
mod paths;
mod precision;
mod prune;
mod queries;
mod report;
mod widen;

use std::cell::OnceCell;
use std::collections::BTreeMap;

use bombus_isa::Op;
use bombus_platform::Version;

use crate::check::Argument;
use crate::code::{Code, Fastcalls, FunctionStats, Instruction};
use crate::embedding::Pruning;
use crate::log::Log;
use crate::maps::Maps;
use crate::program::{
    F_ANY_ALIGNMENT, F_STRICT_ALIGNMENT, F_TEST_STATE_FREQ, Options, Program, Target,
};
use crate::proof::Memory;
use crate::state::{Kind, MapRef, Register, State};
use crate::types::Types;
use crate::verdict::{Rejection, Stats};
use backtrack::Concerns;
use compare::Ids;
use history::{Links, Touch};
use keep::Keep;
pub(crate) use observe::Observer;

/// What a check says.
pub(crate) type Check<T = ()> = Result<T, Rejection>;

/// Refuses the program at the instruction that is looked at: errno and message.
macro_rules! refuse {
    ($walk:expr, $errno:ident, $($message:tt)*) => {
        return Err($walk.rejection(crate::walk::errno::$errno, format!($($message)*)))
    };
}
pub(crate) use refuse;

/// The kernel's error numbers.
pub(crate) mod errno {
    pub(crate) const EPERM: i32 = 1;
    pub(crate) const E2BIG: i32 = 7;
    pub(crate) const EACCES: i32 = 13;
    pub(crate) const EFAULT: i32 = 14;
    pub(crate) const EINVAL: i32 = 22;
    pub(crate) const EOPNOTSUPP: i32 = 95;
    pub(crate) const ENOTSUPP: i32 = 524;
}

/// Paths that wait at most (`BPF_COMPLEXITY_LIMIT_JMP_SEQ`).
const MAX_PENDING: usize = 8192;

/// States at most whose memory is saved.
const MAX_SPARE: usize = 32;

/// Where the walk goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// At the instruction after this one.
    After,
    /// At this slot.
    At(usize),
    /// The path ends.
    End,
}

/// A path that waits to be walked (`struct bpf_verifier_stack_elem`).
#[derive(Debug)]
struct Pending {
    state: State,
    slot: usize,
    previous: i32,
    log: usize,
}

/// What the walk found out about an instruction (`struct bpf_insn_aux_data`).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Note {
    /// What kind of pointer it goes through.
    pub pointer: Kind,
    /// Where the memory is that it accesses, on all paths so far.
    pub memory: Option<Memory>,
    /// Speculation must not go on behind it.
    pub no_speculation: bool,
    /// Speculation must not see what it did.
    pub no_speculative_result: bool,
    /// It was walked.
    pub is_seen: bool,
    /// It clears the high half for an arena (`needs_zext`), and must not (`prevent_zext`).
    pub arena: (bool, bool),
    /// What it limits an offset to, for speculation: how, and to what.
    pub limit: (u8, u32),
    /// It advances an iterator.
    pub is_iterator_next: bool,
}

/// What the walk found out about a function.
#[derive(Clone, Default, Debug)]
pub(crate) struct FunctionNote {
    /// Called from where sleeping is not allowed, and from where it is.
    pub called: [bool; 2],
    /// Proved for these.
    pub proved: [bool; 2],
    /// Its types do not say what it is called with.
    pub is_unreliable: bool,
    /// It is called by a helper; later; when the program throws.
    pub is_callback: bool,
    /// It is called later.
    pub is_async_callback: bool,
    /// What the statistics say: instructions walked, bytes of stack that it uses.
    pub stats: FunctionStats,
}

/// What the loading process may do, as the kernel keeps it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// `CAP_BPF`.
    pub bpf: bool,
    /// Pointers may become known.
    pub pointer_leaks: bool,
    /// Stack that was not stored to may be read.
    pub uninit_stack: bool,
    /// No care is taken of speculation past bounds.
    pub spec_v1: bool,
    /// No care is taken of speculation past stores.
    pub spec_v4: bool,
}

/// The walk.
pub(crate) struct Walk<'a> {
    pub program: &'a Program<'a>,
    pub options: &'a Options,
    pub code: &'a Code,
    pub maps: Maps<'a>,
    pub types: Types<'a>,
    pub allowed: Allowed,
    pub strict_alignment: bool,
    /// The kernel's version.
    pub version: Version,
    pub log: Log,
    /// What is known now.
    pub state: State,
    /// The instruction that is looked at, and that before it on the path.
    pub slot: usize,
    pub previous: i32,
    pub notes: Vec<Note>,
    pub functions: Vec<FunctionNote>,
    /// What each instruction has to do with what is wanted on the way back.
    concerns: Vec<Concerns>,
    /// What its types say of each function's arguments, once somebody has asked.
    pub signatures: Vec<OnceCell<Check<Vec<Argument>>>>,
    pub stats: Stats,
    /// Saves around calls whose stack nothing else uses.
    pub fastcalls: Fastcalls,
    /// Calls of `bpf_loop`: whether they become loops, and the function that these run.
    pub loops: BTreeMap<usize, (bool, usize)>,
    /// Tail calls of processes that must not speculate past the end of arrays: the map, and whether
    /// there is another on another path.
    pub tail_calls: BTreeMap<usize, (MapRef, bool)>,
    /// The ids of what the program's arguments hold that must be given back.
    pub argument_references: Vec<u32>,
    /// Instructions walked in each frame since it was entered, or since the path began.
    walked: Vec<u32>,
    keep: Keep,
    pending: Vec<Pending>,
    /// States that are not needed any more, for their memory.
    spare: Vec<State>,
    last_id: u32,
    /// The instruction is in the history already.
    is_in_history: bool,
    ids: Ids,
    jumps: u32,
    /// Jumps and instructions when a state was kept last.
    kept_at: (u32, u32),
    /// Numbers that limit offsets were met: they all count (`explore_alu_limits`).
    pub explores_limits: bool,
    test_state_freq: bool,
    /// Registers and slots that the log shows after the instruction, a bit each.
    shown: (u32, u64),
    printed: report::Printed,
    kernel_functions: report::KernelFunctions,
    /// When paths end at what was proved before.
    pub pruning: Pruning,
    /// Who watches.
    pub observer: Option<&'a mut dyn Observer>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        program: &'a Program<'a>,
        target: &'a Target<'a>,
        options: &'a Options,
        code: &'a Code,
        log: Log,
    ) -> Walk<'a> {
        let mut types = Types::new(target.btf, target.modules, program.btf);
        let maps = Maps::new(program.maps, &mut types);
        let slots = program.insns.len();
        let may = options.privileges;
        let has = |flag: u32| program.flags & flag != 0;
        // On x86 every access is done at any alignment (`CONFIG_HAVE_EFFICIENT_UNALIGNED_ACCESS`).
        let strict_alignment = has(F_STRICT_ALIGNMENT) && !has(F_ANY_ALIGNMENT);
        Walk {
            program,
            options,
            code,
            maps,
            types,
            allowed: Allowed {
                bpf: may.bpf,
                pointer_leaks: may.perfmon,
                uninit_stack: may.perfmon,
                spec_v1: may.perfmon,
                spec_v4: may.perfmon,
            },
            strict_alignment,
            version: crate::facts::version(target),
            log,
            state: State::new(0, 0, false),
            slot: 0,
            previous: -1,
            notes: vec![Note::default(); slots],
            functions: vec![FunctionNote::default(); code.functions().len()],
            concerns: (0..slots).map(|slot| Concerns::of(code, slot)).collect(),
            signatures: vec![OnceCell::new(); code.functions().len()],
            stats: Stats::default(),
            fastcalls: code.fastcalls().clone(),
            loops: BTreeMap::new(),
            tail_calls: BTreeMap::new(),
            argument_references: Vec::new(),
            walked: Vec::new(),
            keep: Keep::new(slots),
            pending: Vec::new(),
            spare: Vec::new(),
            last_id: 0,
            is_in_history: false,
            ids: Ids::default(),
            jumps: 0,
            kept_at: (0, 0),
            explores_limits: false,
            test_state_freq: has(F_TEST_STATE_FREQ),
            shown: (u32::MAX, u64::MAX),
            printed: report::Printed::default(),
            kernel_functions: kernel_functions(code, target),
            pruning: Pruning::Kernel,
            observer: None,
        }
    }

    /// A refusal at the instruction that is looked at.
    #[cold]
    pub(crate) fn rejection(&self, errno: i32, message: String) -> Rejection {
        Rejection { errno, message, slot: Some(self.slot) }
    }

    /// An id that nothing has yet.
    pub(crate) fn new_id(&mut self) -> u32 {
        self.last_id += 1;
        self.last_id
    }

    /// Any number, as an unprivileged process's programs have it: always precise.
    pub(crate) fn unknown(&self) -> Register {
        Register { precise: !self.allowed.bpf, ..Register::UNKNOWN }
    }

    /// Walks from the start of a function to the end of every path.
    pub(crate) fn run(&mut self, state: State) -> Check {
        self.slot = state.slot;
        self.state = state;
        let root = self.state.frame().function as usize;
        let before = (self.stats.processed, self.functions[root].stats.total);
        self.printed = report::Printed::default();
        self.show_all();
        if let Some(observer) = &mut self.observer {
            observer.starts();
        }
        let mut previous = -1;
        let mut is_new_path = false;
        let result = loop {
            self.is_in_history = false;
            self.previous = previous;
            let ended = match self.step(&mut previous, &mut is_new_path) {
                Ok(ended) => ended,
                Err(rejection) => break Err(rejection),
            };
            if !ended {
                continue;
            }
            self.show_all();
            self.count_path();
            if let Err(rejection) = self.end_path() {
                break Err(rejection);
            }
            match self.pending.pop() {
                Some(pending) => {
                    if !self.log.tells_all() {
                        self.log.reset(pending.log);
                    }
                    let ended = std::mem::replace(&mut self.state, pending.state);
                    self.save(ended);
                    (self.slot, previous) = (pending.slot, pending.previous);
                    is_new_path = true;
                    if let Some(observer) = &mut self.observer {
                        observer.turns_back();
                    }
                }
                None => break Ok(()),
            }
        };
        self.count_path();
        self.functions[root].stats.total = before.1 + (self.stats.processed - before.0);
        self.stats.peak_states = self.stats.peak_states.max(self.keep.peak);
        self.keep.clear();
        self.pending.clear();
        result
    }

    /// One instruction; whether the path ends.
    fn step(&mut self, previous: &mut i32, is_new_path: &mut bool) -> Check<bool> {
        let count = self.code.len();
        if self.slot >= count {
            refuse!(self, EFAULT, "invalid insn idx {} insn_cnt {count}", self.slot);
        }
        let instruction = self.code.instruction(self.slot);
        self.count_instruction();
        if self.stats.processed > self.options.max_walked {
            let processed = self.stats.processed;
            refuse!(self, E2BIG, "BPF program is too large. Processed {processed} insn");
        }
        self.state.last_slot = self.previous;
        self.state.slot = self.slot;
        let prunes = self.pruning != Pruning::Never && self.code.is_prune_point(self.slot);
        if prunes && self.is_visited()? {
            self.report_safe(*is_new_path);
            return Ok(true);
        }
        if self.code.is_jump_point(self.slot) {
            self.note_jump(Touch::default(), Links::default());
        }
        if self.log.tells() {
            self.report_instruction(std::mem::take(is_new_path));
        }
        self.observe();
        *previous = self.slot as i32;
        self.notes[self.slot].is_seen |= !self.state.speculative;
        if self.state.speculative && self.notes[self.slot].no_speculation {
            return Ok(true);
        }
        let at = self.slot;
        let next = match self.instruction(instruction) {
            Ok(next) => next,
            Err(rejection) if self.state.speculative && is_recoverable(&rejection) => {
                // What may happen on a path that is not really gone is kept from happening there.
                self.notes[at].no_speculation = true;
                self.notes[at].limit = (0, 0);
                return Ok(true);
            }
            Err(rejection) => return Err(rejection),
        };
        match next {
            Next::After => self.slot = at + instruction.slots(),
            Next::At(slot) => {
                self.slot = slot;
                *is_new_path |= self.printed.left_function;
                self.printed.left_function = false;
            }
            Next::End => return Ok(true),
        }
        Ok(self.state.speculative && self.notes[at].no_speculative_result)
    }

    /// Looks at one instruction.
    fn instruction(&mut self, instruction: Instruction) -> Check<Next> {
        let op = match instruction {
            Instruction::Op(op) => op,
            Instruction::GotoRegister { dst } => Op::GotoRegister { dst },
            Instruction::StoreArgument { .. } | Instruction::LoadArgument { .. } => {
                refuse!(self, EOPNOTSUPP, "arguments on the stack are not followed");
            }
            Instruction::InvalidAtomic => {
                let imm = self.code.insn(self.slot).imm;
                refuse!(self, EINVAL, "BPF_ATOMIC uses invalid atomic opcode {imm:02x}");
            }
            Instruction::Second => return Ok(Next::After),
        };
        match op {
            Op::Alu { .. }
            | Op::Neg { .. }
            | Op::MovSx { .. }
            | Op::End { .. }
            | Op::AddrSpaceCast { .. } => self.alu(op).map(|()| Next::After),
            Op::LoadImm64 { dst, imm } => self.load_imm64(dst, imm).map(|()| Next::After),
            Op::Load { size, signed, dst, base, off } => {
                self.load(dst, base, off, size, signed, false).map(|()| Next::After)
            }
            Op::LoadAcquire { size, dst, base, off } => {
                self.load_acquire(dst, base, off, size).map(|()| Next::After)
            }
            Op::Store { size, base, off, src } => {
                self.store(base, off, size, src, false).map(|()| Next::After)
            }
            Op::StoreRelease { size, base, off, src } => {
                self.store_release(base, off, size, src).map(|()| Next::After)
            }
            Op::Atomic { size, op, fetch, base, off, src } => {
                self.atomic(size, op, fetch, base, off, src).map(|()| Next::After)
            }
            Op::LoadPacket { index, .. } => self.load_packet(index),
            Op::GotoRegister { dst } => {
                self.jumps += 1;
                self.goto_register(dst)
            }
            Op::Goto { off } => Ok(self.go(off.into())),
            Op::GotoLong { off } => Ok(self.go(off)),
            Op::MayGoto { off } => {
                self.jumps += 1;
                self.may_goto(off)
            }
            Op::JumpIf { width, cond, dst, src, off } => {
                self.jumps += 1;
                self.jump_if(width, cond, dst, src, off)
            }
            Op::CallLocal { .. } | Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                self.jumps += 1;
                self.call(op)
            }
            Op::Exit => {
                self.jumps += 1;
                self.exit(false)
            }
        }
    }

    fn go(&mut self, distance: i32) -> Next {
        self.jumps += 1;
        Next::At(self.target(distance))
    }

    /// The slot so many slots from the next instruction.
    pub(crate) fn target(&self, distance: i32) -> usize {
        // Where jumps go was checked before the walk.
        (self.slot as i64 + 1 + i64::from(distance)) as usize
    }
}

/// Whether a path that only speculation goes can be closed for this (`error_recoverable_with_nospec`).
fn is_recoverable(rejection: &Rejection) -> bool {
    [errno::EPERM, errno::EACCES, errno::EINVAL].contains(&rejection.errno)
}

/// The names of the kernel functions that a program calls.
fn kernel_functions(code: &Code, target: &Target<'_>) -> report::KernelFunctions {
    let calls = (0..code.len()).filter_map(|slot| match code.op(slot) {
        Some(Op::CallKfunc { id, btf }) => Some((id, btf)),
        _ => None,
    });
    let name = |(id, module): (i32, i16)| {
        let btf = match usize::try_from(module).ok()?.checked_sub(1) {
            None => target.btf?,
            Some(module) => target.modules.get(module)?,
        };
        Some(((id, module), btf.name(bombus_btf::TypeId(id as u32)).to_owned()))
    };
    calls.filter_map(name).collect()
}
