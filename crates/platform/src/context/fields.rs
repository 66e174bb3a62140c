//! A field of a context, and how its row is written.

use crate::AttachType;
use crate::proto::Capability;

/// What a program may do with a field of its context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// What a register is after a field was read into it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ContextValue {
    /// A number.
    Scalar,
    /// The packet's start (`PTR_TO_PACKET`).
    Packet,
    /// The packet's end (`PTR_TO_PACKET_END`).
    PacketEnd,
    /// The start of what stands before the packet (`PTR_TO_PACKET_META`).
    PacketMeta,
    /// A `struct bpf_flow_keys` (`PTR_TO_FLOW_KEYS`), [`FLOW_KEYS_SIZE`](crate::FLOW_KEYS_SIZE) bytes.
    FlowKeys,
    /// A `struct bpf_sock` (`PTR_TO_SOCKET`).
    Socket,
    /// The same, or null.
    SocketOrNull,
    /// A `struct bpf_sock` that may not be whole, or null (`PTR_TO_SOCK_COMMON_OR_NULL`).
    SockCommonOrNull,
    /// What a writable raw tracepoint gives to be written (`PTR_TO_TP_BUFFER`).
    TpBuffer,
    /// A structure of the kernel of this name, that the kernel vouches for
    /// (`PTR_TO_BTF_ID | PTR_TRUSTED`).
    TrustedBtfId(&'static str),
    /// What BTF says of the argument there: of a function, a tracepoint, a hook, an iterator, a
    /// callback (`btf_ctx_access`, `kernel/bpf/btf.c`).
    ByBtf,
}

/// How many bytes of a field may be read at once. Every access has to be aligned to its size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FieldSize {
    /// So many: no more, no less. Of a field that is larger, any of its parts.
    Exact(u16),
    /// So many, or a part of them that is not smaller than `min`: the whole is read and the part cut
    /// out.
    Narrow {
        /// Bytes of the whole.
        whole: u16,
        /// Bytes of the smallest part.
        min: u16,
    },
    /// The same, but only from the field's first byte.
    NarrowAtStart(u16),
    /// 4, a part of them, or 8 of the field.
    NarrowOrWide,
    /// A port: 2, a part of them, or 4 with the two bytes behind it, which are 0.
    Port,
    /// Any number, within the field.
    Bytes,
}

/// A field of a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextField {
    /// The name in C.
    pub name: &'static str,
    /// Bytes from the context's start.
    pub offset: u16,
    /// Bytes.
    pub size: u16,
    /// What programs may do.
    pub access: Access,
    /// How many bytes they may read at once. They write [`FieldSize::Exact`] that many, the whole of
    /// a narrow field, 4 or 8 bytes of a wide one, any number of [`FieldSize::Bytes`].
    pub at_once: FieldSize,
    /// What they read.
    pub value: ContextValue,
    /// The attach types that the field is there for; empty: for all.
    pub at: &'static [AttachType],
    /// The attach types that it may be written with; empty: with all of `at`.
    pub write_at: &'static [AttachType],
    /// What the program must be loaded with to read it.
    pub needs: Capability,
    /// What the program must be loaded with to write it.
    pub write_needs: Capability,
}

/// A row: a number that may be read in parts.
pub(super) const fn narrow(name: &'static str, offset: u16, size: u16) -> ContextField {
    ContextField {
        name,
        offset,
        size,
        access: Access::Read,
        at_once: FieldSize::Narrow { whole: if size == 8 { 8 } else { 4 }, min: 1 },
        value: ContextValue::Scalar,
        at: &[],
        write_at: &[],
        needs: Capability::None,
        write_needs: Capability::None,
    }
}

/// A row: a number that is read as a whole; of more than 8 bytes, words of 4.
pub(super) const fn exact(name: &'static str, offset: u16, size: u16) -> ContextField {
    let whole = if size <= 8 { size } else { 4 };
    narrow(name, offset, size).at_once(FieldSize::Exact(whole))
}

impl ContextField {
    /// Read so.
    pub(super) const fn at_once(mut self, at_once: FieldSize) -> ContextField {
        self.at_once = at_once;
        self
    }

    /// Reading gives this.
    pub(super) const fn gives(mut self, value: ContextValue) -> ContextField {
        self.value = value;
        self
    }

    /// It may be written.
    pub(super) const fn writable(mut self) -> ContextField {
        self.access = Access::Write;
        self
    }

    /// It may be written with these attach types.
    pub(super) const fn writable_at(mut self, at: &'static [AttachType]) -> ContextField {
        self.write_at = at;
        self.writable()
    }

    /// It may be written by programs that were loaded with this.
    pub(super) const fn writable_with(mut self, needs: Capability) -> ContextField {
        self.write_needs = needs;
        self.writable()
    }

    /// It is there for these attach types.
    pub(super) const fn at(mut self, at: &'static [AttachType]) -> ContextField {
        self.at = at;
        self
    }

    /// It is there for programs that were loaded with this.
    pub(super) const fn needs(mut self, needs: Capability) -> ContextField {
        self.needs = needs;
        self
    }

    /// One past its last byte.
    pub(super) fn end(&self) -> u32 {
        u32::from(self.offset) + u32::from(self.size)
    }

    /// Whether `size` bytes at `offset`, which is within the field and a multiple of `size`, may be
    /// read at once; gives the bytes that the kernel reads to have them
    /// (`bpf_ctx_record_field_size`), 0 where it does not say.
    pub(super) fn reads(&self, offset: u32, size: u32) -> Option<u32> {
        let is_start = offset == u32::from(self.offset);
        let narrow = |whole: u32, min: u32| (min <= size && size <= whole).then_some(whole);
        match self.at_once {
            FieldSize::Exact(whole) => (size == u32::from(whole)).then_some(0),
            FieldSize::Narrow { whole, min } => narrow(whole.into(), min.into()),
            FieldSize::NarrowAtStart(whole) => is_start.then(|| narrow(whole.into(), 1)).flatten(),
            FieldSize::NarrowOrWide => {
                if size == 8 && offset + size <= self.end() {
                    return Some(4);
                }
                narrow(4, 1)
            }
            FieldSize::Port if is_start && size == 4 => Some(4),
            FieldSize::Port => narrow(2, 1),
            FieldSize::Bytes => (offset + size <= self.end()).then_some(0),
        }
    }

    /// Whether `size` bytes at `offset` may be written at once, if the field may be written.
    pub(super) fn writes(&self, offset: u32, size: u32) -> bool {
        match self.at_once {
            FieldSize::Exact(whole)
            | FieldSize::Narrow { whole, .. }
            | FieldSize::NarrowAtStart(whole) => size == u32::from(whole),
            FieldSize::NarrowOrWide => size == 4 || size == 8 && offset + size <= self.end(),
            FieldSize::Port => false,
            FieldSize::Bytes => offset + size <= self.end(),
        }
    }
}
