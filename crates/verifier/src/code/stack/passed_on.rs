//! Pointers that helpers pass on to functions of the program.

/// Which argument of a helper is a callback, and which it passes on to that, as which; from 1
/// (`find_callback_subprog`).
pub(super) struct PassedOn {
    /// The callback.
    pub(super) function: usize,
    /// What is passed on.
    pub(super) context: usize,
    /// Which argument of the callback that is.
    pub(super) passed_as: usize,
}

impl PassedOn {
    pub(super) const fn by(helper: i32) -> Option<PassedOn> {
        const FOR_EACH_MAP_ELEM: i32 = 164;
        const FIND_VMA: i32 = 180;
        const LOOP: i32 = 181;
        const USER_RINGBUF_DRAIN: i32 = 209;
        let (function, context, passed_as) = match helper {
            LOOP | USER_RINGBUF_DRAIN => (2, 3, 2),
            FOR_EACH_MAP_ELEM => (2, 3, 4),
            FIND_VMA => (3, 4, 3),
            _ => return None,
        };
        Some(PassedOn { function, context, passed_as })
    }
}
