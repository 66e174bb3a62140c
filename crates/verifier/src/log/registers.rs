//! Registers and stack as the log shows them (`print_verifier_state`, `kernel/bpf/log.c`).

use std::fmt::{self, Display, Formatter, Write};

use crate::domain::Tnum;
use crate::maps::Maps;
use crate::state::{
    ADD_CONST, Base, Byte, DynptrKind, Frame, IterState, Number, Object, Register, SLOT, State,
};
use crate::types::Types;

/// What names the things that registers refer to by number.
#[derive(Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The maps.
    pub maps: &'a Maps<'a>,
    /// The types.
    pub types: &'a Types<'a>,
}

/// Small numbers in decimal, others in hexadecimal.
fn unsigned(f: &mut Formatter<'_>, number: u64) -> fmt::Result {
    match number <= u64::from(u16::MAX) {
        true => write!(f, "{number}"),
        false => write!(f, "{number:#x}"),
    }
}

fn signed(f: &mut Formatter<'_>, number: i64) -> fmt::Result {
    match i16::try_from(number) {
        Ok(number) => write!(f, "{number}"),
        Err(_) => write!(f, "{number:#x}"),
    }
}

/// Known bits as the kernel shows them (`tnum_strn`).
pub(crate) fn show_bits(bits: Tnum<Number>) -> impl Display {
    struct Shown(Tnum<Number>);
    impl Display for Shown {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            let (value, mask) = (self.0.value.0, self.0.mask.0);
            match (mask, u16::try_from(value)) {
                (0, Ok(value)) => write!(f, "{value}"),
                (0, Err(_)) => signed(f, value as i64),
                _ => write!(f, "({value:#x}; {mask:#x})"),
            }
        }
    }
    Shown(bits)
}

/// A register, in a frame with this number.
pub(crate) fn show_register<'a>(
    register: &'a Register,
    frame: usize,
    names: Names<'a>,
) -> impl Display + 'a {
    struct Shown<'a>(&'a Register, usize, Names<'a>);
    impl Display for Shown<'_> {
        fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
            write_register(f, self.0, self.1, self.2)
        }
    }
    Shown(register, frame, names)
}

/// Words between commas.
struct List<'a, 'b>(&'a mut Formatter<'b>, bool);

impl<'b> List<'_, 'b> {
    fn next(&mut self) -> Result<&mut Formatter<'b>, fmt::Error> {
        if std::mem::replace(&mut self.1, true) {
            self.0.write_char(',')?;
        }
        Ok(self.0)
    }
}

fn write_register(
    f: &mut Formatter<'_>,
    register: &Register,
    frame: usize,
    names: Names<'_>,
) -> fmt::Result {
    let base = register.kind.base;
    if register.is_scalar() {
        if register.precise {
            f.write_char('P')?;
        }
        if let Some(number) = register.known() {
            return signed(f, number as i64);
        }
    }
    write!(f, "{}", register.kind)?;
    if register.kind.is(Base::Arena) {
        return Ok(());
    }
    if register.kind.is(Base::Stack) {
        if register.frame() != frame {
            write!(f, "[{}]", register.frame())?;
        }
        if let Some(offset) = register.known() {
            return signed(f, offset as i64);
        }
    }
    if let (Base::BtfId, Some(of)) = (base, register.object_type()) {
        f.write_str(names.types.name(of))?;
    }
    f.write_char('(')?;
    let mut list = List(f, false);
    if register.id != 0 {
        write!(list.next()?, "id={}", register.base_id())?;
    }
    if register.id & ADD_CONST != 0 {
        write!(list.0, "{:+}", register.delta)?;
    }
    if register.parent_id != 0 {
        write!(list.next()?, "parent_id={}", register.parent_id)?;
    }
    if register.kind.is_non_owning() {
        write!(list.next()?, "non_own_ref")?;
    }
    if let (Base::MapPtr | Base::MapValue | Base::MapKey, Some(map)) = (base, register.map()) {
        let map = names.maps.get(map);
        if !map.name.is_empty() {
            write!(list.next()?, "map={}", map.shown_name())?;
        }
        write!(list.next()?, "ks={},vs={}", map.key_size, map.value_size)?;
    }
    if register.kind.is_packet() {
        write!(list.next()?, "r=")?;
        unsigned(list.0, register.range() as i64 as u64)?;
    }
    if base == Base::Mem {
        write!(list.next()?, "sz=")?;
        unsigned(list.0, register.size().into())?;
    }
    if let (Base::Dynptr, Object::Dynptr(kind, _)) = (base, register.object) {
        write!(list.next()?, "type={}", dynptr_name(kind))?;
    }
    match register.known() {
        Some(0) => {}
        Some(number) => {
            write!(list.next()?, "imm=")?;
            signed(list.0, number as i64)?;
        }
        None => {
            write_ranges(&mut list, register)?;
            if register.value.bits != Tnum::unknown() {
                write!(list.next()?, "var_off={}", show_bits(register.value.bits))?;
            }
        }
    }
    f.write_char(')')
}

