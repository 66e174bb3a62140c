//! The special fields of values: locks, timers, kept pointers, lists and trees
//! (`btf_parse_fields`, `kernel/bpf/btf.c`).

use bombus_btf::{Btf, Kind, Type, TypeId};

use crate::state::TypeRef;
use crate::types::Types;

/// Structures within structures, and arrays of arrays, at most.
const MAX_DEPTH: u32 = 32;
/// Fields of a value at most (`BTF_FIELDS_MAX`).
const MAX_FIELDS: usize = 11;

/// What a special field is (`enum btf_field_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldKind {
    /// `struct bpf_spin_lock`.
    SpinLock,
    /// `struct bpf_res_spin_lock`.
    ResSpinLock,
    /// `struct bpf_timer`.
    Timer,
    /// `struct bpf_wq`.
    Workqueue,
    /// `struct bpf_task_work`.
    TaskWork,
    /// `struct bpf_refcount`.
    Refcount,
    /// `struct bpf_list_node`.
    ListNode,
    /// `struct bpf_rb_node`.
    RbNode,
    /// `struct bpf_list_head`: of what, and where the node is in it.
    ListHead(TypeRef, u32),
    /// `struct bpf_rb_root`: of what, and where the node is in it.
    RbRoot(TypeRef, u32),
    /// A pointer to an object that is not held.
    KptrUnref(TypeRef),
    /// A pointer to an object that is held.
    KptrRef(TypeRef),
    /// A pointer to an object that each CPU has.
    KptrPercpu(TypeRef),
    /// A pointer to memory of a process.
    Uptr(TypeRef),
}

impl FieldKind {
    /// The kernel's name (`btf_field_type_name`).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            FieldKind::SpinLock => "bpf_spin_lock",
            FieldKind::ResSpinLock => "bpf_res_spin_lock",
            FieldKind::Timer => "bpf_timer",
            FieldKind::Workqueue => "bpf_wq",
            FieldKind::TaskWork => "bpf_task_work",
            FieldKind::Refcount => "bpf_refcount",
            FieldKind::ListNode => "bpf_list_node",
            FieldKind::RbNode => "bpf_rb_node",
            FieldKind::ListHead(..) => "bpf_list_head",
            FieldKind::RbRoot(..) => "bpf_rb_root",
            FieldKind::KptrUnref(_) | FieldKind::KptrRef(_) => "kptr",
            FieldKind::KptrPercpu(_) => "percpu_kptr",
            FieldKind::Uptr(_) => "uptr",
        }
    }

    /// Its bytes.
    pub(crate) const fn size(self) -> u32 {
        match self {
            FieldKind::SpinLock | FieldKind::ResSpinLock | FieldKind::Refcount => 4,
            FieldKind::TaskWork
            | FieldKind::KptrUnref(_)
            | FieldKind::KptrRef(_)
            | FieldKind::KptrPercpu(_)
            | FieldKind::Uptr(_) => 8,
            FieldKind::Timer
            | FieldKind::Workqueue
            | FieldKind::ListHead(..)
            | FieldKind::RbRoot(..) => 16,
            FieldKind::ListNode => 24,
            FieldKind::RbNode => 32,
        }
    }

    /// What a kept pointer points to.
    pub(crate) const fn pointee(self) -> Option<TypeRef> {
        match self {
            FieldKind::KptrUnref(of)
            | FieldKind::KptrRef(of)
            | FieldKind::KptrPercpu(of)
            | FieldKind::Uptr(of) => Some(of),
            _ => None,
        }
    }

    /// The root of a list or tree: of what, and where the node is in it.
    pub(crate) const fn root(self) -> Option<(TypeRef, u32)> {
        match self {
            FieldKind::ListHead(of, offset) | FieldKind::RbRoot(of, offset) => Some((of, offset)),
            _ => None,
        }
    }
}

/// A special field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    /// Bytes from the value's start.
    pub offset: u32,
    /// What it is.
    pub kind: FieldKind,
}

impl Field {
    /// Where it ends.
    pub(crate) const fn end(&self) -> u32 {
        self.offset + self.kind.size()
    }
}

/// The special fields of a value, by offset.
#[derive(Clone, Default, Debug)]
pub(crate) struct Record {
    /// The fields.
    pub fields: Vec<Field>,
}

impl Record {
    /// Of a map's value.
    pub(crate) fn of_value(types: &Types<'_>, btf: u8, value: TypeId, size: u32) -> Record {
        Record::of(types, TypeRef { btf, id: value.0 }, size)
    }

