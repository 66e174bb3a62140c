//! Objects whose type BTF tells: what is read from them (`check_ptr_to_btf_access`,
//! `btf_struct_walk`, `kernel/bpf/btf.c`).

use bombus_btf::{Btf, Composite, Type, TypeId};
use bombus_platform::MapType;

use super::memory::At;
use super::stack::Access;
use crate::fields::Record;
use crate::log::show_bits;
use crate::state::{Base, Flags, Kind, Object, Register, TypeRef};
use crate::types::Types;
use crate::walk::{Check, Walk, refuse};

/// Structures within structures at most.
const MAX_DEPTH: usize = 64;

/// What stands at a place in a structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Member<'a> {
    /// A number, or part of one.
    Number,
    /// A structure starts here.
    Structure(TypeRef),
    /// A pointer to a structure: to which, what its tags say, the member's name.
    Pointer(TypeRef, Flags, &'a str),
    /// A pointer to something else.
    PlainPointer,
}

/// What a look into a structure says: what is there, and whether a union was passed.
type Found<'a> = Result<(Member<'a>, Flags), (i32, String)>;

const EACCES: i32 = crate::walk::errno::EACCES;
const EINVAL: i32 = crate::walk::errno::EINVAL;

/// What stands at an offset of a structure (`btf_struct_walk`).
pub(crate) fn member_at<'a>(
    types: &Types<'a>,
    of: TypeRef,
    off: i64,
    size: i64,
    flexible: bool,
    mut flags: Flags,
) -> Found<'a> {
    let btf = types.btf(of.btf).ok_or_else(|| (EINVAL, String::new()))?;
    let (mut id, mut off) = (TypeId(of.id), off);
    for _ in 0..MAX_DEPTH {
        let here = btf.resolved(id);
        let composite = match here {
            Some(Type::Struct(composite)) => composite,
            Some(Type::Union(composite)) => {
                if composite.members.len() != 1 {
                    flags |= Flags::UNTRUSTED;
                }
                composite
            }
            _ => {
                let name = here.map_or("", |here| here.name());
                return Err((EINVAL, format!("Type '{name}' is not a struct")));
            }
        };
        if off + size > i64::from(composite.size) {
            match flexible_element(btf, &composite, off, flexible) {
                Some(Flexible::Number) => return Ok((Member::Number, flags)),
                Some(Flexible::Structure(of, at)) => {
                    (id, off) = (of, at);
                    continue;
                }
                None => {
                    let name = composite.name;
                    let message = format!("access beyond struct {name} at off {off} size {size}");
                    return Err((EACCES, message));
                }
            }
        }
        match find_member(btf, of.btf, &composite, off, size, flags)? {
            Step::Found(member, more) => return Ok((member, flags | more)),
            Step::Into(of, at) => (id, off) = (of, at),
        }
    }
    Err((EINVAL, String::new()))
}

enum Flexible {
    Number,
    Structure(TypeId, i64),
}

/// Beyond its end a structure may have elements of an array without length.
fn flexible_element(
    btf: &Btf,
    composite: &Composite<'_>,
    off: i64,
    flexible: bool,
) -> Option<Flexible> {
    let last = composite.members.iter().last().filter(|_| flexible)?;
    let Some(Type::Array { element, len: 0, .. }) = btf.resolved(last.ty) else { return None };
    let start = i64::from(last.bit_offset / 8);
    if off < start {
        return None;
    }
    let element = btf.resolve(element)?;
    match btf.ty(element)? {
        Type::Int(_) => Some(Flexible::Number),
        Type::Struct(of) | Type::Union(of) if of.size > 0 => {
            Some(Flexible::Structure(element, (off - start) % i64::from(of.size)))
        }
        _ => None,
    }
}

enum Step<'a> {
    Found(Member<'a>, Flags),
    Into(TypeId, i64),
}