/// The limits that say something, those that are the same together (`print_scalar_ranges`).
fn write_ranges(list: &mut List<'_, '_>, register: &Register) -> fmt::Result {
    // What is signed at 32 bits is shown by its bits, where it is not small.
    let half = |number: i32| match i16::try_from(number) {
        Ok(small) => i64::from(small) as u64,
        Err(_) => u64::from(number as u32),
    };
    let limits = [
        ("smin", register.smin() as u64, register.smin() == i64::MIN),
        ("smax", register.smax() as u64, register.smax() == i64::MAX),
        ("umin", register.umin(), register.umin() == 0),
        ("umax", register.umax(), register.umax() == u64::MAX),
        ("smin32", half(register.smin32()), register.smin32() == i32::MIN),
        ("smax32", half(register.smax32()), register.smax32() == i32::MAX),
        ("umin32", register.umin32().into(), register.umin32() == 0),
        ("umax32", register.umax32().into(), register.umax32() == u32::MAX),
    ];
    let is_signed = |name: &str| name.starts_with('s');
    let is_negative = |(name, value, _): (&str, u64, bool)| is_signed(name) && (value as i64) < 0;
    let mut done = limits.map(|(_, _, says_nothing)| says_nothing);
    for first in 0..limits.len() {
        if done[first] {
            continue;
        }
        let limit = limits[first];
        write!(list.next()?, "{}=", limit.0)?;
        for other in (first + 2..limits.len()).step_by(2) {
            let like =
                limits[other].1 == limit.1 && is_negative(limits[other]) == is_negative(limit);
            if !done[other] && like {
                done[other] = true;
                write!(list.0, "{}=", limits[other].0)?;
            }
        }
        match is_signed(limit.0) {
            true => signed(list.0, limit.1 as i64)?,
            false => unsigned(list.0, limit.1)?,
        }
    }
    Ok(())
}

/// The kernel's word for what a dynptr is over (`dynptr_type_str`).
pub(crate) fn dynptr_name(kind: DynptrKind) -> &'static str {
    match kind {
        DynptrKind::Local => "local",
        DynptrKind::Ringbuf => "ringbuf",
        DynptrKind::Skb => "skb",
        DynptrKind::Xdp => "xdp",
        DynptrKind::SkbMeta => "skb_meta",
        DynptrKind::File => "file",
    }
}

/// A frame of a state: those registers and slots that `shows` (a bit each), and what the program
/// holds.
pub(crate) fn write_frame(
    f: &mut impl Write,
    state: &State,
    number: usize,
    shows: (u32, u64),
    names: Names<'_>,
) -> fmt::Result {
    let frame = &state.frames[number];
    if number != 0 {
        write!(f, " frame{number}:")?;
    }
    for (index, register) in frame.regs.iter().enumerate() {
        if !register.kind.is(Base::NotInit) && shows.0 & 1 << index != 0 {
            write!(f, " R{index}={}", show_register(register, number, names))?;
        }
    }
    write_stack(f, frame, number, shows.1, names)?;
    let mut ids = state.references.iter().map(|reference| reference.id);
    if let Some(first) = ids.next() {
        write!(f, " refs={first}")?;
        ids.try_for_each(|id| write!(f, ",{id}"))?;
    }
    if frame.in_callback {
        f.write_str(" cb")?;
    }
    if frame.in_async_callback {
        f.write_str(" async_cb")?;
    }
    f.write_char('\n')
}

fn write_stack(
    f: &mut impl Write,
    frame: &Frame,
    number: usize,
    shows: u64,
    names: Names<'_>,
) -> fmt::Result {
    let mut index = 0;
    while let Some(slot) = frame.stack.get(index) {
        let offset = |index: usize| -((index as i64 + 1) * SLOT as i64);
        let shown = shows & 1 << index != 0 && !slot.bytes.iter().all(|byte| byte.is_empty());
        let at = index;
        index += 1;
        if !shown {
            continue;
        }
        match (slot.lowest(), slot.register().object) {
            (Byte::Spill, _) => {
                let data = slot.bytes.iter().take_while(|byte| **byte != Byte::Spill);
                let data: String = data.map(|byte| byte.sign()).collect();
                let spilled = frame.stack.register(at);
                let register = show_register(&spilled, number, names);
                write!(f, " fp{}={data}{register}", offset(at))?;
            }
            (Byte::Dynptr, _) => {
                // Of its two slots the one further down is shown.
                let slot = frame.stack.get(index).unwrap_or(slot);
                let Object::Dynptr(kind, _) = slot.register().object else { continue };
                write!(f, " fp{}=dynptr_{}(", offset(index), dynptr_name(kind))?;
                let mut separator = "";
                if slot.register().id != 0 {
                    write!(f, "id={}", slot.register().id)?;
                    separator = ",";
                }
                if slot.register().parent_id != 0 {
                    write!(f, "{separator}parent_id={}", slot.register().parent_id)?;
                }
                f.write_char(')')?;
                index += 1;
            }
            (Byte::Iter, Object::Iter(of, how_far, depth)) => {
                if slot.register().id == 0 {
                    continue;
                }
                let name = names.types.name(of);
                let name = name.strip_prefix("bpf_iter_").unwrap_or(name);
                let how_far = match how_far {
                    IterState::Active => "active",
                    IterState::Drained => "drained",
                };
                let id = slot.register().id;
                write!(f, " fp{}=iter_{name}(id={id},state={how_far},depth={depth})", offset(at))?;
            }
            _ => {
                let signs: String = slot.bytes.iter().map(|byte| byte.sign()).collect();
                write!(f, " fp{}={signs}", offset(at))?;
            }
        }
    }
    Ok(())
}
