//! Contexts: what programs find at `r1`.
//!
//! Records of tracepoints are laid out as the event formats of Linux 6.18 say
//! (`/sys/kernel/tracing/events`). The first eight bytes are the common fields, which programs
//! cannot use.

use bombus_platform::TASK_COMM_LEN;

/// `raw_syscalls:sys_enter`, and `syscalls:sys_enter_*`: a number at 8 (64 or 32 bits wide, which
/// makes no difference here), then the arguments.
pub(crate) fn sys_enter(nr: u32, args: &[u64; 6]) -> [u8; 64] {
    let mut record = [0; 64];
    put(&mut record, 8, &number(nr).to_le_bytes());
    for (index, arg) in args.iter().enumerate() {
        put(&mut record, 16 + 8 * index, &arg.to_le_bytes());
    }
    record
}

/// `raw_syscalls:sys_exit`, and `syscalls:sys_exit_*`: the number at 8, the result at 16.
pub(crate) fn sys_exit(nr: u32, ret: i64) -> [u8; 24] {
    let mut record = [0; 24];
    put(&mut record, 8, &number(nr).to_le_bytes());
    put(&mut record, 16, &ret.to_le_bytes());
    record
}

/// The arguments of a raw tracepoint.
pub(crate) fn raw_tracepoint(args: [u64; 2]) -> [u8; 16] {
    let mut record = [0; 16];
    put(&mut record, 0, &args[0].to_le_bytes());
    put(&mut record, 8, &args[1].to_le_bytes());
    record
}

/// The number of a system call, which is signed: a tracer may have made it -1.
pub(crate) fn number(nr: u32) -> u64 {
    i64::from(nr as i32) as u64
}

/// `sched:sched_process_fork`. The child has its parent's name.
pub(crate) fn process_fork(comm: &[u8; TASK_COMM_LEN], parent: u32, child: u32) -> Vec<u8> {
    let comm = until_zero(comm);
    let mut record = vec![0; 24];
    put(&mut record, 12, &parent.to_le_bytes());
    put(&mut record, 20, &child.to_le_bytes());
    append(&mut record, 8, comm);
    append(&mut record, 16, comm);
    record
}

/// `sched:sched_process_exec`.
pub(crate) fn process_exec(filename: &[u8], pid: u32, old_pid: u32) -> Vec<u8> {
    let mut record = vec![0; 20];
    put(&mut record, 12, &pid.to_le_bytes());
    put(&mut record, 16, &old_pid.to_le_bytes());
    append(&mut record, 8, filename);
    record
}

/// `sched:sched_process_exit`. `last` says whether the process ends with this thread.
pub(crate) fn process_exit(comm: &[u8; TASK_COMM_LEN], pid: u32, last: bool) -> [u8; 40] {
    /// Of a task that nobody gave another one (`DEFAULT_PRIO`, `include/linux/sched/prio.h`).
    const DEFAULT_PRIORITY: u32 = 120;
    let mut record = [0; 40];
    put(&mut record, 8, comm);
    put(&mut record, 24, &pid.to_le_bytes());
    put(&mut record, 28, &DEFAULT_PRIORITY.to_le_bytes());
    record[32] = last.into();
    record
}

/// `signal:signal_deliver`. What the process does about the signal (`sa_handler`, `sa_flags`) is
/// not known from outside, and zero.
pub(crate) fn signal_deliver(signal: i32, errno: i32, code: i32) -> [u8; 40] {
    let mut record = [0; 40];
    put(&mut record, 8, &signal.to_le_bytes());
    put(&mut record, 12, &errno.to_le_bytes());
    put(&mut record, 16, &code.to_le_bytes());
    record
}

fn put(record: &mut [u8], at: usize, bytes: &[u8]) {
    record[at..at + bytes.len()].copy_from_slice(bytes);
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Appends a string with its zero, and says at `at` where it is: `__data_loc`, the length in the
/// upper half, the offset in the lower one.
fn append(record: &mut Vec<u8>, at: usize, text: &[u8]) {
    let text = &text[..text.len().min(4096)];
    let location = (text.len() as u32 + 1) << 16 | record.len() as u32;
    record.extend_from_slice(text);
    record.push(0);
    put(record, at, &location.to_le_bytes());
}
