//! Which programs may run later than what sets them off.
//!
//! What the hooks recorded reaches programs when the task has gone on. A program does not notice
//! when all that it looks at is in the record or belongs to the task; and nobody else notices when
//! all that it changes are aggregates, which come out the same in any order: values of one CPU, and
//! numbers that are only added to.

use bombus_isa::{AtomicOp, Imm64, Op, Operand, Reg};
use bombus_platform::Helper;

use crate::maps::Map;

/// Helpers that tell about the task, or work on maps.
const TIMELESS: [Helper; 6] = [
    Helper::MapLookupElem,
    Helper::MapUpdateElem,
    Helper::GetCurrentPidTgid,
    Helper::GetCurrentUidGid,
    Helper::GetCurrentComm,
    Helper::GetPrandomU32,
];

/// Whether a program may run later. `ops` has one entry a slot; `maps` are those that it may name.
pub(crate) fn may_wait(ops: &[Op], maps: &[Map]) -> bool {
    let is_apart = |fd: i32| {
        let map = usize::try_from(fd).ok().and_then(|fd| maps.get(fd.checked_sub(1)?));
        map.is_some_and(|map| map.apart)
    };
    ops.iter().enumerate().all(|(pc, op)| match *op {
        Op::CallHelper { id } => TIMELESS.iter().any(|helper| helper.id() == id),
        Op::LoadImm64 { imm: Imm64::MapFd(fd), .. } => is_apart(fd),
        Op::LoadImm64 { dst, imm: Imm64::MapValue { .. } } => is_only_added_to(&ops[pc..], dst),
        Op::LoadImm64 { imm: Imm64::Value(_), .. } => true,
        Op::LoadImm64 { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } => false,
        Op::AddrSpaceCast { .. } | Op::LoadPacket { .. } => false,
        _ => true,
    })
}

/// Whether an address is loaded for nothing but an atomic addition right behind.
fn is_only_added_to(ops: &[Op], address: Reg) -> bool {
    let mut rest = ops.iter().skip_while(|op| matches!(op, Op::LoadImm64 { .. }));
    let is_constant =
        |op: &&Op| matches!(op, Op::Alu { dst, src: Operand::Imm(_), .. } if *dst != address);
    let adds = rest.find(|op| !is_constant(op));
    matches!(adds, Some(Op::Atomic { op: AtomicOp::Add, base, .. }) if *base == address)
}
