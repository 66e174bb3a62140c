//! What a program finds in its context: fields of tracepoints, registers, the builtins.

use bombus_compiler::ir::{BinaryOp, Cond, LoadWidth, MapRef, UnaryOp, Value};
use bombus_platform::{Helper, pt_regs};

use super::function::{Address, Lower, load_width};
use crate::check::tree::{Builtin, Clock, Expr, FieldAccess, FieldPlace};
use crate::types::Type;

/// What a program's context holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ProgramContext {
    /// Nothing of use.
    None,
    /// A tracepoint's record, as its format says.
    Record,
    /// The arguments of a raw tracepoint, eight bytes each.
    Arguments,
    /// `struct pt_regs` of user code.
    Registers,
    /// The arguments of the raw tracepoint `sys_enter` (registers, number) or `sys_exit`
    /// (registers, return value), standing in for the record of one system call.
    Syscall {
        /// `sys_enter`.
        enter: bool,
        /// Whether the program may read the kernel's registers itself.
        direct: bool,
    },
}

/// Offsets in the records of `syscalls:sys_enter_*` and `sys_exit_*`: the number, then the
/// arguments or the return value, eight bytes each.
mod syscall_record {
    pub(super) const NUMBER: u32 = 8;
    pub(super) const VALUES: u32 = 16;
}

/// How the program knows which of its attachments ran it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Identity {
    /// There is one only: the index of its name and of its function's name.
    Fixed {
        /// Index of the probe's name.
        probe: usize,
        /// Index of the function's name.
        func: usize,
    },
    /// The attach cookie is the index of the name; the names of functions stand `funcs` later.
    Cookie {
        /// Distance.
        funcs: usize,
    },
    /// Kept in a variable of the dispatcher: index of the name.
    Dispatched(Value),
}

impl Lower<'_, '_> {
    /// A builtin that is a number.
    pub(super) fn builtin(&mut self, builtin: Builtin) -> Value {
        match builtin {
            Builtin::Pid => {
                let both = self.b.call_helper(Helper::GetCurrentPidTgid, &[]);
                self.b.binary_imm(BinaryOp::Lshr, both, 32)
            }
            Builtin::Tid => {
                let both = self.b.call_helper(Helper::GetCurrentPidTgid, &[]);
                self.b.unary(UnaryOp::Zext32, both)
            }
            Builtin::Uid => {
                let both = self.b.call_helper(Helper::GetCurrentUidGid, &[]);
                self.b.unary(UnaryOp::Zext32, both)
            }
            Builtin::Gid => {
                let both = self.b.call_helper(Helper::GetCurrentUidGid, &[]);
                self.b.binary_imm(BinaryOp::Lshr, both, 32)
            }
            Builtin::Nsecs(clock) => {
                let helper = match clock {
                    Clock::Monotonic => Helper::KtimeGetNs,
                    Clock::Boot => Helper::KtimeGetBootNs,
                    Clock::Tai => Helper::KtimeGetTaiNs,
                };
                self.b.call_helper(helper, &[])
            }
            Builtin::Elapsed => {
                let now = self.b.call_helper(Helper::KtimeGetBootNs, &[]);
                let start = self.global(|globals| &mut globals.start_ns);
                self.b.binary(BinaryOp::Sub, now, start)
            }
            Builtin::ChildPid => self.global(|globals| &mut globals.cpid),
            Builtin::Cpu => self.b.call_helper(Helper::GetSmpProcessorId, &[]),
            Builtin::NumaNode => self.b.call_helper(Helper::GetNumaNodeId, &[]),
            Builtin::Rand => {
                let random = self.b.call_helper(Helper::GetPrandomU32, &[]);
                self.b.unary(UnaryOp::Zext32, random)
            }
            Builtin::Cgroup => self.b.call_helper(Helper::GetCurrentCgroupId, &[]),
            Builtin::CurrentTask => self.b.call_helper(Helper::GetCurrentTask, &[]),
            Builtin::Probe => match self.identity {
                Identity::Fixed { probe, .. } => self.b.iconst(probe as i64),
                Identity::Cookie { .. } => {
                    let ctx = self.ctx;
                    self.b.call_helper(Helper::GetAttachCookie, &[ctx])
                }
                Identity::Dispatched(name) => name,
            },
            Builtin::Func => match self.identity {
                Identity::Fixed { func, .. } => self.b.iconst(func as i64),
                Identity::Cookie { funcs } => {
                    let ctx = self.ctx;
                    let cookie = self.b.call_helper(Helper::GetAttachCookie, &[ctx]);
                    self.b.binary_imm(BinaryOp::Add, cookie, funcs as i64)
                }
                Identity::Dispatched(name) => name,
            },
            Builtin::Arg(number) => self.argument(number),
            Builtin::ReturnValue => {
                self.b.load(LoadWidth::U64, self.ctx, i32::from(pt_regs::RETURN_VALUE))
            }
            // It is text: see `store`.
            Builtin::Comm => self.b.iconst(0),
        }
    }

    /// A value that user space sets before anything runs.
    fn global(
        &mut self,
        field: impl FnOnce(&mut crate::plan::Globals) -> &mut Option<u32>,
    ) -> Value {
        let (map, offset) = self.assembly.global(field);
        let address = self.b.map_value_addr(MapRef(map), offset);
        self.b.load(LoadWidth::U64, address, 0)
    }

