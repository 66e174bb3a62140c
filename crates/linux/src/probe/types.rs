//! Which type information the kernel accepts.

use std::os::fd::AsFd;

use bombus_btf::{Builder, Linkage, SectionVar, TypeId};
use bombus_kernel::Feature;

use super::allowed;
use crate::Linux;
use crate::sys::btf;

pub(super) fn ask(linux: &Linux, feature: Feature) -> Option<bool> {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    match feature {
        Feature::Btf | Feature::ModuleBtf => {}
        Feature::BtfFunc => function(&mut types, int, Linkage::Static),
        Feature::BtfFuncGlobal => function(&mut types, int, Linkage::Global),
        Feature::BtfDatasec => section(&mut types, int, ".data"),
        Feature::BtfQuestionMark => section(&mut types, int, "?.data"),
        Feature::BtfFloat => {
            types.float("float", 4);
        }
        Feature::BtfDeclTag => {
            let var = types.var("x", int, Linkage::Static);
            types.decl_tag("tag", var, None);
        }
        Feature::BtfTypeTag => {
            let tag = types.type_tag("tag", int);
            types.ptr(tag);
        }
        Feature::BtfEnum64 => {
            types.enumeration64("e", 8, false, &[("X", 0)]);
        }
        _ => return None,
    }
    let blob = types.finish();
    let loaded = linux.permitted(|token| btf::load(&blob, token, &mut []));
    match loaded {
        // Who has types of modules tells whose they are.
        Ok(types) if feature == Feature::ModuleBtf => Some(btf::kernel_name(types.as_fd()).is_ok()),
        loaded => allowed(loaded),
    }
}

fn function(types: &mut Builder, int: TypeId, linkage: Linkage) {
    let proto = types.func_proto(TypeId::VOID, &[("a", int)]);
    types.func("f", proto, linkage);
}

fn section(types: &mut Builder, int: TypeId, name: &str) {
    let var = types.var("x", int, Linkage::Static);
    types.datasec(name, 4, &[SectionVar { ty: var, offset: 0, size: 4 }]);
}