fn find_member<'a>(
    btf: &'a Btf,
    number: u8,
    composite: &Composite<'a>,
    off: i64,
    size: i64,
    flags: Flags,
) -> Result<Step<'a>, (i32, String)> {
    let name = composite.name;
    for member in composite.members.iter() {
        let start = i64::from(member.bit_offset / 8);
        if off + size <= start {
            break;
        }
        if member.bit_size != 0 {
            let end = i64::from((member.bit_offset + u32::from(member.bit_size)).div_ceil(8));
            if off <= start && end <= off + size {
                return Ok(Step::Found(Member::Number, Flags::NONE));
            }
            continue;
        }
        if off < start {
            break;
        }
        let Some(bytes) = btf.size_of(member.ty) else {
            let message = format!("field {} doesn't have size", member.name);
            return Err((crate::walk::errno::EFAULT, message));
        };
        let end = start + i64::from(bytes);
        if off >= end {
            continue;
        }
        // The element of an array, of arrays.
        let (mut element, mut at, mut bytes) = (member.ty, start, i64::from(bytes));
        while let Some(Type::Array { element: of, len, .. }) = btf.resolved(element) {
            if len == 0 || bytes == 0 {
                break;
            }
            bytes /= i64::from(len);
            if bytes == 0 {
                break;
            }
            at += (off - at) / bytes * bytes;
            element = of;
        }
        let element = btf.resolve(element).unwrap_or(element);
        match btf.ty(element) {
            Some(Type::Struct(_) | Type::Union(_)) => {
                if off == at {
                    let of = TypeRef { btf: number, id: element.0 };
                    return Ok(Step::Found(Member::Structure(of), Flags::NONE));
                }
                return Ok(Step::Into(element, off - at));
            }
            Some(Type::Ptr(to)) => {
                if bytes != size || off != at {
                    let field = member.name;
                    let message = format!(
                        "cannot access ptr member {field} with moff {at} in struct {name} with off {off} size {size}"
                    );
                    return Err((EACCES, message));
                }
                let (to, tags) = pointee(btf, to)
                    .ok_or_else(|| (EINVAL, "type 'PTR' has multiple type tags".into()))?;
                return Ok(match btf.ty(to) {
                    Some(Type::Struct(_) | Type::Union(_)) => {
                        let of = TypeRef { btf: number, id: to.0 };
                        Step::Found(Member::Pointer(of, tags, member.name), tags)
                    }
                    _ => Step::Found(Member::PlainPointer, Flags::NONE),
                });
            }
            _ => {}
        }
        if off + size > end && !flags.has(Flags::UNTRUSTED) {
            let field = member.name;
            let message = format!(
                "access beyond the end of member {field} (mend:{end}) in struct {name} with off {off} size {size}"
            );
            return Err((EACCES, message));
        }
        return Ok(Step::Found(Member::Number, Flags::NONE));
    }
    Err((EINVAL, format!("struct {name} doesn't have field at offset {off}")))
}

/// What a pointer points to, and what its tags say; `None`: they say several things.
pub(crate) fn pointee(btf: &Btf, to: TypeId) -> Option<(TypeId, Flags)> {
    let (mut to, mut flags) = (to, Flags::NONE);
    for _ in 0..MAX_DEPTH {
        to = match btf.ty(to) {
            Some(Type::TypeTag(tag, of)) => {
                let said = match tag {
                    "user" => Flags::USER,
                    "percpu" => Flags::PERCPU,
                    "rcu" => Flags::RCU,
                    _ => Flags::NONE,
                };
                if flags != Flags::NONE && said != Flags::NONE && said != flags {
                    return None;
                }
                flags |= said;
                of
            }
            Some(
                Type::Typedef(_, of) | Type::Const(of) | Type::Volatile(of) | Type::Restrict(of),
            ) => of,
            _ => break,
        };
    }
    Some((to, flags))
}

