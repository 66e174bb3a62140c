//! The system calls of x86-64 and the fields of their tracepoints.

/// One system call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syscall {
    /// The number in `rax`.
    pub number: u32,
    /// The name in `unistd.h`.
    pub name: &'static str,
    /// What follows `sys_enter_` and `sys_exit_` in the tracepoints' names; `None` when the
    /// kernel has no such tracepoints.
    pub event: Option<&'static str>,
    /// The arguments, in the order of the registers.
    pub args: &'static [SyscallArg],
}

/// One argument, as the tracepoint's format has it. Each takes eight bytes in the record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SyscallArg {
    /// The C type.
    pub ty: &'static str,
    /// The field's name.
    pub name: &'static str,
}

/// Every system call, by number.
pub const SYSCALLS: &[Syscall] = crate::syscall_table::TABLE;

/// The system call with this number.
pub fn syscall_by_number(number: u32) -> Option<&'static Syscall> {
    let index = SYSCALLS.binary_search_by_key(&number, |call| call.number).ok()?;
    Some(&SYSCALLS[index])
}

/// The system call whose tracepoints are `sys_enter_EVENT` and `sys_exit_EVENT`.
pub fn syscall_by_event(event: &str) -> Option<&'static Syscall> {
    SYSCALLS.iter().find(|call| call.event == Some(event))
}

/// The system call with this name in `unistd.h`.
pub fn syscall_by_name(name: &str) -> Option<&'static Syscall> {
    SYSCALLS.iter().find(|call| call.name == name)
}
