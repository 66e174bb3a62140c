//! Calls of the kernel's functions (`check_kfunc_call`, `kernel/bpf/verifier.c`).

mod args;
mod graph;
mod irq;
mod iter;
mod kind;
mod result;

use bombus_btf::{Btf, Params, Type, TypeId};
use bombus_isa::Op;
use bombus_platform::kfunc::{Kfunc, KfuncFlags, SpecialKfunc as Special, kfunc_for};
use bombus_platform::{AttachType, ProgType};

use crate::fields::{Field, FieldKind};
use crate::state::{MapRef, Register, ReturnRange, TypeRef};
use crate::walk::{Check, Next, Walk, refuse};

/// A call of a kernel function, and what its arguments say.
#[derive(Clone, Copy)]
pub(crate) struct KernelCall<'a> {
    /// Its name.
    pub name: &'a str,
    /// What is said of it.
    pub kfunc: &'static Kfunc,
    /// What the verifier knows of it beside.
    pub special: Option<Special>,
    /// The BTF that has it, by number.
    pub number: u8,
    pub btf: &'a Btf,
    /// What it takes and returns.
    pub params: Params<'a>,
    pub ret: TypeId,
    /// The map, and which look-up it came from.
    pub map: Option<(MapRef, u32)>,
    /// A constant that was passed.
    pub constant: Option<u64>,
    /// Bytes of the memory that it gives, and whether that is read-only.
    pub memory: Option<u32>,
    pub read_only: bool,
    /// The function that is called back.
    pub function: Option<u32>,
    /// The dynptr that is used.
    pub dynptr: Option<Register>,
    /// The iterator: frame, slot.
    pub iterator: Option<(usize, usize)>,
    /// The id of what is held and was passed.
    pub held: u32,
    /// The root of a list or tree.
    pub root: Option<Field>,
    /// The type of an object that was passed.
    pub object: Option<TypeRef>,
    /// Whether the object that was passed is the program's own.
    pub owns: bool,
}

impl KernelCall<'_> {
    fn is(&self, flags: KfuncFlags) -> bool {
        self.kfunc.flags.has(flags)
    }

    fn is_one_of(&self, specials: &[Special]) -> bool {
        self.special.is_some_and(|special| specials.contains(&special))
    }

    /// `bpf_obj_drop`, in either form.
    fn drops(&self) -> bool {
        self.is_one_of(&[Special::ObjDrop, Special::ObjDropImpl])
    }

    /// `bpf_percpu_obj_drop`, in either form.
    fn drops_percpu(&self) -> bool {
        self.is_one_of(&[Special::PercpuObjDrop, Special::PercpuObjDropImpl])
    }

    /// `bpf_rbtree_add`, in either form.
    fn adds_to_tree(&self) -> bool {
        self.is_one_of(&[Special::RbtreeAdd, Special::RbtreeAddImpl])
    }

    /// `bpf_list_push_front` and its like.
    fn adds_to_list(&self) -> bool {
        self.is_one_of(&[
            Special::ListPushFront,
            Special::ListPushFrontImpl,
            Special::ListPushBack,
            Special::ListPushBackImpl,
            Special::ListAdd,
        ])
    }
}

impl<'a> Walk<'a> {
    /// The kernel function that a call names.
    fn kernel_function(&self, id: i32, module: i16) -> Option<(u8, &'a Btf, &'a str, TypeId)> {
        let (number, btf) = match u8::try_from(module).ok()? {
            0 => self.types.kernel()?,
            module => (module, self.types.btf(module)?),
        };
        match btf.ty(TypeId(id as u32))? {
            Type::Func { name, proto, .. } => Some((number, btf, name, proto)),
            _ => None,
        }
    }

    /// Whether a kernel function may be called while a lock is held (`kfunc_spin_allowed`).
    pub(crate) fn kfunc_allowed_under_lock(&self, id: i32, module: i16) -> bool {
        self.kernel_function(id, module)
            .and_then(|(_, _, name, _)| bombus_platform::kfunc::kfunc(name))
            .is_some_and(|kfunc| kfunc.flags.has(KfuncFlags::SPINLOCK_SAFE))
    }