    /// Of a structure or section of variables. One that is ill-formed has none.
    pub(crate) fn of(types: &Types<'_>, of: TypeRef, size: u32) -> Record {
        let Some(btf) = types.btf(of.btf) else { return Record::default() };
        let mut finder = Finder { types, btf, number: of.btf, fields: Vec::new() };
        let found = match btf.resolved(TypeId(of.id)) {
            Some(Type::Struct(_) | Type::Union(_)) => finder.structure(TypeId(of.id), 0, 0),
            Some(Type::Datasec { vars, .. }) => vars.iter().try_for_each(|var| {
                let Some(Type::Var { ty, .. }) = btf.ty(var.ty) else { return Some(()) };
                finder.one(Place { of: ty, owner: var.ty, member: None }, var.offset, 0)
            }),
            _ => None,
        };
        let mut fields = finder.fields;
        let fits = fields.iter().all(|field| field.end() <= size);
        if found.is_none() || !fits || fields.len() > MAX_FIELDS {
            return Record::default();
        }
        fields.sort_by_key(|field| field.offset);
        Record { fields }
    }

    /// The field at an offset.
    pub(crate) fn at(&self, offset: i64) -> Option<Field> {
        self.fields.iter().copied().find(|field| i64::from(field.offset) == offset)
    }

    /// The only one of a kind that is there once at most.
    pub(crate) fn find(&self, is_it: impl Fn(FieldKind) -> bool) -> Option<Field> {
        self.fields.iter().copied().find(|field| is_it(field.kind))
    }

    /// Whether one of a kind is there.
    pub(crate) fn has(&self, is_it: impl Fn(FieldKind) -> bool) -> bool {
        self.find(is_it).is_some()
    }

    /// Whether a lock is there.
    pub(crate) fn has_lock(&self) -> bool {
        self.has(|kind| matches!(kind, FieldKind::SpinLock | FieldKind::ResSpinLock))
    }
}

/// Where a field is declared, for its tags.
#[derive(Clone, Copy)]
struct Place {
    of: TypeId,
    owner: TypeId,
    member: Option<u32>,
}

struct Finder<'a> {
    types: &'a Types<'a>,
    btf: &'a Btf,
    number: u8,
    fields: Vec<Field>,
}