impl Walk<'_> {
    /// The special fields of a type of the program's own.
    pub(crate) fn record_of(&self, of: TypeRef) -> Record {
        match self.types.is_kernel(of.btf) {
            true => Record::default(),
            false => Record::of(&self.types, of, self.types.size(of).unwrap_or(0)),
        }
    }

    /// Whether an object of a type has, at an offset, one of another (`btf_struct_ids_match`).
    pub(crate) fn is_type(
        &self,
        of: TypeRef,
        off: i64,
        wanted: TypeRef,
        strict: bool,
        flexible: bool,
    ) -> bool {
        if off == 0 && self.same_type(of, wanted) {
            return true;
        }
        let (mut of, mut off) = (of, off);
        for _ in 0..MAX_DEPTH {
            if strict {
                return false;
            }
            match member_at(&self.types, of, off, 1, flexible, Flags::NONE) {
                Ok((Member::Structure(found), _)) if self.same_type(found, wanted) => return true,
                Ok((Member::Structure(found), _)) if (found, 0) != (of, off) => {
                    (of, off) = (found, 0);
                }
                _ => return false,
            }
        }
        false
    }

    /// The same type, by number, or by name and size where two BTFs have it.
    pub(crate) fn same_type(&self, a: TypeRef, b: TypeRef) -> bool {
        if a.btf == b.btf {
            return a.id == b.id;
        }
        if self.types.is_kernel(a.btf) != self.types.is_kernel(b.btf) {
            return false;
        }
        let name = self.types.name(a);
        !name.is_empty() && name == self.types.name(b) && self.types.size(a) == self.types.size(b)
    }

    /// An access to an object (`check_ptr_to_btf_access`).
    pub(crate) fn access_object(
        &mut self,
        at: At<'_>,
        access: Access,
        dst: Option<usize>,
    ) -> Check {
        let At { pointer, n, off, size } = at;
        let Some(of) = pointer.object_type() else { return Ok(()) };
        let name = self.types.name(of);
        let kind = pointer.kind;
        let is_kernel = self.types.is_kernel(of.btf);
        let writes = access == Access::Write;
        if !self.allowed.pointer_leaks {
            refuse!(
                self,
                EPERM,
                "'struct {name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN"
            );
        }
        if !self.program.gpl_compatible && is_kernel {
            refuse!(
                self,
                EINVAL,
                "Cannot access kernel 'struct {name}' from non-GPL compatible program"
            );
        }
        let Some(known) = pointer.known().map(|known| known as i64) else {
            let bits = show_bits(pointer.value.bits);
            refuse!(
                self,
                EACCES,
                "R{n} is ptr_{name} invalid variable offset: off={off}, var_off={bits}"
            );
        };
        let off = off + known;
        if off < 0 {
            refuse!(self, EACCES, "R{n} is ptr_{name} invalid negative access: off={off}");
        }
        if kind.flags.has(Flags::USER) {
            refuse!(self, EACCES, "R{n} is ptr_{name} access user memory: off={off}");
        }
        if kind.flags.has(Flags::PERCPU) {
            refuse!(self, EACCES, "R{n} is ptr_{name} access percpu memory: off={off}");
        }
        if writes && kind.may_fault() {
            refuse!(self, EACCES, "only read is supported");
        }
        if writes && !kind.is_allocated() && self.has_writable_fields() {
            return self.check_field_write(of, n, off, size as i64);
        }
        if writes && !kind.is_allocated_object() {
            refuse!(self, EACCES, "only read is supported");
        }
        if kind.is_allocated() {
            for field in &self.record_of(of).fields {
                let touches =
                    off < i64::from(field.end()) && i64::from(field.offset) < off + size as i64;
                if touches {
                    let name = field.kind.name();
                    refuse!(self, EACCES, "direct access to {name} is disallowed");
                }
            }
        }
        let (member, flags) = self.look_into(of, off, size as i64, kind)?;
        let (Some(dst), Access::Read) = (dst, access) else { return Ok(()) };
        self.state.regs()[dst] = match member {
            Member::Pointer(to, _, field) if !kind.is_allocated() => {
                let flags = self.trust(pointer, of, to, field, flags);
                self.object_pointer(to, flags)
            }
            Member::PlainPointer => {
                let kind = Kind::new(Base::Mem, Flags::RDONLY | Flags::UNTRUSTED);
                Register::pointer(kind, Object::Size(0))
            }
            _ => self.unknown(),
        };
        Ok(())
    }

    /// What is read at an offset of an object (`btf_struct_access`).
    fn look_into(
        &self,
        of: TypeRef,
        off: i64,
        size: i64,
        kind: Kind,
    ) -> Check<(Member<'_>, Flags)> {
        let (mut of, mut off, mut flags) = (of, off, Flags::NONE);
        for _ in 0..MAX_DEPTH {
            match member_at(&self.types, of, off, size, !kind.is_allocated(), flags) {
                Ok((Member::Structure(into), more)) if (into, 0) != (of, off) => {
                    (of, off, flags) = (into, 0, more);
                }
                Ok(found) => return Ok(found),
                Err((errno, message)) => return Err(self.rejection(errno, message)),
            }
        }
        Ok((Member::Number, flags))
    }

    /// A pointer that was read, with what is said of it.
    fn object_pointer(&mut self, to: TypeRef, flags: Flags) -> Register {
        let mut register = Register::pointer(Kind::new(Base::BtfId, flags), Object::Type(to));
        if flags.has(Flags::MAYBE_NULL) {
            register.id = self.new_id();
        }
        register
    }

    /// How far a pointer that was read through another may be trusted.
    fn trust(
        &self,
        through: &Register,
        of: TypeRef,
        to: TypeRef,
        field: &str,
        flags: Flags,
    ) -> Flags {
        use bombus_platform::Trust as Safe;
        if through.kind.flags.has(Flags::UNTRUSTED) {
            return Flags::UNTRUSTED;
        }
        let distrust = |flags: Flags| flags.without(Flags::TRUSTED_MODIFIERS | Flags::RCU);
        if !self.is_trusted(through) && !through.kind.flags.has(Flags::RCU) {
            return distrust(flags);
        }
        let _ = to;
        let safe = bombus_platform::trusted_field(self.types.name(of), field);
        match safe {
            Some(Safe::Trusted) => return flags | Flags::TRUSTED,
            Some(Safe::TrustedOrNull) => return flags | Flags::TRUSTED | Flags::MAYBE_NULL,
            _ => {}
        }
        if self.may_sleep_here() || through.kind.may_be_null() {
            return Flags::UNTRUSTED;
        }
        match safe {
            Some(Safe::Rcu) => flags | Flags::RCU,
            Some(Safe::RcuOrNull) => {
                flags.without(Flags::UNTRUSTED) | Flags::RCU | Flags::MAYBE_NULL
            }
            _ if flags.has(Flags::RCU) => flags | Flags::MAYBE_NULL,
            _ if flags.has(Flags::PERCPU | Flags::USER) => flags,
            _ => distrust(flags),
        }
    }

    /// An access to a map itself, as to the kernel's structure of it (`check_ptr_to_map_access`).
    pub(super) fn access_map(&mut self, at: At<'_>, access: Access, dst: Option<usize>) -> Check {
        let At { pointer, n, off, size } = at;
        let Some(map) = pointer.map() else { return Ok(()) };
        let map_type = self.maps.get(map).map_type;
        let Some(of) = self.types.kernel_struct(map_structure(map_type)) else {
            refuse!(self, ENOTSUPP, "map_ptr access not supported without CONFIG_DEBUG_INFO_BTF");
        };
        let name = self.types.name(of);
        if !self.allowed.pointer_leaks {
            refuse!(
                self,
                EPERM,
                "'struct {name}' access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN"
            );
        }
        if off < 0 {
            refuse!(self, EACCES, "R{n} is {name} invalid negative access: off={off}");
        }
        if access == Access::Write {
            refuse!(self, EACCES, "only read from {name} is supported");
        }
        let plain = Kind::from(Base::BtfId);
        let (member, flags) = self.look_into(of, off, size as i64, plain)?;
        let Some(dst) = dst else { return Ok(()) };
        self.state.regs()[dst] = match member {
            Member::Pointer(to, ..) => self.object_pointer(to, flags),
            Member::PlainPointer => {
                let kind = Kind::new(Base::Mem, Flags::RDONLY | Flags::UNTRUSTED);
                Register::pointer(kind, Object::Size(0))
            }
            _ => self.unknown(),
        };
        Ok(())
    }

    /// Whether such programs may write some fields of the kernel's objects (`btf_struct_access` of
    /// their operations).
    fn has_writable_fields(&self) -> bool {
        use bombus_platform::ProgType as P;
        matches!(self.prog_type(), P::SchedCls | P::SchedAct | P::Xdp | P::StructOps)
    }

    fn check_field_write(&self, of: TypeRef, n: u8, off: i64, size: i64) -> Check {
        let name = self.types.name(of);
        let member = member_at(&self.types, of, off, size, false, Flags::NONE);
        let place = (off, size);
        let allowed =
            crate::facts::may_write_field(self.program, self.options, &self.types, of, place);
        if allowed && member.is_ok() {
            return Ok(());
        }
        refuse!(self, EACCES, "R{n} cannot write into ptr_{name} at off={off} size={size}");
    }
}

