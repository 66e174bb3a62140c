//! `struct pt_regs` of x86-64 (`arch/x86/include/asm/ptrace.h`): what uprobes and raw system call
//! tracepoints hand to a program. Offsets in bytes.

/// Bytes of the structure.
pub const SIZE: usize = 168;
/// Register arguments of a function (System V ABI, section 3.2.3): rdi, rsi, rdx, rcx, r8, r9.
pub const FUNCTION_ARGS: [u16; 6] = [112, 104, 96, 88, 72, 64];
/// Arguments of a system call: rdi, rsi, rdx, r10, r8, r9.
pub const SYSCALL_ARGS: [u16; 6] = [112, 104, 96, 56, 72, 64];
/// Return value: rax.
pub const RETURN_VALUE: u16 = 80;
/// Number of the system call: `orig_ax`.
pub const SYSCALL_NUMBER: u16 = 120;
/// Instruction pointer.
pub const INSTRUCTION_POINTER: u16 = 128;
/// Stack pointer.
pub const STACK_POINTER: u16 = 152;