    /// Whether this is in a callback that orders a tree (`in_rbtree_lock_required_cb`).
    pub(crate) fn in_tree_callback(&self) -> bool {
        self.state.frames[1..].iter().filter(|frame| frame.in_callback).any(|frame| {
            let call = self.code.op(frame.callsite.max(0) as usize);
            let Some(Op::CallKfunc { id, btf }) = call else { return false };
            self.kernel_function(id, btf)
                .is_some_and(|(_, _, name, _)| name.starts_with("bpf_rbtree_"))
        })
    }

    /// A call of a kernel function.
    pub(crate) fn call_kfunc(&mut self, id: i32, module: i16) -> Check<Next> {
        let Some((number, btf, name, proto)) = self.kernel_function(id, module) else {
            refuse!(self, EINVAL, "kernel function btf_id {id} does not have a valid func_proto");
        };
        let Some(Type::FuncProto { ret, params }) = btf.ty(proto) else {
            refuse!(self, EINVAL, "kernel function {name} does not have a valid func_proto");
        };
        let caller = crate::facts::caller(self.program, self.options);
        let Some(kfunc) = kfunc_for(&caller, name) else {
            refuse!(self, EACCES, "calling kernel function {name} is not allowed");
        };
        let special = Special::from_name(name).filter(|_| module == 0);
        let mut call = KernelCall {
            name,
            kfunc,
            special,
            number,
            btf,
            params,
            ret,
            map: None,
            constant: None,
            memory: None,
            read_only: false,
            function: None,
            dynptr: None,
            iterator: None,
            held: 0,
            root: None,
            object: None,
            owns: false,
        };
        self.notes[self.slot].is_iterator_next = call.is(KfuncFlags::ITER_NEXT);
        self.check_callable(&call)?;
        self.check_kernel_arguments(&mut call)?;
        self.check_unsafe_drop(&call)?;
        self.call_kernel_back(&call)?;
        self.enter_or_leave(&call)?;
        if call.is(KfuncFlags::RELEASE) {
            self.release_kernel_argument(&call)?;
        }
        if call.adds_to_list() || call.adds_to_tree() {
            let id = self.state.frame().regs[2].id;
            self.give_up_ownership(id);
        }
        if call.special == Some(Special::Throw)
            && !self.code.functions().iter().any(|function| function.is_exception_callback)
        {
            self.check_result(1, "R1")?;
        }
        self.finish_kernel_call(call)
    }

    /// Whether the program may call it here.
    fn check_callable(&mut self, call: &KernelCall<'_>) -> Check {
        let name = call.name;
        match call.special {
            Some(Special::ResSpinLock | Special::ResSpinLockIrqsave) => {
                // The lock may not be had.
                let unknown = self.unknown();
                let path = self.push_path(self.slot + 1, false)?;
                for register in &mut path.regs()[..=5] {
                    *register = Register::NOT_INIT;
                }
                let mut failed = unknown;
                failed.limit_signed(-4095, -1);
                path.regs()[0] = failed;
            }
            Some(Special::Trap) => {
                refuse!(self, EFAULT, "unexpected __bpf_trap() due to uninitialized variable?")
            }
            _ => {}
        }
        if call.is(KfuncFlags::DESTRUCTIVE) && !self.options.privileges.sys_admin {
            refuse!(self, EACCES, "destructive kfunc calls require CAP_SYS_BOOT capability");
        }
        if call.is(KfuncFlags::PERFMON) && !self.allowed.pointer_leaks {
            refuse!(self, EPERM, "{name} is allowed only to CAP_PERFMON and CAP_SYS_ADMIN");
        }
        if call.is(KfuncFlags::SLEEPABLE) && !self.state.sleepable {
            refuse!(self, EACCES, "program must be sleepable to call sleepable kfunc {name}");
        }
        Ok(())
    }

