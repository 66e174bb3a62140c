//! The helpers and kernel functions that cases call.

use bombus_platform::{Helper, HelperInfo};
use bombus_verifier::code::{Access, Callback, Callee, Extent, Facts, KernelFunction};

pub(crate) struct Table;

impl Facts for Table {
    fn helper(&self, id: i32) -> Option<Callee> {
        let helper = Helper::from_id(id)?;
        let map = helper.args().iter().position(|info| *info == HelperInfo::Map);
        let map = map.map(|place| place as u8);
        let access = |info: &HelperInfo| match info {
            HelperInfo::Mem => Access::Reads(Extent::Next),
            HelperInfo::MemUninit => Access::Writes(Extent::Next),
            HelperInfo::MapKey => Access::Reads(Extent::Key { map }),
            HelperInfo::MapValue => Access::Reads(Extent::Value { map }),
            HelperInfo::Pointer if matches!(helper, Helper::Loop | Helper::ForEachMapElem) => {
                Access::Nothing
            }
            _ => Access::Unknown,
        };
        Some(Callee {
            arguments: helper.args().iter().map(access).collect(),
            fastcall: helper == Helper::GetSmpProcessorId,
            changes_packet: matches!(helper, Helper::TailCall | Helper::SkbStoreBytes),
            callback: match helper {
                Helper::Loop | Helper::ForEachMapElem => Callback::Now,
                _ => Callback::Never,
            },
            ..Callee::default()
        })
    }

    fn kfunc(&self, name: &str) -> Option<KernelFunction> {
        let plain = KernelFunction::default();
        Some(match name {
            "bpf_throw" => KernelFunction { throws: true, ..plain },
            "bpf_iter_num_new" => KernelFunction { is_iterator_new: true, ..plain },
            "bpf_iter_num_next" => KernelFunction { is_iterator_next: true, ..plain },
            "bpf_iter_num_destroy" => plain,
            "bpf_sleeps" => KernelFunction { might_sleep: true, ..plain },
            _ => return None,
        })
    }
}
