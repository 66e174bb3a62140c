//! The helpers and kernel functions that cases call.

use bombus_platform::proto::proto;
use bombus_platform::{AttachType, ProgType};
use bombus_verifier::code::{Callback, Callee, Facts, KernelFunction};

pub(crate) struct Table(pub(crate) ProgType);

impl Facts for Table {
    fn helper(&self, id: i32) -> Option<Callee> {
        proto(self.0, AttachType::CgroupInetIngress, id).map(Callee::from)
    }

    fn kfunc(&self, name: &str) -> Option<KernelFunction> {
        let plain = KernelFunction::default();
        Some(match name {
            "bpf_throw" => KernelFunction { throws: true, ..plain },
            "bpf_iter_num_new" => KernelFunction { is_iterator_new: true, ..plain },
            "bpf_iter_num_next" => KernelFunction { is_iterator_next: true, ..plain },
            "bpf_iter_num_destroy" | "bpf_dynptr_slice" => plain,
            "bpf_rbtree_add" => KernelFunction { callback: Callback::Now, ..plain },
            "bpf_wq_set_callback" => KernelFunction { callback: Callback::Later, ..plain },
            "bpf_sleeps" => KernelFunction { might_sleep: true, ..plain },
            _ => return None,
        })
    }
}
