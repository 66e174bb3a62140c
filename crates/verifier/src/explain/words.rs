//! What registers hold, in plain words.

use super::Case;
use crate::state::{Base, Flags, Object, Register};

impl Case<'_> {
    /// What a register holds.
    pub(super) fn words(&self, register: &Register) -> String {
        if register.is_scalar() {
            return numbers(register);
        }
        let kind = register.kind;
        let mut text = match kind.base {
            Base::NotInit => return "nothing that may be read".into(),
            Base::Ctx => "the context".into(),
            Base::MapPtr => format!("the map `{}`", self.map_name(register)),
            Base::MapValue => format!(
                "a pointer to a value of `{}` ({} bytes)",
                self.map_name(register),
                self.memory(register).unwrap_or(0)
            ),
            Base::MapKey => format!("a pointer to a key of `{}`", self.map_name(register)),
            Base::Stack => return stack(register),
            Base::PacketMeta => "a pointer to the packet's metadata".into(),
            Base::Packet => match register.range() {
                range if range > 0 => {
                    format!(
                        "a pointer into the packet, of which {range} bytes are known to be there"
                    )
                }
                _ => "a pointer into the packet, of which no byte is known to be there".into(),
            },
            Base::PacketEnd => return "the packet's end".into(),
            Base::Socket | Base::SockCommon => "a socket".into(),
            Base::TcpSock => "a TCP socket".into(),
            Base::XdpSock => "an XDP socket".into(),
            Base::BtfId => {
                let name = register.object_type().map_or("", |of| self.types.name(of));
                format!("a pointer to `struct {name}`")
            }
            Base::Mem => match kind.flags.has(Flags::RINGBUF) {
                true => format!("a record of {} bytes", register.size()),
                false => format!("memory of {} bytes", register.size()),
            },
            Base::Func => "a function of the program".into(),
            _ => kind.to_string(),
        };
        if kind.flags.has(Flags::UNTRUSTED) {
            text += " that may be stale";
        }
        if kind.is_read_only() {
            text += ", to be read only";
        }
        match register.known() {
            Some(0) => {}
            Some(offset) => text += &format!(" {:+}", offset as i64),
            None => text += &format!(" plus {}", numbers(register)),
        }
        if kind.may_be_null() {
            text += ", or null";
        }
        text
    }

    /// The name of the map that a register has to do with.
    pub(super) fn map_name(&self, register: &Register) -> String {
        let Some(map) = register.map().map(|map| self.maps.get(map)) else { return String::new() };
        match (map.name.as_str(), map.is_inner) {
            ("", true) => "an inner map".into(),
            ("", false) => "a map".into(),
            (name, _) => name.to_owned(),
        }
    }

    /// Bytes of the memory that a pointer leads to.
    pub(super) fn memory(&self, register: &Register) -> Option<i64> {
        match (register.kind.base, register.object) {
            (Base::MapValue, Object::Map(map)) => Some(self.maps.get(map).memory().into()),
            (Base::MapKey, Object::Map(map)) => Some(self.maps.get(map).key_size.into()),
            (Base::Mem, Object::Size(size)) => Some(size.into()),
            (Base::BtfId, Object::Type(of)) => self.types.size(of).map(i64::from),
            _ => None,
        }
    }
}

fn stack(register: &Register) -> String {
    match register.known() {
        Some(0) => "the top of the stack".into(),
        Some(offset) => format!("a pointer to the stack, {} bytes below its top", -(offset as i64)),
        None => format!("a pointer to the stack, {} from its top", numbers(register)),
    }
}

/// The numbers that a register may hold.
pub(super) fn numbers(register: &Register) -> String {
    if let Some(number) = register.known() {
        return (number as i64).to_string();
    }
    let (smin, smax, umin, umax) =
        (register.smin(), register.smax(), register.umin(), register.umax());
    let is_wide = smin.abs_diff(smax).min(umax - umin) >= 1 << 62;
    let (low, high) = (register.umin32(), register.umax32());
    match () {
        () if is_wide && (low, high) != (0, u32::MAX) => {
            format!("{low} to {high} in its low 32 bits")
        }
        () if (umin, umax) == (0, u64::MAX) && (smin, smax) == (i64::MIN, i64::MAX) => {
            "any number".into()
        }
        () if (umin, umax) == (0, u32::MAX.into()) => "any 32-bit number".into(),
        () if (smin, smax) == (i32::MIN.into(), i32::MAX.into()) => {
            "any 32-bit number, or negative".into()
        }
        () if smin < 0 && smax == i64::MAX => format!("{smin} or more"),
        () if smin == i64::MIN && umax == u64::MAX => format!("{smax} or less"),
        () if smin < 0 => format!("{smin} to {smax}"),
        () if umax == u64::MAX || umax >= i64::MAX as u64 => format!("{umin} or more"),
        () => format!("{umin} to {umax}"),
    }
}