impl Finder<'_> {
    fn structure(&mut self, id: TypeId, base: u32, depth: u32) -> Option<()> {
        let id = self.btf.resolve(id)?;
        let members = self.btf.ty(id)?.members()?;
        for (index, member) in members.iter().enumerate() {
            let offset = base.checked_add(member.bit_offset / 8)?;
            let place = Place { of: member.ty, owner: id, member: Some(index as u32) };
            self.one(place, offset, depth)?;
        }
        Some(())
    }

    /// A variable or member; `None` when it is ill-formed.
    fn one(&mut self, place: Place, offset: u32, depth: u32) -> Option<()> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let (mut element, mut count) = (place.of, 1u32);
        for _ in 0..MAX_DEPTH {
            let Some(Type::Array { element: of, len, .. }) = self.btf.ty(element) else { break };
            (element, count) = (of, count.checked_mul(len)?);
        }
        if count == 0 {
            return Some(());
        }
        let before = self.fields.len();
        let size = match self.btf.ty(element)? {
            Type::Struct(composite) => match self.named(composite.name, place)? {
                Some(kind) if composite.size == kind.size() => {
                    self.fields.push(Field { offset, kind });
                    kind.size()
                }
                Some(_) => return Some(()),
                None => {
                    self.structure(element, offset, depth + 1)?;
                    composite.size
                }
            },
            Type::Union(composite) => {
                self.structure(element, offset, depth + 1)?;
                composite.size
            }
            _ => {
                let Some(kind) = self.kept_pointer(element)? else { return Some(()) };
                if !offset.is_multiple_of(8) {
                    return Some(());
                }
                self.fields.push(Field { offset, kind });
                8
            }
        };
        self.repeat(before, count, size)
    }

    /// The same fields in each further element of an array.
    fn repeat(&mut self, before: usize, count: u32, size: u32) -> Option<()> {
        let found = self.fields[before..].to_vec();
        let repeats = |kind: FieldKind| kind.pointee().is_some() || kind.root().is_some();
        if count > 1 && !found.iter().all(|field| repeats(field.kind)) {
            return None;
        }
        if found.is_empty() {
            return Some(());
        }
        for index in 1..count {
            if self.fields.len() > MAX_FIELDS {
                return None;
            }
            for field in &found {
                let offset = field.offset.checked_add(index.checked_mul(size)?)?;
                self.fields.push(Field { offset, ..*field });
            }
        }
        Some(())
    }

    /// The special structure with a name; `None` when it is ill-formed.
    fn named(&self, name: &str, place: Place) -> Option<Option<FieldKind>> {
        let kind = match name {
            "bpf_spin_lock" => FieldKind::SpinLock,
            "bpf_res_spin_lock" => FieldKind::ResSpinLock,
            "bpf_timer" => FieldKind::Timer,
            "bpf_wq" => FieldKind::Workqueue,
            "bpf_task_work" => FieldKind::TaskWork,
            "bpf_refcount" => FieldKind::Refcount,
            "bpf_list_node" => FieldKind::ListNode,
            "bpf_rb_node" => FieldKind::RbNode,
            "bpf_list_head" => {
                return self
                    .root(place, "bpf_list_node")
                    .map(|(of, node)| Some(FieldKind::ListHead(of, node)));
            }
            "bpf_rb_root" => {
                return self
                    .root(place, "bpf_rb_node")
                    .map(|(of, node)| Some(FieldKind::RbRoot(of, node)));
            }
            _ => return Some(None),
        };
        let repeats = matches!(kind, FieldKind::ListNode | FieldKind::RbNode);
        let is_second = !repeats && self.fields.iter().any(|field| field.kind == kind);
        (!is_second).then_some(Some(kind))
    }

    /// What a list or tree is of, by its tag `contains:TYPE:MEMBER`.
    fn root(&self, place: Place, node_type: &str) -> Option<(TypeRef, u32)> {
        let tag = self.btf.types().find_map(|(_, ty)| match ty {
            Type::DeclTag { tag, ty, component }
                if ty == place.owner && component == place.member =>
            {
                tag.strip_prefix("contains:")
            }
            _ => None,
        })?;
        let (name, node) = tag.split_once(':')?;
        let id = self.btf.find(Kind::Struct, name)?;
        let member = self.btf.ty(id)?.members()?.iter().find(|member| member.name == node)?;
        let is_node = self.btf.resolved(member.ty)?.name() == node_type;
        is_node.then_some((TypeRef { btf: self.number, id: id.0 }, member.bit_offset / 8))
    }

    /// What a pointer that carries a tag is.
    fn kept_pointer(&self, id: TypeId) -> Option<Option<FieldKind>> {
        let id = match self.btf.ty(id)? {
            Type::Volatile(of) => of,
            _ => id,
        };
        let Type::Ptr(mut to) = self.btf.ty(id)? else { return Some(None) };
        let mut make: Option<fn(TypeRef) -> FieldKind> = None;
        for _ in 0..MAX_DEPTH {
            to = match self.btf.ty(to) {
                Some(Type::TypeTag(tag, of)) => {
                    let found: Option<fn(TypeRef) -> FieldKind> = match tag {
                        "kptr_untrusted" => Some(FieldKind::KptrUnref),
                        "kptr" => Some(FieldKind::KptrRef),
                        "percpu_kptr" => Some(FieldKind::KptrPercpu),
                        "uptr" => Some(FieldKind::Uptr),
                        _ => None,
                    };
                    if found.is_some() && make.is_some() {
                        return None;
                    }
                    make = make.or(found);
                    of
                }
                Some(
                    Type::Typedef(_, of)
                    | Type::Const(of)
                    | Type::Volatile(of)
                    | Type::Restrict(of),
                ) => of,
                _ => break,
            };
        }
        let Some(make) = make else { return Some(None) };
        let (kind, name) = match self.btf.ty(to)? {
            Type::Struct(composite) => (Kind::Struct, composite.name),
            Type::Union(composite) => (Kind::Union, composite.name),
            Type::Fwd { name, union } => (if union { Kind::Union } else { Kind::Struct }, name),
            _ => return None,
        };
        // The kernel's type of that name, or else the program's own.
        let own = TypeRef { btf: self.number, id: to.0 };
        let kernel = self
            .types
            .kernel()
            .and_then(|(number, btf)| Some(TypeRef { btf: number, id: btf.find(kind, name)?.0 }));
        Some(Some(make(kernel.unwrap_or(own))))
    }
}
