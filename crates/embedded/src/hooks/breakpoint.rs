//! placeholder
use super::engine::Engine;
use super::stop::On;
use super::task::Thread;
use super::Control;
#[derive(Clone, Debug, Default)]
pub(super) struct AddressSpace;
#[derive(Clone, Debug, Default)]
pub(super) struct Breakpoints(Vec<super::Breakpoint>);
impl Breakpoints {
    pub(super) fn new(list: &[super::Breakpoint]) -> Self { Breakpoints(list.to_vec()) }
    pub(super) fn is_empty(&self) -> bool { self.0.is_empty() }
}
impl Engine {
    pub(super) fn insert_breakpoints(&mut self, _tid: u32) {}
    pub(super) fn remove_breakpoints(&mut self) {}
    pub(super) fn breakpoint_stop(&mut self, _tid: u32, _on: On<'_>) -> Option<Control> { None }
    pub(super) fn copy_returns(&mut self, _tid: u32, _thread: &mut Thread) {}
    pub(super) fn start_followed(&mut self) { 
        if self.every_syscall { for &tid in self.tasks.threads.keys() { let _ = super::sys::interrupt(tid); } }
    }
}
