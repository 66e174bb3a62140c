//! Which structure the records of a buffer are.
//!
//! The map may say it (`__type(value, struct event)`), or the user (`--type`). Otherwise C sources
//! follow one of two customs: a global variable points to the structure so that its type is kept, or
//! the type is just there because the program fills it in. Then the size has to decide.

use bombus_btf::{Btf, Composite, Type, TypeId};
use bombus_spec::{MapSpec, ObjectSpec};

use super::literal::with_nearest;

/// Structures that records could be.
pub(crate) struct Records<'a> {
    btf: &'a Btf,
    /// What global variables point to.
    pointed_to: Vec<TypeId>,
    /// Structures that maps do not have as keys or values.
    others: Vec<TypeId>,
}

impl<'a> Records<'a> {
    pub(crate) fn new(btf: &'a Btf, object: &ObjectSpec) -> Records<'a> {
        let resolved = |id: u32| btf.resolve(TypeId(id));
        let variables = object.variables.iter().filter_map(|variable| resolved(variable.type_id));
        let pointed_to = variables
            .filter_map(|id| match btf.ty(id) {
                Some(Type::Ptr(to)) => btf.resolve(to),
                _ => None,
            })
            .filter(|&id| structure(btf, id).is_some())
            .collect();
        let in_maps: Vec<TypeId> = object
            .maps
            .iter()
            .flat_map(|map| [map.key_type, map.value_type])
            .filter_map(resolved)
            .collect();
        let others = btf.ids().filter(|id| !in_maps.contains(id) && structure(btf, *id).is_some());
        Records { btf, pointed_to, others: others.collect() }
    }

    /// The structure of this name, with or without `struct` before it.
    pub(crate) fn named(&self, name: &str) -> Result<TypeId, String> {
        let name = name.strip_prefix("struct ").unwrap_or(name).trim();
        let named =
            |id: &TypeId| matches!(self.btf.ty(*id), Some(Type::Struct(of)) if of.name == name);
        self.btf.ids().find(named).ok_or_else(|| {
            let names = self.others.iter().map(|id| self.btf.name(*id));
            with_nearest(&format!("the object has no struct {name}"), name, names)
        })
    }

    /// The structure that the map says its records are.
    pub(crate) fn of_map(&self, map: &MapSpec) -> Option<TypeId> {
        let id = self.btf.resolve(TypeId(map.value_type))?;
        structure(self.btf, id).map(|_| id)
    }

    /// The only structure that a record of so many bytes can be; what is pointed to goes before
    /// what is just there, and what is called an event before what is not. `padding`: how many
    /// bytes may be unused at the end.
    pub(crate) fn of_size(&self, size: usize, padding: usize) -> Option<TypeId> {
        let fits = |id: &TypeId| {
            structure(self.btf, *id).is_some_and(|of| {
                let own = of.size as usize;
                own > 0 && own <= size && size - own <= padding
            })
        };
        let is_event = |id: &TypeId| self.btf.name(*id).contains("event");
        let only = |ids: Vec<TypeId>| match ids[..] {
            [id] => Some(id),
            _ => None,
        };
        let fitting = |ids: &[TypeId]| ids.iter().copied().filter(fits).collect::<Vec<_>>();
        let (pointed_to, others) = (fitting(&self.pointed_to), fitting(&self.others));
        let events = others.iter().copied().filter(is_event).collect();
        only(pointed_to).or_else(|| only(events)).or_else(|| only(others))
    }
}

/// A structure with a name and members that is not the record of a tracepoint or of registers,
/// which programs read and do not write.
fn structure(btf: &Btf, id: TypeId) -> Option<Composite<'_>> {
    let Some(Type::Struct(of)) = btf.ty(id) else { return None };
    let input = ["trace_event_raw_", "trace_entry", "pt_regs", "bpf_", "__sk_buff", "xdp_md"];
    let is_input = input.iter().any(|start| of.name.starts_with(start));
    (!of.name.is_empty() && !of.members.is_empty() && !is_input).then_some(of)
}
