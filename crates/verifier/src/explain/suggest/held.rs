//! Giving back what is held: releases, and ends of sections.

use bombus_isa::opcode::{alu, jmp};
use bombus_isa::{Insn, Op, Reg, Size};
use bombus_platform::{HELPER_NAMES, Helper};

use super::{Candidate, Change, MAX_TRIES, insert};
use crate::explain::Case;
use crate::explain::finding::{Finding, number_after};
use crate::fields::FieldKind;
use crate::state::{Base, Register, State};

/// A release before the end; or where the path left those that do it right, or as soon as nothing
/// uses it any more.
pub(super) fn releases(case: &Case<'_>, finding: &Finding) -> Vec<Candidate> {
    let Some(state) = case.last() else { return Vec::new() };
    let at = number_after(&case.rejection.message, "alloc_insn=");
    let held = state.references.iter().find(|held| at == Some(held.slot as i64));
    let Some(held) = held.or(state.references.last()) else { return Vec::new() };
    let Some((name, call)) = release_of(case, held.slot) else { return Vec::new() };
    let mut all = Vec::new();
    for (index, state) in case.path.iter().enumerate().rev().take(200) {
        if state.slot == held.slot || all.len() >= MAX_TRIES {
            break;
        }
        let is_it = |register: &Register| register.id == held.id && register.kind.is_pointer();
        let frame = state.frame();
        let spilled = frame.stack.iter().position(|slot| slot.is_spill() && is_it(slot.register()));
        let (take, pointer) = match (holder(case, index, is_it), spilled) {
            (Some((n, pointer)), _) => (Insn::mov(Reg(1), Reg(n)), pointer),
            (None, Some(slot)) => {
                let offset = -((slot as i64 + 1) * 8);
                let load = Insn::load(Size::Dw, Reg(1), Reg::FP, offset as i16);
                (load, *frame.stack[slot].register())
            }
            (None, None) => continue,
        };
        let may_be_null = pointer.kind.may_be_null();
        let mut release = vec![take];
        if may_be_null {
            release.push(Insn::jmp_imm(jmp::JEQ, Reg(1), 0, call.len() as i16));
        }
        release.extend(&call);
        let what = &finding.name;
        let check = if may_be_null { format!("if ({what}) ") } else { String::new() };
        all.extend(at_step(case, index, release, format!("add `{check}{name}({what});`")));
    }
    all
}

/// A register that holds something before an instruction of the path. What nothing reads any more is
/// forgotten by the walk, but it is still there until something else is stored in the register.
fn holder(
    case: &Case<'_>,
    index: usize,
    is_it: impl Fn(&Register) -> bool,
) -> Option<(u8, Register)> {
    let frame = case.path[index].top();
    (0..10).find_map(|n| {
        let states = case.path[..=index].iter().rev().take(50);
        let looks = states.take_while(|state| state.top() == frame);
        let mut looks = looks.map(|state| state.frame().regs[usize::from(n)]);
        let held = looks.find(|register| !register.kind.is(Base::NotInit))?;
        is_it(&held).then_some((n, held))
    })
}

/// A call before an instruction of the path, or where the path came to it by a jump: the registers
/// that it would spoil must not be needed, but for a result that is a constant.
fn at_step(case: &Case<'_>, index: usize, mut call: Vec<Insn>, text: String) -> Vec<Candidate> {
    let state = &case.path[index];
    let live = case.code.as_ref().map_or(0x3f, |code| code.live_registers(state.slot));
    let result = state.frame().regs[0].number().and_then(|r| i32::try_from(r as i64).ok());
    if live & 0x3e != 0 || live & 1 != 0 && result.is_none() {
        return Vec::new();
    }
    if let (true, Some(result)) = (live & 1 != 0, result) {
        call.push(Insn::mov_imm(Reg::R0, result));
    }
    let before = index.checked_sub(1).map(|before| case.path[before].slot);
    let jump = before.filter(|slot| matches!(case.op(*slot), Some(Op::JumpIf { .. })));
    let between = jump.map(|jump| Candidate {
        text: format!("{text} on this path"),
        change: Change::Between(jump, state.slot, call.clone()),
    });
    [Some(insert(text, state.slot, call)), between].into_iter().flatten().collect()
}

