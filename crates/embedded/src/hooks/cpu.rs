//! Keeps the tracer on the CPU of the task that it traces.

use super::engine::Engine;

/// placeholder
#[derive(Debug, Default)]
pub(super) struct Follower;
impl Follower {
    pub(super) fn stop(&mut self) {}
    pub(super) fn gone(&mut self, _tid: u32) {}
}
impl Engine {
    pub(super) fn follow_cpu(&mut self, _tid: u32) {}
}
