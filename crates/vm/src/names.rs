//! What a program's instructions name outside of it, asked for once, when it is made.

use bombus_isa::Imm64;

/// Memory that a program has under two addresses (`kernel/bpf/arena.c`): its own, by which it is
/// accessed, and that of user space, by which it is known in memory. Their lower halves are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arena {
    /// Guest address of the arena: a multiple of 4 GiB.
    pub address: u64,
    /// Where user space has it; only the upper half counts. 0: its addresses are just their lower
    /// halves (`BPF_F_NO_USER_CONV`).
    pub user: u64,
}

impl Arena {
    /// A pointer of address space 0 (access) or 1 (user space) from one of the other. What has no
    /// lower half is null in both.
    #[inline]
    pub(crate) fn cast(self, to: u16, pointer: u64) -> u64 {
        const UPPER: u64 = 0xffff_ffff << 32;
        match (pointer & !UPPER, to) {
            (0, _) => 0,
            (low, 0) => self.address | low,
            (low, _) => self.user & UPPER | low,
        }
    }
}

/// What a program's instructions name outside of it.
pub trait Names {
    /// What a `ld_imm64` loads that names something. It is not asked about plain numbers and
    /// functions.
    fn immediate(&mut self, imm: Imm64) -> Option<u64>;

    /// The number by which the host is called for a function of the kernel's
    /// ([`Call::helper`](crate::Call::helper)), which is none of a helper.
    fn kfunc(&mut self, id: i32, btf: i16) -> Option<i32> {
        let _ = (id, btf);
        None
    }

    /// The program's arena.
    fn arena(&self) -> Option<Arena> {
        None
    }

    /// Whether a verifier has seen that no path gets to an instruction which must not run; else such
    /// programs are refused.
    fn is_proved(&self) -> bool {
        false
    }
}

impl<F: FnMut(Imm64) -> Option<u64>> Names for F {
    fn immediate(&mut self, imm: Imm64) -> Option<u64> {
        self(imm)
    }
}
