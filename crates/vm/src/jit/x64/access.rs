//! Memory.

use bombus_isa::{AtomicOp, Operand, Reg, Size, Width};

use super::emit::Emitter;
use super::encode::{Arith, Branch, Cc, Gpr, Mem};
use super::{SCRATCH, SCRATCH3};

impl Emitter<'_> {
    /// `*(size *)(base + off) = src`.
    #[inline]
    pub(super) fn store(&mut self, size: Size, base: Reg, off: i16, src: Operand) {
        let mem = self.displaced(base, off);
        match src {
            Operand::Reg(src) => self.asm.store(size, mem, self.gpr(src)),
            Operand::Imm(imm) => match self.visible(imm) {
                Some(imm) => self.asm.store_imm(size, mem, imm),
                None => {
                    self.constant(SCRATCH, imm as u64);
                    self.asm.store(size, mem, SCRATCH);
                }
            },
        }
    }

    /// An atomic read-modify-write operation.
    pub(super) fn atomic(
        &mut self,
        size: Size,
        op: AtomicOp,
        fetch: bool,
        base: Reg,
        off: i16,
        src: Reg,
    ) {
        let width = if size == Size::Dw { Width::W64 } else { Width::W32 };
        let (mem, value) = (self.displaced(base, off), self.gpr(src));
        let arith = match op {
            AtomicOp::Xchg => return self.asm.xchg(width, mem, value),
            AtomicOp::Cmpxchg => {
                self.asm.lock_cmpxchg(width, mem, value);
                if width == Width::W32 {
                    // When it has exchanged, the upper half of r0 is as it was.
                    self.asm.mov(Width::W32, Gpr::RAX, Gpr::RAX);
                }
                return;
            }
            AtomicOp::Add if fetch => return self.asm.lock_xadd(width, mem, value),
            AtomicOp::Add => Arith::Add,
            AtomicOp::Or => Arith::Or,
            AtomicOp::And => Arith::And,
            AtomicOp::Xor => Arith::Xor,
        };
        if fetch {
            self.fetch_by_comparing(arith, width, mem, value);
        } else {
            self.asm.lock_arith(arith, width, mem, value);
        }
    }

    /// The processor has no instruction for these: tries until nobody came in between.
    fn fetch_by_comparing(&mut self, op: Arith, width: Width, mem: Mem, src: Gpr) {
        let rax = Gpr::RAX;
        // rax is the comparison's; what was in it is in the scratch register meanwhile.
        self.asm.mov(Width::W64, SCRATCH, rax);
        let aside = |reg: Gpr| if reg == rax { SCRATCH } else { reg };
        let mem = Mem { base: aside(mem.base), ..mem };
        self.asm.load(if width == Width::W64 { Size::Dw } else { Size::W }, false, rax, mem);
        let again = self.asm.len();
        self.asm.mov(Width::W64, SCRATCH3, rax);
        self.asm.arith(op, width, SCRATCH3, aside(src));
        self.asm.lock_cmpxchg(width, mem, SCRATCH3);
        self.asm.branch_to(Branch::Jcc(Cc::Ne), again);
        if src != rax {
            self.asm.mov(width, src, rax);
            self.asm.mov(Width::W64, rax, SCRATCH);
        } else if width == Width::W32 {
            self.asm.mov(width, rax, rax);
        }
    }
}
