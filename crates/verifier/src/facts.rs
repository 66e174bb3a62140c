//! What the tables of eBPF say of a program, in the verifier's words.

use bombus_btf::{Btf, Type, TypeId};
use bombus_platform::attach::{
    AttachRefusal, IteratorArgument, Sleeping, TracepointArgument, attach_refusal, callbacks,
    can_be_sleepable, iterator, tracepoint_argument, tracepoint_sleeps, writable_fields,
};
use bombus_platform::proto::{Caller, Capabilities, Proto, proto_for};
use bombus_platform::{
    AttachType, FunctionReturn, MapRefusal, MapType, ProgType, ReturnRange as TableRange,
    ReturnRule, Version, helper_takes_map, lsm_range, return_rule,
};

use crate::code::{Callee, Facts, KernelFunction};
use crate::fields::{FieldKind, Record};
use crate::program::{AttachTarget, F_SLEEPABLE, Options, Program, Target};
use crate::state::{Flags, ReturnRange, TypeRef};
use crate::types::Types;
use crate::verdict::Rejection;

/// The program as its callees see it.
pub(crate) fn caller<'a>(program: &Program<'a>, options: &Options) -> Caller<'a> {
    let privileges = options.privileges;
    let (prog_type, target) = match program.attach_to {
        AttachTarget::Nothing => (program.prog_type, None),
        AttachTarget::Kernel { btf, id, .. } => (program.prog_type, Some(btf.name(id))),
        AttachTarget::Program { btf, id, prog_type } => {
            let own = program.prog_type;
            (if own == ProgType::Ext { prog_type } else { own }, Some(btf.name(id)))
        }
    };
    Caller {
        prog_type,
        attach_type: program.attach_type,
        target,
        sleepable: program.flags & F_SLEEPABLE != 0,
        capabilities: Capabilities {
            bpf: privileges.bpf,
            perfmon: privileges.perfmon,
            sys_admin: privileges.sys_admin,
        },
    }
}

/// The version of a kernel.
pub(crate) fn version(target: &Target<'_>) -> Version {
    let byte = |number: u16| u8::try_from(number).unwrap_or(u8::MAX);
    Version { major: byte(target.version.0), minor: byte(target.version.1) }
}

/// Whether the kernel has such programs and maps. It is not the verifier that refuses them in a
/// kernel, and none says more than `EINVAL`.
pub(crate) fn check_version(program: &Program<'_>, target: &Target<'_>) -> Result<(), Rejection> {
    let version = version(target);
    let refuse = |what: String, since: Version| {
        let message = format!("Linux {version} has no {what}; they came with {since}");
        Err(Rejection::invalid(None, message))
    };
    if program.prog_type.since() > version {
        let what = format!("programs of type {}", program.prog_type.name());
        return refuse(what, program.prog_type.since());
    }
    match program.maps.iter().find(|map| map.map_type.since() > version) {
        Some(map) => {
            let what = format!("maps of type {}, as {} is", map.map_type.name(), map.name);
            refuse(what, map.map_type.since())
        }
        None => Ok(()),
    }
}

/// The prototype of a helper as the program has it.
pub(crate) fn proto(program: &Program<'_>, options: &Options, id: i32) -> Option<&'static Proto> {
    proto_for(&caller(program, options), id)
}

/// What the passes ask.
pub(crate) struct Tables<'a> {
    pub program: &'a Program<'a>,
    pub target: &'a Target<'a>,
    pub options: &'a Options,
}

