//! Arguments of global functions that are the program's context (`__arg_ctx`).
//!
//! A global function is verified by itself, from the types of its arguments; that one is the
//! context, whatever its type, an attribute says since Linux 6.8. Older kernels go by the type's
//! name alone, which depends on the type of the program. So for them a function gets a second
//! description, in which the argument has that type: as libbpf does it
//! (`bpf_program_fixup_func_info`).

use std::collections::{BTreeSet, HashMap};

use bombus_btf::{Btf, Builder, Linkage, Type, TypeId};
use bombus_platform::{ProgType, context_struct};

/// Arguments with the attribute, by function.
pub(super) struct ContextArguments<'t> {
    types: &'t Btf,
    tagged: HashMap<TypeId, BTreeSet<usize>>,
}

impl<'t> ContextArguments<'t> {
    /// All that these types have, if any.
    pub(super) fn of(types: &'t Btf) -> Option<ContextArguments<'t>> {
        let mut tagged: HashMap<TypeId, BTreeSet<usize>> = HashMap::new();
        for (_, each) in types.types() {
            if let Type::DeclTag { tag: "arg:ctx", ty, component: Some(argument) } = each {
                tagged.entry(ty).or_default().insert(argument as usize);
            }
        }
        (!tagged.is_empty()).then_some(ContextArguments { types, tagged })
    }

    /// The function as older kernels have to see it in a program of this type; `None` when it is
    /// right as it is.
    pub(super) fn described(
        &self,
        function: TypeId,
        prog_type: ProgType,
        blob: &mut Builder,
    ) -> Option<TypeId> {
        let context = context_struct(prog_type)?;
        let tagged = self.tagged.get(&function)?;
        let Type::Func { name, proto, linkage: Linkage::Global } = self.types.ty(function)? else {
            return None;
        };
        let Type::FuncProto { ret, params } = self.types.ty(proto)? else { return None };
        let wrong = |&(index, ty): &(usize, TypeId)| {
            tagged.contains(&index) && self.is_to_be_replaced(ty, context, prog_type)
        };
        let wrong: Vec<usize> = params
            .iter()
            .map(|param| param.ty)
            .enumerate()
            .filter(wrong)
            .map(|(index, _)| index)
            .collect();
        if wrong.is_empty() {
            return None;
        }
        let structure = blob.structure(context, 0, &[]);
        let pointer = blob.ptr(structure);
        let arguments: Vec<(&str, TypeId)> = params
            .iter()
            .enumerate()
            .map(|(index, param)| match wrong.contains(&index) {
                true => (param.name, pointer),
                false => (param.name, param.ty),
            })
            .collect();
        let proto = blob.func_proto(ret, &arguments);
        let described = blob.func(name, proto, Linkage::Global);
        for index in wrong {
            blob.decl_tag("arg:ctx", described, Some(index as u32));
        }
        Some(described)
    }

    /// Whether an argument has a type that can stand for the context, but is not the one that older
    /// kernels know it by. Any other is left for the verifier to refuse.
    fn is_to_be_replaced(&self, argument: TypeId, context: &str, prog_type: ProgType) -> bool {
        let types = self.types;
        let Some(Type::Ptr(to)) = types.resolved(argument) else { return false };
        let is_probe = matches!(prog_type, ProgType::Kprobe | ProgType::PerfEvent);
        if is_probe && self.is_registers(to) {
            return false;
        }
        if types.resolve(to) == Some(TypeId::VOID) {
            return true;
        }
        match types.resolved(to) {
            Some(Type::Struct(of)) if of.name == context => false,
            Some(Type::Struct(of)) => is_probe && of.name == "pt_regs",
            Some(Type::Int(int)) => {
                let raw = [ProgType::RawTracepoint, ProgType::RawTracepointWritable];
                raw.contains(&prog_type) && int.size == 8
            }
            _ => false,
        }
    }

    /// Whether this is the typedef that probes' contexts have.
    fn is_registers(&self, mut id: TypeId) -> bool {
        // Modifiers of honest types end sooner.
        for _ in 0..32 {
            match self.types.ty(id) {
                Some(Type::Const(to) | Type::Volatile(to) | Type::Restrict(to)) => id = to,
                Some(Type::Typedef(name, _)) => return name == "bpf_user_pt_regs_t",
                _ => return false,
            }
        }
        false
    }
}