    /// Objects that must not be freed in the middle of anything.
    fn check_unsafe_drop(&self, call: &KernelCall<'_>) -> Check {
        if !call.drops() && !call.drops_percpu() {
            return Ok(());
        }
        let traces = match self.prog_type() {
            ProgType::Kprobe
            | ProgType::Tracepoint
            | ProgType::PerfEvent
            | ProgType::RawTracepoint
            | ProgType::RawTracepointWritable => true,
            ProgType::Tracing => {
                let sleeps = self.program.flags & crate::F_SLEEPABLE != 0;
                self.program.attach_type != AttachType::TraceIter && !sleeps
            }
            _ => false,
        };
        let is_unsafe = |kind: FieldKind| {
            !matches!(
                kind,
                FieldKind::SpinLock
                    | FieldKind::ResSpinLock
                    | FieldKind::Refcount
                    | FieldKind::ListNode
                    | FieldKind::RbNode
            )
        };
        if traces
            && let Some(of) = call.object
            && self.record_of(of).has(is_unsafe)
        {
            let name = call.name;
            refuse!(
                self,
                EINVAL,
                "{name} cannot be used in tracing programs on types with NMI unsafe fields"
            );
        }
        Ok(())
    }

    /// Callbacks that it makes.
    fn call_kernel_back(&mut self, call: &KernelCall<'_>) -> Check {
        let function = call.function.map_or(0, |function| function as usize);
        let regs = self.state.frame().regs;
        if call.adds_to_tree() {
            let Some((of, offset)) = call.root.and_then(|root| root.kind.root()) else {
                return Ok(());
            };
            let node = self.node(of, offset, true);
            let registers = [Some(node), Some(node), None, None, None];
            return self.call_back(function, None, ReturnRange::new(0, 1), registers);
        }
        match call.special {
            Some(Special::WqSetCallback) => {
                let Some(map) = regs[1].map() else { return Ok(()) };
                let registers = self.element_registers((map, regs[1].map_uid));
                self.call_back(function, Some(true), ReturnRange::new(0, 0), registers)
            }
            Some(Special::TaskWorkScheduleSignal | Special::TaskWorkScheduleResume) => {
                let Some(map) = regs[3].map() else { return Ok(()) };
                let registers = self.element_registers((map, regs[3].map_uid));
                let range = ReturnRange::new(i32::MIN, i32::MAX);
                self.call_back(function, Some(true), range, registers)
            }
            _ => Ok(()),
        }
    }

    /// Sections that it enters or leaves.
    fn enter_or_leave(&mut self, call: &KernelCall<'_>) -> Check {
        let name = call.name;
        match call.special {
            Some(Special::RcuReadLock) => self.state.rcu += 1,
            Some(Special::RcuReadUnlock) => {
                if self.state.rcu == 0 {
                    refuse!(self, EINVAL, "unmatched rcu read unlock (kernel function {name})");
                }
                self.state.rcu -= 1;
                if self.may_sleep_here() {
                    self.distrust_rcu();
                }
            }
            Some(Special::PreemptDisable) => self.state.preempt_off += 1,
            Some(Special::PreemptEnable) => {
                if self.state.preempt_off == 0 {
                    refuse!(
                        self,
                        EINVAL,
                        "unmatched attempt to enable preemption (kernel function {name})"
                    );
                }
                self.state.preempt_off -= 1;
                if self.may_sleep_here() {
                    self.distrust_rcu();
                }
            }
            _ => {}
        }
        if call.is(KfuncFlags::SLEEPABLE) && !self.may_sleep_here() {
            let place = self.why_no_sleep();
            refuse!(self, EACCES, "kernel func {name} is sleepable within {place}");
        }
        let is_rcu = [Special::RcuReadLock, Special::RcuReadUnlock];
        if call.is_one_of(&is_rcu) && self.in_tree_callback() {
            refuse!(
                self,
                EACCES,
                "Calling bpf_rcu_read_{{lock,unlock}} in unnecessary rbtree callback"
            );
        }
        if call.is(KfuncFlags::RCU_PROTECTED) && self.may_sleep_here() {
            refuse!(self, EACCES, "kernel func {name} requires RCU critical section protection");
        }
        Ok(())
    }

    fn release_kernel_argument(&mut self, call: &KernelCall<'_>) -> Check {
        let register = self.state.frame().regs[1];
        if register.is_null() {
            return Ok(());
        }
        let id = match call.dynptr {
            Some(dynptr) if super::resources::is_referenced(dynptr.object) => dynptr.parent_id,
            Some(dynptr) => dynptr.id,
            None if self.state.has_reference(register.id) => register.id,
            None => return Ok(()),
        };
        self.release(id)
    }
}