    /// `arg0` and so on.
    fn argument(&mut self, number: u8) -> Value {
        let number = usize::from(number);
        if self.context == ProgramContext::Arguments {
            return self.b.load(LoadWidth::U64, self.ctx, number as i32 * 8);
        }
        if let Some(&register) = pt_regs::FUNCTION_ARGS.get(number) {
            return self.b.load(LoadWidth::U64, self.ctx, i32::from(register));
        }
        // The rest is on the stack, above the return address.
        let stack = self.b.load(LoadWidth::U64, self.ctx, i32::from(pt_regs::STACK_POINTER));
        let above = 8 * (number - pt_regs::FUNCTION_ARGS.len() + 1);
        let address = self.b.binary_imm(BinaryOp::Add, stack, above as i64);
        self.read_number(&Type::U64, address, true)
    }

    /// Reads a number that the program may not touch itself; 0 when it cannot be read.
    pub(super) fn read_number(&mut self, ty: &Type, address: Value, user: bool) -> Value {
        let helper = if user { Helper::ProbeReadUser } else { Helper::ProbeReadKernel };
        let temp = self.temp(8);
        self.read_memory(helper, temp, ty.size(), address);
        self.load(ty, temp)
    }

    /// A field that is a number.
    pub(super) fn field_number(&mut self, place: &FieldPlace, ty: &Type) -> Value {
        if let ProgramContext::Syscall { enter, direct } = self.context {
            return self.syscall_field(place.offset, ty, enter, direct);
        }
        match place.access {
            FieldAccess::Number | FieldAccess::Bytes => {
                self.b.load(load_width(ty), self.ctx, place.offset as i32)
            }
            FieldAccess::DataLoc => {
                let word = self.b.load(LoadWidth::U32, self.ctx, place.offset as i32);
                let offset = self.b.binary_imm(BinaryOp::And, word, 0xffff);
                self.b.binary(BinaryOp::Add, self.ctx, offset)
            }
        }
    }

    /// A field of a system call's record, out of the registers.
    fn syscall_field(&mut self, offset: u32, ty: &Type, enter: bool, direct: bool) -> Value {
        let value = match (offset, enter) {
            (syscall_record::NUMBER, _) => self.syscall_number(enter, direct),
            (_, false) => self.b.load(LoadWidth::U64, self.ctx, 8),
            _ => {
                let argument = (offset - syscall_record::VALUES) / 8;
                let registers = &pt_regs::SYSCALL_ARGS;
                let register = registers[argument as usize % registers.len()];
                self.kernel_register(register, direct)
            }
        };
        self.narrow(value, &Type::U64, ty)
    }

    /// The number of the system call that is entered or left.
    pub(super) fn syscall_number(&mut self, enter: bool, direct: bool) -> Value {
        if enter {
            return self.b.load(LoadWidth::U64, self.ctx, 8);
        }
        self.kernel_register(pt_regs::SYSCALL_NUMBER, direct)
    }

    /// A register that the system call came with.
    fn kernel_register(&mut self, register: u16, direct: bool) -> Value {
        let registers = self.b.load(LoadWidth::U64, self.ctx, 0);
        if direct {
            return self.b.load(LoadWidth::U64, registers, i32::from(register));
        }
        let address = self.b.binary_imm(BinaryOp::Add, registers, i64::from(register));
        self.read_number(&Type::U64, address, false)
    }

    /// A field that is an array of bytes, where it is.
    pub(super) fn field_address(&mut self, place: &FieldPlace) -> Address {
        (self.ctx, place.offset as i32)
    }

    /// The scope that the command line asked for: programs end here when the event is not in it.
    pub(super) fn scope_filter(&mut self) {
        match self.assembly.scope {
            super::ScopeFilter::None => {}
            super::ScopeFilter::Process(pid) => {
                let own = self.builtin(Builtin::Pid);
                let other = self.b.compare_imm(Cond::Ne, own, i64::from(pid));
                self.return_when(other);
            }
            super::ScopeFilter::Tree(map) => {
                let tid = self.builtin(Builtin::Tid);
                let key = self.temp(4);
                self.b.store(4, tid, key.0, key.1);
                let map = self.map(map as usize);
                let key = self.pointer(key);
                let found = self.b.call_helper(Helper::MapLookupElem, &[map, key]);
                let missing = self.b.compare_imm(Cond::Eq, found, 0);
                self.return_when(missing);
            }
        }
    }

    /// Ends the program when the value is not zero.
    pub(super) fn return_when(&mut self, test: Value) {
        let (leave, stay) = (self.b.block(0), self.b.block(0));
        self.b.branch(test, leave, stay);
        self.b.switch_to(leave);
        let zero = self.b.iconst(0);
        self.b.ret(zero);
        self.b.switch_to(stay);
    }

    /// Ends the program when a condition does not hold.
    pub(super) fn require(&mut self, cond: &Expr) {
        let (stay, leave) = (self.b.block(0), self.b.block(0));
        self.branch_on(cond, stay, leave);
        self.b.switch_to(leave);
        let zero = self.b.iconst(0);
        self.b.ret(zero);
        self.b.switch_to(stay);
    }
}
