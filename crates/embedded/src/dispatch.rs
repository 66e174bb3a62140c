//! From an event of the hooks to the programs that wait for it.

use std::fs;

use bombus_vm::Context;

use crate::core::Core;
use crate::hooks::{Event, Task};
use crate::links::Links;
use crate::records;
use crate::run::{REGISTERS_ADDRESS, registers};

/// Runs the programs of an event.
pub(crate) fn dispatch(core: &mut Core, links: &Links, event: Event, task: &mut dyn Task) {
    match event {
        Event::SysEnter { nr, args, compat } => {
            let raw = records::raw_tracepoint([REGISTERS_ADDRESS, records::number(nr)]);
            core.run_all(&links.sys_enter.raw_tracepoint, &raw, task);
            let record = records::sys_enter(nr, &args);
            core.run_all(&links.sys_enter.all, &record, task);
            if !compat {
                core.run_all(links.sys_enter.of(nr), &record, task);
            }
        }
        Event::SysExit { nr, ret, compat } => {
            let raw = records::raw_tracepoint([REGISTERS_ADDRESS, ret as u64]);
            core.run_all(&links.sys_exit.raw_tracepoint, &raw, task);
            let record = records::sys_exit(nr, ret);
            core.run_all(&links.sys_exit.all, &record, task);
            if !compat {
                core.run_all(links.sys_exit.of(nr), &record, task);
            }
        }
        Event::Fork { child, .. } if !links.fork.is_empty() => {
            let record = records::process_fork(&task.comm(), task.tid(), child);
            core.run_all(&links.fork, &record, task);
        }
        Event::Exec { old_tid } if !links.exec.is_empty() => {
            let record = records::process_exec(&executed_file(task), task.tid(), old_tid);
            core.run_all(&links.exec, &record, task);
        }
        Event::Exit { .. } if !links.exit.is_empty() => {
            let record = records::process_exit(&task.comm(), task.tid(), is_last_thread(task));
            core.run_all(&links.exit, &record, task);
        }
        Event::Signal { number, errno, code } => {
            let record = records::signal_deliver(number, errno, code);
            core.run_all(&links.signal_deliver, &record, task);
        }
        Event::Breakpoint { id } | Event::Return { id } => {
            let Some((breakpoint, attached)) = links.breakpoints.get(id as usize) else { return };
            let Ok(registers) = registers(task) else { return };
            // The kernel gives a return probe the address of the function, which is not known here.
            let rip = bombus_platform::pt_regs::INSTRUCTION_POINTER as usize;
            let (words, _) = registers.as_chunks::<8>();
            let ip = if breakpoint.on_return { 0 } else { u64::from_le_bytes(words[rip / 8]) };
            core.run(*attached, Context::ReadOnly(&registers), task, ip);
        }
        Event::Fork { .. } | Event::Exec { .. } | Event::Exit { .. } => {}
    }
}

/// The name that was given to `execve`: the kernel leaves it on the new program's stack and its
/// address in the auxiliary vector (`create_elf_tables`, `fs/binfmt_elf.c`).
fn executed_file(task: &mut dyn Task) -> Vec<u8> {
    /// `AT_EXECFN` (`include/uapi/linux/auxvec.h`).
    const EXECFN: u64 = 31;
    let vector = fs::read(format!("/proc/{}/auxv", task.pid())).unwrap_or_default();
    let (words, _) = vector.as_chunks::<8>();
    let (entries, _) = words.as_chunks::<2>();
    let name = entries.iter().find(|[key, _]| u64::from_le_bytes(*key) == EXECFN);
    let Some([_, address]) = name else { return Vec::new() };
    let mut name = vec![0; libc::PATH_MAX as usize];
    let len = task.read_memory(u64::from_le_bytes(*address), &mut name);
    name.truncate(len);
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(len);
    name.truncate(end);
    name
}

/// Whether the task is the last thread of its process.
fn is_last_thread(task: &dyn Task) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", task.pid()));
    threads.map_or(true, |threads| threads.count() <= 1)
}
