//! The helpers and kernel functions that cases call.

use bombus_platform::proto::Caller;
use bombus_platform::{AttachType, ProgType};
use bombus_verifier::code::{Callee, Facts, KernelFunction, Tables};

/// Those that there are, and a kernel function `bpf_sleeps`.
pub(crate) struct Known(Tables<'static>);

impl Known {
    pub(crate) fn new(prog_type: ProgType) -> Known {
        Known(Tables(Caller::new(prog_type, AttachType::CgroupInetIngress)))
    }
}

impl Facts for Known {
    fn helper(&self, id: i32) -> Option<Callee> {
        self.0.helper(id)
    }

    fn kfunc(&self, name: &str) -> Option<KernelFunction> {
        match name {
            "bpf_sleeps" => Some(KernelFunction { might_sleep: true, ..KernelFunction::default() }),
            _ => self.0.kfunc(name),
        }
    }
}
