//! What programs may attach to, and what they get there.

mod callbacks;
mod functions;
mod iterators;
pub mod lsm;
mod tracepoints;

pub use callbacks::{CALLBACKS, Callbacks, Sleeping, WritableField, callbacks, writable_fields};
pub use functions::{
    AttachRefusal, DENIED, NO_RETURN, arguments_are_trusted, attach_refusal, can_be_sleepable,
    helper_is_allowed, may_fail, may_modify_return, may_sleep_at,
};
pub use iterators::{ITERATORS, Iterator, IteratorArgument, iterator};
pub use tracepoints::{TracepointArgument, tracepoint_argument, tracepoint_sleeps};
