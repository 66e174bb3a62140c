//! The x86-64 target: templates for each instruction, after the kernel's
//! (`arch/x86/net/bpf_jit_comp.c`), in the System V calling convention.
//!
//! | BPF | machine | |
//! |---|---|---|
//! | `r0` | `rax` | result of calls |
//! | `r1` to `r5` | `rdi`, `rsi`, `rdx`, `rcx`, `r8` | arguments of calls: no moves |
//! | `r6` to `r9` | `rbx`, `r13`, `r14`, `r15` | kept by callees, saved only where used |
//! | `r10` | `rbp` | the frame |
//! | | `r9` | the environment, as sixth argument; else scratch |
//! | | `r12` | the environment, where a program calls |
//! | | `r10`, `r11` | scratch |

mod access;
mod alu;
mod aside;
mod call;
mod emit;
pub mod encode;
mod frame;
mod fused;
mod guarded;
mod operand;
mod optimised;
mod window;

use super::{LinkError, MachineCode, Target};
use crate::Program;
use crate::native::Linker;
use encode::Gpr;

/// An x86-64 processor, and how to compile for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct X64 {
    /// It has BMI2: shifts by any register.
    pub bmi2: bool,
    /// It has MOVBE: loads that reverse the bytes.
    pub movbe: bool,
    /// Hides constants of the program: they are never in the code as they are, but combined with
    /// numbers made from this seed. (A program that somebody hostile wrote could otherwise plant
    /// instructions in them: `bpf_jit_harden`, `Documentation/admin-guide/sysctl/net.rst`.)
    pub blinding: Option<u64>,
    /// Optimises first (not with hidden constants).
    pub optimise: bool,
}

impl X64 {
    /// The processor that this runs on.
    pub fn of_this_machine() -> X64 {
        #[cfg(target_arch = "x86_64")]
        let (bmi2, movbe) = (
            std::arch::is_x86_feature_detected!("bmi2"),
            std::arch::is_x86_feature_detected!("movbe"),
        );
        #[cfg(not(target_arch = "x86_64"))]
        let (bmi2, movbe) = (false, false);
        X64 { bmi2, movbe, ..X64::default() }
    }
}

impl Target for X64 {
    fn emit(
        &self,
        program: &Program,
        linker: &dyn Linker,
        address: u64,
    ) -> Result<MachineCode, LinkError> {
        emit::Emitter::new(*self, program, linker, address).emit()
    }
}

/// The environment.
const ENVIRONMENT: Gpr = Gpr::R12;
/// The environment where it is an argument; free between calls.
const SCRATCH3: Gpr = Gpr::R9;
const SCRATCH2: Gpr = Gpr::R10;
const SCRATCH: Gpr = Gpr::R11;

/// Where the registers of the program are.
const HOMES: [Gpr; 16] = {
    let mut homes = [Gpr::RBP; 16];
    homes[0] = Gpr::RAX;
    homes[1] = Gpr::RDI;
    homes[2] = Gpr::RSI;
    homes[3] = Gpr::RDX;
    homes[4] = Gpr::RCX;
    homes[5] = Gpr::R8;
    homes[6] = Gpr::RBX;
    homes[7] = Gpr::R13;
    homes[8] = Gpr::R14;
    homes[9] = Gpr::R15;
    homes
};
