//! What the tables of [`bombus_platform`] say of what a program calls.

use bombus_platform::kfunc::{KfuncFlags, SpecialKfunc, kfunc_for};
use bombus_platform::proto::{Caller, proto_for};

use super::{Callback, Callee, Facts, KernelFunction};

/// The tables, for one program.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a>(pub Caller<'a>);

impl Facts for Tables<'_> {
    fn helper(&self, id: i32) -> Option<Callee> {
        proto_for(&self.0, id).map(Callee::from)
    }

    fn kfunc(&self, name: &str) -> Option<KernelFunction> {
        let flags = kfunc_for(&self.0, name)?.flags;
        let special = SpecialKfunc::from_name(name);
        Some(KernelFunction {
            fastcall: flags.has(KfuncFlags::FASTCALL),
            might_sleep: flags.has(KfuncFlags::SLEEPABLE),
            changes_packet: special == Some(SpecialKfunc::XdpPullData),
            callback: callback(special),
            throws: special == Some(SpecialKfunc::Throw),
            is_iterator_new: flags.has(KfuncFlags::ITER_NEW),
            is_iterator_next: flags.has(KfuncFlags::ITER_NEXT),
            implicit_arguments: flags.has(KfuncFlags::IMPLICIT_ARGS),
        })
    }
}

/// `is_sync_callback_calling_kfunc`, `is_async_callback_calling_kfunc`.
fn callback(special: Option<SpecialKfunc>) -> Callback {
    match special {
        Some(SpecialKfunc::RbtreeAdd | SpecialKfunc::RbtreeAddImpl) => Callback::Now,
        Some(
            SpecialKfunc::WqSetCallback
            | SpecialKfunc::TaskWorkScheduleSignal
            | SpecialKfunc::TaskWorkScheduleResume,
        ) => Callback::Later,
        _ => Callback::Never,
    }
}