/// The kernel's structure of a map (`map_btf_id` of its operations).
fn map_structure(map_type: MapType) -> &'static str {
    use MapType as M;
    match map_type {
        M::Hash | M::PercpuHash | M::LruHash | M::LruPercpuHash | M::HashOfMaps => "bpf_htab",
        M::Array
        | M::PercpuArray
        | M::ProgArray
        | M::PerfEventArray
        | M::CgroupArray
        | M::ArrayOfMaps => "bpf_array",
        M::LpmTrie => "lpm_trie",
        M::StackTrace => "bpf_stack_map",
        M::Devmap | M::DevmapHash => "bpf_dtab",
        M::Sockmap => "bpf_stab",
        M::Sockhash => "bpf_shtab",
        M::Cpumap => "bpf_cpu_map",
        M::Xskmap => "xsk_map",
        M::CgroupStorage | M::PercpuCgroupStorage => "bpf_cgroup_storage_map",
        M::ReuseportSockarray => "reuseport_array",
        M::Queue | M::Stack => "bpf_queue_stack",
        M::SkStorage | M::InodeStorage | M::TaskStorage | M::CgrpStorage => "bpf_local_storage_map",
        M::StructOps => "bpf_struct_ops_map",
        M::Ringbuf | M::UserRingbuf => "bpf_ringbuf_map",
        M::BloomFilter => "bpf_bloom_filter",
        M::Arena => "bpf_arena",
        M::InsnArray => "bpf_insn_array",
        _ => "bpf_map",
    }
}
