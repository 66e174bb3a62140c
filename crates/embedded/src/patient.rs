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

/// Whether an address is loaded for nothing but an atomic addition right behind, and perhaps to keep
/// an error there.
fn is_only_added_to(ops: &[Op], address: Reg) -> bool {
    let mut rest = ops.iter().skip_while(|op| matches!(op, Op::LoadImm64 { .. }));
    let harmless = |op: &Op| match *op {
        Op::Alu { dst, src: Operand::Imm(_), .. } => dst != address,
        // The error of a helper: any of them is as good as the last.
        Op::Store { src: Operand::Reg(src), base, .. } => base == address && src == Reg::R0,
        _ => false,
    };
    let adds = rest.find(|op| !harmless(op));
    matches!(adds, Some(Op::Atomic { op: AtomicOp::Add, base, .. }) if *base == address)
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Insn, Size, opcode};
    use bombus_platform::MapType;
    use bombus_spec::MapSpec;

    use super::*;

    fn check(insns: &[Insn], map_type: MapType) -> bool {
        let (key_size, value_size, max_entries) = (4, 8, 1);
        let spec = MapSpec { map_type, key_size, value_size, max_entries, ..MapSpec::default() };
        let map = Map::new(&spec, None, None, 2, 0).unwrap();
        may_wait(&crate::programs::decode(insns), &[map])
    }

    #[test]
    fn aggregates_may_wait() {
        let [first, second] = Insn::ld_imm64(Reg::R1, opcode::pseudo::MAP_FD, 1);
        let lookup = Insn::call_helper(Helper::MapLookupElem.id());
        let counts = [first, second, lookup, Insn::exit()];
        assert!(check(&counts, MapType::PercpuHash));
        assert!(check(&counts, MapType::PercpuArray));
        assert!(!check(&counts, MapType::Hash));
        assert!(!check(&counts, MapType::LruPercpuHash));
    }

    #[test]
    fn what_is_added_to_may_wait() {
        let [first, second] = Insn::ld_imm64(Reg::R1, opcode::pseudo::MAP_VALUE, 1);
        let one = Insn::mov_imm(Reg::R2, 1);
        let add = Insn::atomic(Size::Dw, opcode::atomic::ADD, Reg::R1, 0, Reg::R2);
        assert!(check(&[first, second, one, add, Insn::exit()], MapType::Array));
        assert!(check(&[one, first, second, add, Insn::exit()], MapType::Array));
        let error = Insn::store(Size::Dw, Reg::R1, 8, Reg::R0);
        assert!(check(&[first, second, error, one, add, Insn::exit()], MapType::Array));
        let store = Insn::store(Size::Dw, Reg::R1, 0, Reg::R2);
        assert!(!check(&[first, second, one, store, Insn::exit()], MapType::Array));
        let other = Insn::mov_imm(Reg::R1, 1);
        assert!(!check(&[first, second, other, add, Insn::exit()], MapType::Array));
    }

    #[test]
    fn what_reads_or_tells_may_not() {
        for helper in [Helper::ProbeReadUserStr, Helper::KtimeGetNs, Helper::GetSmpProcessorId] {
            assert!(!check(&[Insn::call_helper(helper.id()), Insn::exit()], MapType::PercpuHash));
        }
    }
}
