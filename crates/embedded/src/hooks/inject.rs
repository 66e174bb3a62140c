//! Lets a stopped task make a system call for us: room for out-of-line code has to be mapped by
//! the process itself.

use super::engine::Engine;
use super::procfs::Mapping;
use super::sys::{self, Resume, SyscallInfo};

/// The `syscall` instruction.
const SYSCALL: [u8; 2] = [0x0f, 0x05];
/// A page.
const PAGE: u64 = 4096;
/// How far out-of-line code may be from where it belongs: within the reach of a 32-bit
/// displacement, less what a large library may take.
const REACH: u64 = 1 << 30;
/// Below, the kernel maps nothing for ordinary users (`vm.mmap_min_addr`).
const LOWEST: u64 = 1 << 16;

impl Engine {
    /// Maps executable memory near an address; returns where.
    pub(super) fn map_code_near(
        &mut self,
        tid: u32,
        mappings: &[Mapping],
        near: u64,
        length: u64,
    ) -> Option<u64> {
        let length = length.next_multiple_of(PAGE);
        let at = gap(mappings, near, length)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        let args = [at, length, protection as u64, flags as u64, u64::MAX, 0];
        let mapped = self.call(tid, mappings, libc::SYS_mmap as u64, args)?;
        (mapped == at).then_some(at)
    }

    /// Makes the task do a system call; its result, when it could be done.
    fn call(&mut self, tid: u32, mappings: &[Mapping], nr: u64, args: [u64; 6]) -> Option<u64> {
        let instruction = self.find_syscall(tid, mappings)?;
        let saved = sys::get_regs(tid).ok()?;
        let mask = sys::get_signal_mask(tid).ok()?;
        let mut regs = saved;
        regs.rip = instruction;
        regs.rax = nr;
        // Not a system call to restart.
        regs.orig_rax = u64::MAX;
        [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9] = args;
        // Signals wait until the task is itself again.
        sys::set_signal_mask(tid, u64::MAX).ok()?;
        sys::set_regs(tid, &regs).ok()?;
        let mut stopped_by = None;
        let result = loop {
            sys::resume(tid, Resume::Syscall, 0).ok()?;
            let change = sys::wait_for(tid).ok()?;
            match change.stop() {
                // Killed.
                None | Some((_, libc::PTRACE_EVENT_EXIT)) => {
                    self.queue.push_back(change);
                    return None;
                }
                Some((signal, sys::EVENT_STOP)) if signal != libc::SIGTRAP => {
                    stopped_by = Some(signal);
                }
                Some((_, libc::PTRACE_EVENT_SECCOMP | sys::EVENT_STOP)) => {}
                Some((signal, 0)) if signal == libc::SIGTRAP | 0x80 => {
                    let done = match sys::syscall_info(tid) {
                        Ok(SyscallInfo::Exit { .. }) => true,
                        Ok(_) => false,
                        // At the entry the result is ENOSYS.
                        Err(_) => sys::get_regs(tid).ok()?.rax as i64 != -i64::from(libc::ENOSYS),
                    };
                    if done {
                        break sys::get_regs(tid).ok()?.rax;
                    }
                }
                // A fault: the instruction was not what it seemed.
                Some(_) => break u64::MAX,
            }
        };
        sys::set_regs(tid, &saved).ok()?;
        sys::set_signal_mask(tid, mask).ok()?;
        if is_restart(saved.orig_rax, saved.rax) {
            // The kernel restarts an interrupted call only on its way out of a stop for a signal:
            // back to where the task was found.
            sys::interrupt(tid).ok()?;
            sys::resume(tid, Resume::Continue, 0).ok()?;
            let change = sys::wait_for(tid).ok()?;
            if change.stop().is_none_or(|(_, event)| event != sys::EVENT_STOP) {
                self.queue.push_back(change);
            }
        }
        if let Some(signal) = stopped_by {
            let pid = self.tasks.threads.get(&tid).map_or(tid, |thread| thread.pid);
            sys::send_signal(pid, tid, signal);
        }
        Some(result)
    }

    /// A `syscall` instruction in the process: the vDSO has one.
    fn find_syscall(&mut self, tid: u32, mappings: &[Mapping]) -> Option<u64> {
        let (_, process, _) = self.tasks.get(tid)?;
        let vdso = mappings.iter().find(|mapping| mapping.path.as_os_str() == "[vdso]")?;
        let mut code = vec![0; (vdso.end - vdso.start).min(16 * PAGE) as usize];
        let length = process.read(vdso.start, &mut code);
        let at = code[..length].windows(2).position(|pair| pair == SYSCALL)?;
        Some(vdso.start + at as u64)
    }
}

/// Whether a system call was interrupted and is to be restarted (`ERESTARTSYS` and its like,
/// `include/linux/errno.h`).
fn is_restart(orig_rax: u64, rax: u64) -> bool {
    orig_rax as i64 >= 0 && (-516..=-512).contains(&(rax as i64))
}

/// Finds free addresses within reach, below if possible: above a program its heap grows.
fn gap(mappings: &[Mapping], near: u64, length: u64) -> Option<u64> {
    let mut below = None;
    let mut above = None;
    let mut end = LOWEST;
    for mapping in mappings {
        let free = mapping.start.saturating_sub(end);
        if free >= length && mapping.start <= near && near - mapping.start < REACH {
            below = Some(mapping.start - length);
        }
        if free >= length && end > near && end - near < REACH && above.is_none() {
            above = Some(end);
        }
        end = end.max(mapping.end);
    }
    below.or(above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64) -> Mapping {
        Mapping {
            start,
            end,
            executable: true,
            offset: 0,
            device: (0, 0),
            inode: 0,
            path: Default::default(),
        }
    }

    #[test]
    fn gaps() {
        let maps = [mapping(0x40_0000, 0x50_0000), mapping(0x60_0000, 0x70_0000)];
        assert_eq!(gap(&maps, 0x40_1000, 0x1000), Some(0x3f_f000));
        assert_eq!(gap(&maps, 0x60_1000, 0x1000), Some(0x5f_f000));
        assert_eq!(gap(&maps, 0x60_1000, 0x20_0000), Some(0x20_0000));
        let tight = [mapping(LOWEST, 0x50_0000), mapping(0x60_0000, 0x70_0000)];
        assert_eq!(gap(&tight, 0x40_1000, 0x1000), Some(0x50_0000));
        let far = [mapping(LOWEST, 0x50_0000), mapping(1 << 40, (1 << 40) + PAGE)];
        assert_eq!(gap(&far[..1], 0x40_1000, 0x1000), None);
        assert_eq!(gap(&far, 1 << 40, 0x1000), Some((1 << 40) - 0x1000));
    }
}