/// What takes something, by how its name begins, and what gives it back.
const PAIRS: &[(&str, &str)] = &[
    ("bpf_ringbuf_reserve", "bpf_ringbuf_discard"),
    ("bpf_sk_lookup_", "bpf_sk_release"),
    ("bpf_skc_lookup_", "bpf_sk_release"),
    ("bpf_task_", "bpf_task_release"),
    ("bpf_cgroup_", "bpf_cgroup_release"),
    ("bpf_cpumask_", "bpf_cpumask_release"),
    ("bpf_obj_new", "bpf_obj_drop_impl"),
    ("bpf_skb_ct_", "bpf_ct_release"),
    ("bpf_xdp_ct_", "bpf_ct_release"),
];

/// How what a call took is given back: what it is called, and the call with `r1` set.
fn release_of(case: &Case<'_>, slot: usize) -> Option<(String, Vec<Insn>)> {
    let callee = case.callee(slot)?;
    let (_, release) = PAIRS.iter().find(|(taken, _)| callee.starts_with(taken))?;
    let call = match case.op(slot)? {
        Op::CallHelper { .. } => {
            let plain = release.strip_prefix("bpf_")?;
            let id = HELPER_NAMES.iter().position(|name| *name == plain)?;
            Insn::call_helper(id as i32)
        }
        _ => kfunc(case, release)?,
    };
    // These take flags, or a pointer to what is nothing here.
    let takes_two = ["bpf_ringbuf_discard", "bpf_obj_drop_impl"].contains(release);
    let more = takes_two.then(|| Insn::mov_imm(Reg(2), 0));
    Some(((*release).to_owned(), more.into_iter().chain([call]).collect()))
}

/// A call of a function of the kernel's.
fn kfunc(case: &Case<'_>, name: &str) -> Option<Insn> {
    let id = case.target.btf?.find(bombus_btf::Kind::Func, name)?;
    let op = Op::CallKfunc { id: i32::try_from(id.0).ok()?, btf: 0 };
    Some(op.encode().0)
}

/// The end of sections that are open where the program ends.
pub(super) fn closings(case: &Case<'_>, slot: usize) -> Vec<Candidate> {
    let Some(state) = case.last() else { return Vec::new() };
    if case.op(slot) != Some(Op::Exit) {
        return Vec::new();
    }
    let mut all = Vec::new();
    type IsOpen = fn(&State) -> bool;
    const SECTIONS: [(IsOpen, &str); 2] = [
        (|state| state.rcu > 0, "bpf_rcu_read_unlock"),
        (|state| state.preempt_off > 0, "bpf_preempt_enable"),
    ];
    for (is_open, name) in SECTIONS {
        let Some(call) = kfunc(case, name).filter(|_| is_open(state)) else { continue };
        let open = case.path.iter().enumerate().rev().take_while(|(_, state)| is_open(state));
        for (index, _) in open.take(50) {
            all.extend(at_step(case, index, vec![call], format!("add `{name}();`")));
        }
    }
    let Some((id, _)) = state.lock.filter(|_| state.locks > 0) else { return all };
    let open = case.path.iter().enumerate().rev().take_while(|(_, state)| state.locks > 0);
    for (index, _) in open.take(50) {
        let is_it = |register: &Register| register.kind.is(Base::MapValue) && register.id == id;
        let Some((n, pointer)) = holder(case, index, is_it) else { continue };
        let offset = pointer.known().unwrap_or(0) as i64;
        let lock = case.lock_offset(&pointer).unwrap_or(0);
        let by = i32::try_from(lock.wrapping_sub(offset)).unwrap_or(0);
        let mut insns = vec![Insn::mov(Reg(1), Reg(n))];
        if by != 0 {
            insns.push(Insn::alu64_imm(alu::ADD, Reg(1), by));
        }
        insns.push(Insn::call_helper(Helper::SpinUnlock.id()));
        all.extend(at_step(case, index, insns, "release the lock, by bpf_spin_unlock(),".into()));
    }
    all
}

impl Case<'_> {
    /// Where the lock is in the value that a register points to.
    fn lock_offset(&self, register: &Register) -> Option<i64> {
        let map = self.maps.get(register.map()?);
        let lock = map.record.find(|kind| kind == FieldKind::SpinLock)?;
        Some(lock.offset.into())
    }
}