impl Facts for Tables<'_> {
    fn helper(&self, id: i32) -> Option<Callee> {
        proto(self.program, self.options, id).map(Callee::from)
    }

    fn kfunc(&self, name: &str) -> Option<KernelFunction> {
        crate::code::Tables(caller(self.program, self.options)).kfunc(name)
    }

    /// `check_map_prog_compatibility`, as far as values count.
    fn map(&self, index: usize) -> Result<(), Rejection> {
        let Some(map) = self.program.maps.get(index) else { return Ok(()) };
        let Some(of) = &map.types else { return Ok(()) };
        let mut types = Types::new(self.target.btf, self.target.modules, self.program.btf);
        let number = types.number(&of.btf);
        let record = Record::of_value(&types, number, of.value, map.value_size);
        let refuse = |message: &str| Err(Rejection::invalid(None, message));
        let traces = matches!(
            caller(self.program, self.options).prog_type,
            ProgType::Kprobe
                | ProgType::Tracepoint
                | ProgType::PerfEvent
                | ProgType::RawTracepoint
                | ProgType::RawTracepointWritable
        );
        let is_root = |kind: FieldKind| kind.root().is_some();
        if traces && record.has(is_root) {
            return refuse("tracing progs cannot use bpf_{list_head,rb_root} yet");
        }
        if record.has_lock() && self.program.prog_type == ProgType::SocketFilter {
            return refuse("socket filter progs cannot use bpf_spin_lock yet");
        }
        if traces && record.has(|kind| kind == FieldKind::SpinLock) {
            return refuse("tracing progs cannot use bpf_spin_lock yet");
        }
        Ok(())
    }
}

/// Whether a helper works on a map, and the map with it; what else there is to say.
pub(crate) fn map_and_helper(
    program: &Program<'_>,
    options: &Options,
    map_type: MapType,
    helper: i32,
) -> Result<(), &'static str> {
    let result = helper_takes_map(&caller(program, options), helper as u32, map_type);
    result.map_err(|refusal| match refusal {
        MapRefusal::Helper => "",
        MapRefusal::SocketsInThisContext => "cannot update sockmap in this context\n",
    })
}

/// What is special of an argument of a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Special {
    /// A buffer.
    Buffer(Flags),
    /// An object of this structure of the kernel's, of which this is said.
    Object(&'static str, Flags),
    /// An object of which this is said, too.
    Flags(Flags),
    /// It may be an error number.
    MayBeError,
}

