//! Who watches a walk: what is known before each instruction, and where paths part.

use super::Walk;

/// Watches a walk. Where nobody does, the walk pays one comparison an instruction.
///
/// Paths are walked depth first: what parts last is walked first. So whoever keeps a stack knows which
/// instructions lead to the one that is looked at.
pub(crate) trait Observer {
    /// A function is walked from its start.
    fn starts(&mut self) {}
    /// The instruction in [`Walk::slot`] is looked at next, and [`Walk::state`] is what is known
    /// there. (Not told of one where a path ends because a kept state covers it.)
    fn before(&mut self, walk: &Walk<'_>);
    /// Another path leaves at the instruction that is looked at, to be walked later.
    fn parts(&mut self) {}
    /// The path ended. That which left last is walked now.
    fn turns_back(&mut self) {}
}

impl Walk<'_> {
    /// Tells whoever watches.
    pub(super) fn observe(&mut self) {
        if let Some(observer) = self.observer.take() {
            observer.before(self);
            self.observer = Some(observer);
        }
    }
}
