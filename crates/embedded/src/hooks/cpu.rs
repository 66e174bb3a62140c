//! Keeps the tracer on the CPU of the task that it traces.

use super::engine::Engine;
use super::sys::{self, CpuSet};
use super::task::View;
use super::Task;

/// placeholder
#[derive(Default)]
pub(super) struct Follower { all: Option<CpuSet>, mode: Option<u32>, pinned: Option<u32>, last: u32, run: u32 , switches: u32, n: u32}
impl std::fmt::Debug for Follower { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
impl Follower {
    pub(super) fn stop(&mut self) {}
    pub(super) fn gone(&mut self, _tid: u32) {}
}
impl Engine {
    pub(super) fn follow_cpu(&mut self, tid: u32) {
        let f = &mut self.follower;
        let mode = *f.mode.get_or_insert_with(|| std::env::var("MODE").map_or(0, |m| m.parse().unwrap()));
        if mode == 0 { return; }
        if mode == 2 { if f.n == 0 { f.n = 1;
            // SAFETY: x
            unsafe { let p: libc::sched_param = std::mem::zeroed(); libc::sched_setscheduler(0, libc::SCHED_IDLE, &p); } } return; }
        f.n += 1;
        if tid == f.last { f.run += 1; } else { f.run = 0; f.last = tid; f.switches += 1; }
        if f.n % 32 == 0 {
            if f.switches > 4 { if f.pinned.take().is_some() { let all = f.all.unwrap(); let _ = sys::set_affinity(&all); } }
            f.switches = 0;
        }
        let due = f.run == 4 || f.run % mode == mode - 1;
        if !due { return; }
        let all = *f.all.get_or_insert_with(|| sys::affinity().unwrap());
        let Some((thread, process, caches)) = self.tasks.get(tid) else { return };
        let cpu = View { thread, process, caches, regs: None, cpu: None, stopped: true }.cpu();
        let f = &mut self.follower;
        if f.pinned != Some(cpu) { if let Some(one) = sys::only_cpu(&all, cpu) { let _ = sys::set_affinity(&one); f.pinned = Some(cpu); } }
    }
}