/// What is special of an argument of what the program attaches to: its place, and its name where
/// that counts.
pub(crate) fn hook_argument(
    program: &Program<'_>,
    hook: &str,
    index: usize,
    name: &str,
) -> Option<Special> {
    match (program.prog_type, program.attach_type) {
        (ProgType::Tracing, AttachType::TraceIter) => {
            let iterator = iterator(hook)?;
            let (_, argument) = iterator.arguments.iter().find(|(each, _)| *each == name)?;
            Some(match argument {
                IteratorArgument::BtfIdOrNull(of) => Special::Object(of, Flags::MAYBE_NULL),
                IteratorArgument::TrustedOrNull(of) => {
                    Special::Object(of, Flags::MAYBE_NULL | Flags::TRUSTED)
                }
                IteratorArgument::KeyOrNull => Special::Buffer(Flags::MAYBE_NULL | Flags::RDONLY),
                IteratorArgument::ValueOrNull => Special::Buffer(Flags::MAYBE_NULL),
            })
        }
        (ProgType::Tracing | ProgType::RawTracepoint, AttachType::TraceRawTp) => {
            let argument = u8::try_from(index).ok()?;
            match tracepoint_argument(hook, argument)?? {
                TracepointArgument::MaybeNull => Some(Special::Flags(Flags::MAYBE_NULL)),
                TracepointArgument::MaybeError => Some(Special::MayBeError),
            }
        }
        // `bpf_qdisc_is_valid_access`, `net/sched/bpf_qdisc.c`: a list of packets to free.
        (ProgType::StructOps, _) if (hook, index) == ("enqueue", 2) => match program.attach_to {
            AttachTarget::Kernel { btf, id, .. } if btf.name(id) == "Qdisc_ops" => {
                Some(Special::Object("bpf_sk_buff_ptr", Flags::TRUSTED))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Whether programs of a type may write a field of a kernel's object.
pub(crate) fn may_write_field(
    program: &Program<'_>,
    options: &Options,
    types: &Types<'_>,
    of: TypeRef,
    (off, size): (i64, i64),
) -> bool {
    let name = types.name(of);
    let rows = writable_fields(&caller(program, options)).iter();
    let mut rows = rows.filter(|row| row.pointee == name);
    rows.any(|row| {
        let Some((start, end)) = member_bytes(types, row.within, row.member) else { return false };
        let starts = if row.from_start { off == start } else { off >= start };
        starts && off + size <= end
    })
}

/// The bytes of a member: of a part of it after a dot, of the structure that is kept in it after a
/// colon; all, of no member.
fn member_bytes(types: &Types<'_>, within: &str, member: &str) -> Option<(i64, i64)> {
    let of = types.kernel_struct(within)?;
    if member.is_empty() {
        return Some((0, types.size(of)?.into()));
    }
    let (member, kept) = match member.split_once(':') {
        Some((member, kept)) => (member, Some(kept)),
        None => (member, None),
    };
    let btf = types.btf(of.btf)?;
    let (mut ty, mut start, mut size) = (TypeId(of.id), 0, 0);
    for part in member.split('.') {
        let (found, bits) = find_member(btf, ty, part, 0)?;
        (ty, start) = (found, start + i64::from(bits / 8));
        size = i64::from(btf.size_of(ty)?);
    }
    if let Some(kept) = kept {
        size = types.size(types.kernel_struct(kept)?)?.into();
    }
    Some((start, start + size))
}

/// A member by its name, of the structure or of one without name in it: its type, its place in bits.
fn find_member(btf: &Btf, ty: TypeId, name: &str, depth: u32) -> Option<(TypeId, u32)> {
    let members = btf.resolved(ty)?.members()?;
    for member in members.iter() {
        if member.name == name {
            return Some((member.ty, member.bit_offset));
        }
        if member.name.is_empty()
            && depth < 8
            && let Some((found, bits)) = find_member(btf, member.ty, name, depth + 1)
        {
            return Some((found, member.bit_offset + bits));
        }
    }
    None
}

/// The numbers that a security hook may return.
pub(crate) fn hook_range(program: &Program<'_>) -> ReturnRange {
    let hook = match program.attach_to {
        AttachTarget::Kernel { btf, id, .. } => Some(btf.name(id)),
        _ => None,
    };
    range(lsm_range(hook))
}

fn range(table: TableRange) -> ReturnRange {
    ReturnRange { min: table.min, max: table.max, low_half: table.is_32bit }
}

/// What the program must return.
pub(crate) fn result_rule(
    program: &Program<'_>,
    options: &Options,
    returns: FunctionReturn,
) -> Result<Option<ReturnRange>, NotRead> {
    match return_rule(&caller(program, options), returns) {
        ReturnRule::NotRead => Err(NotRead),
        ReturnRule::Any => Ok(None),
        ReturnRule::Within(within) => Ok(Some(range(within))),
    }
}

/// What the program returns is not looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotRead;

/// Whether the program may attach where it says (`check_attach_btf_id`,
/// `bpf_check_attach_target`, `kernel/bpf/verifier.c`).
pub(crate) fn check_attach(program: &Program<'_>, options: &Options) -> Result<(), Rejection> {
    let refuse = |message: String| Err(Rejection::invalid(None, message));
    let caller = caller(program, options);
    let sleeps = program.flags & F_SLEEPABLE != 0;
    let prog_type = program.prog_type;
    if prog_type == ProgType::Syscall && !sleeps {
        return refuse("Syscall programs can only be sleepable".into());
    }
    if sleeps && prog_type != ProgType::Ext && !can_be_sleepable(prog_type, program.attach_type) {
        return refuse("Program of this type cannot be sleepable".into());
    }
    let is_tracepoint = matches!(
        (prog_type, program.attach_type),
        (ProgType::Tracing, AttachType::TraceRawTp) | (ProgType::RawTracepoint, _)
    );
    if let (true, true, Some(target)) = (sleeps, is_tracepoint, caller.target) {
        let name = target.strip_prefix("btf_trace_").unwrap_or(target);
        if !tracepoint_sleeps(name) {
            return refuse(format!(
                "Sleepable program cannot attach to non-faultable tracepoint {name}"
            ));
        }
    }
    if let (ProgType::StructOps, AttachTarget::Kernel { btf, id, member }) =
        (prog_type, program.attach_to)
    {
        return check_callback(btf, id, member, sleeps);
    }
    let AttachTarget::Kernel { btf, id, .. } = program.attach_to else { return Ok(()) };
    let name = btf.name(id);
    let Some(refusal) = attach_refusal(&caller) else { return Ok(()) };
    let id = id.0;
    refuse(match refusal {
        AttachRefusal::NotSleepable => format!("{name} is not sleepable"),
        AttachRefusal::NotModifiable => format!("{name}() is not modifiable"),
        AttachRefusal::DisabledHook => {
            format!("attach_btf_id {id} points to disabled hook {name}")
        }
        AttachRefusal::NoHook => {
            format!("attach_btf_id {id} points to wrong type name {name}")
        }
        AttachRefusal::Denied => {
            format!("Attaching tracing programs to function '{name}' is rejected.")
        }
        AttachRefusal::NoReturn => {
            format!(
                "Attaching fexit/fsession/fmod_ret to __noreturn function '{name}' is rejected."
            )
        }
    })
}

/// Whether a callback of a structure may sleep, or must (`check_member`).
fn check_callback(btf: &Btf, id: TypeId, member: u32, sleeps: bool) -> Result<(), Rejection> {
    let Some(Type::Struct(structure)) = btf.ty(id) else { return Ok(()) };
    let (Some(member), Some(known)) =
        (structure.members.get(member as usize), callbacks(structure.name))
    else {
        return Ok(());
    };
    let allowed = match known.sleeping {
        Sleeping::May => true,
        Sleeping::MayIn(these) => !sleeps || these.contains(&member.name),
        Sleeping::MustIn(these) => sleeps || !these.contains(&member.name),
    };
    if allowed {
        return Ok(());
    }
    let (member, structure) = (member.name, structure.name);
    let message = format!("attach to unsupported member {member} of struct {structure}");
    Err(Rejection::invalid(None, message))
}

/// Whether a format fits the number of its arguments (`bpf_bprintf_prepare`).
pub(crate) fn format_is_valid(format: &[u8], arguments: usize) -> bool {
    let mut used = 0;
    let mut bytes = format.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if !byte.is_ascii() {
            return false;
        }
        if byte != b'%' {
            continue;
        }
        if bytes.peek() == Some(&b'%') {
            bytes.next();
            continue;
        }
        while bytes.next_if(|byte| b"-+ #0123456789.".contains(byte)).is_some() {}
        let mut longs = 0;
        while longs < 2 && bytes.next_if_eq(&b'l').is_some() {
            longs += 1;
        }
        let Some(kind) = bytes.next() else { return false };
        match kind {
            b'p' => {
                // `%pK`, `%px`, `%ps`, `%pS`, `%pB`, `%pi4`, `%pI6`, ...
                if bytes.next_if(|byte| b"KxsSB".contains(byte)).is_none()
                    && bytes.next_if(|byte| b"ukiI".contains(byte)).is_some()
                {
                    bytes.next_if(|byte| b"46s".contains(byte));
                }
            }
            b'd' | b'i' | b'u' | b'x' | b'X' | b's' | b'c' => {}
            _ => return false,
        }
        used += 1;
    }
    used <= arguments
}

/// The places that a table of them has (`struct bpf_insn_array_value`: the first of its words).
pub(crate) fn places(map: &crate::Map) -> Option<Vec<u32>> {
    let word = |value: &[u8]| Some(u32::from_le_bytes(value.get(..4)?.try_into().ok()?));
    map.constant.as_deref()?.chunks_exact(map.value_size.max(4) as usize).map(word).collect()
}
