//! What a register holds: a number, or a pointer to something (`enum bpf_reg_type`,
//! `include/linux/bpf.h`).

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

macro_rules! bases {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What a register holds, without what is said of it beside ([`Flags`]).
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub(crate) enum Base { #[default] $($(#[$doc])* $variant,)* }

        impl Base {
            /// The kernel's name in logs (`reg_type_str`, `kernel/bpf/log.c`).
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Base::$variant => $name,)* }
            }
        }
    };
}

bases! {
    /// Nothing that may be read.
    NotInit = "?";
    /// A number.
    Scalar = "scalar";
    /// The program's context.
    Ctx = "ctx";
    /// A map.
    MapPtr = "map_ptr";
    /// An element's value.
    MapValue = "map_value";
    /// An element's key.
    MapKey = "map_key";
    /// A place on a frame's stack.
    Stack = "fp";
    /// A place before the packet, where metadata is.
    PacketMeta = "pkt_meta";
    /// A place in the packet.
    Packet = "pkt";
    /// The packet's end.
    PacketEnd = "pkt_end";
    /// `struct bpf_flow_keys`.
    FlowKeys = "flow_keys";
    /// `struct bpf_sock`.
    Socket = "sock";
    /// `struct bpf_sock`, of which only what all sockets have may be read.
    SockCommon = "sock_common";
    /// `struct bpf_tcp_sock`.
    TcpSock = "tcp_sock";
    /// The buffer of a writable raw tracepoint.
    TpBuffer = "tp_buffer";
    /// `struct bpf_xdp_sock`.
    XdpSock = "xdp_sock";
    /// An object whose type BTF tells.
    BtfId = "ptr_";
    /// Memory of a known size.
    Mem = "mem";
    /// Memory of an arena.
    Arena = "arena";
    /// A buffer whose size is checked when it is used.
    Buf = "buf";
    /// A function of the program.
    Func = "func";
    /// A place in the program, from a table of them.
    Insn = "insn";
    /// A dynptr that is not on the stack.
    Dynptr = "dynptr_ptr";
}

/// What is said of a pointer beside what it points to (`enum bpf_type_flag`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Flags(pub u16);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags { $($(#[$doc])* pub(crate) const $name: Flags = Flags(1 << $bit);)* }
    };
}

flags! {
    /// It may be null.
    MAYBE_NULL = 0;
    /// What it points to cannot be written.
    RDONLY = 1;
    /// It is a record of a ring buffer.
    RINGBUF = 2;
    /// It is in a process's memory.
    USER = 3;
    /// Each CPU has one.
    PERCPU = 4;
    /// It may point anywhere: reads of it may fault, and are caught.
    UNTRUSTED = 5;
    /// The program allocated it.
    ALLOC = 6;
    /// It points to a living object.
    TRUSTED = 7;
    /// It points to an object that lives as long as the RCU section.
    RCU = 8;
    /// It points into a list or tree that owns the object.
    NON_OWN_REF = 9;
    /// It came out of a dynptr over a socket buffer.
    DYNPTR_SKB = 10;
    /// It came out of a dynptr over an XDP packet.
    DYNPTR_XDP = 11;
    /// It came out of a dynptr over a socket buffer's metadata.
    DYNPTR_SKB_META = 12;
    /// It came out of a dynptr over a file.
    DYNPTR_FILE = 13;
    /// It came out of a dynptr over memory of the program.
    DYNPTR_LOCAL = 14;
    /// It came out of a dynptr over a record of a ring buffer.
    DYNPTR_RINGBUF = 15;
}

impl Flags {
    /// Nothing.
    pub(crate) const NONE: Flags = Flags(0);
    /// What makes a pointer one to a living object (`BPF_REG_TRUSTED_MODIFIERS`).
    pub(crate) const TRUSTED_MODIFIERS: Flags =
        Flags(Flags::ALLOC.0 | Flags::TRUSTED.0 | Flags::NON_OWN_REF.0);
    /// Which kind of dynptr it came out of.
    pub(crate) const DYNPTR_ANY: Flags = Flags(0b11_1111 << 10);

    /// Whether any of these is there.
    pub(crate) const fn has(self, any: Flags) -> bool {
        self.0 & any.0 != 0
    }

    /// These, without some.
    pub(crate) const fn without(self, some: Flags) -> Flags {
        Flags(self.0 & !some.0)
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Flags;
    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Flags;
    fn not(self) -> Flags {
        Flags(!self.0)
    }
}

/// What a register holds, whole.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Kind {
    /// What.
    pub base: Base,
    /// What else is said of it.
    pub flags: Flags,
}

impl From<Base> for Kind {
    fn from(base: Base) -> Kind {
        Kind { base, flags: Flags::NONE }
    }
}

impl Kind {
    /// Of a base, with flags.
    pub(crate) const fn new(base: Base, flags: Flags) -> Kind {
        Kind { base, flags }
    }

    /// Exactly this, with nothing else said.
    pub(crate) fn is(self, base: Base) -> bool {
        self == base.into()
    }

    /// Whether it may be null.
    pub(crate) const fn may_be_null(self) -> bool {
        self.flags.has(Flags::MAYBE_NULL)
    }

    /// Whether it is a pointer at all.
    pub(crate) fn is_pointer(self) -> bool {
        !self.is(Base::Scalar) && !self.is(Base::NotInit)
    }

    /// A place in a packet, or in what stands before it.
    pub(crate) fn is_packet(self) -> bool {
        self.is(Base::Packet) || self.is(Base::PacketMeta)
    }

    /// A place in a packet, or its end.
    pub(crate) fn is_packet_any(self) -> bool {
        self.is_packet() || self.is(Base::PacketEnd)
    }

    /// A socket.
    pub(crate) fn is_socket(self) -> bool {
        [Base::Socket, Base::SockCommon, Base::TcpSock, Base::XdpSock]
            .map(Kind::from)
            .contains(&self)
    }

    /// An object that the program allocated.
    pub(crate) const fn is_allocated(self) -> bool {
        self.flags.has(Flags::ALLOC)
    }

    /// A typed object that the program allocated (`type_is_ptr_alloc_obj`).
    pub(crate) fn is_allocated_object(self) -> bool {
        self.base == Base::BtfId && self.is_allocated() && !self.flags.has(Flags::UNTRUSTED)
    }

    /// An object that a list or tree owns (`type_is_non_owning_ref`).
    pub(crate) fn is_non_owning(self) -> bool {
        self.is_allocated_object() && self.flags.has(Flags::NON_OWN_REF)
    }

    /// Memory that cannot be written.
    pub(crate) const fn is_read_only(self) -> bool {
        self.flags.has(Flags::RDONLY)
    }

    /// A slice of a packet, out of a dynptr.
    pub(crate) fn is_packet_slice(self) -> bool {
        let packets = Flags::DYNPTR_SKB | Flags::DYNPTR_XDP | Flags::DYNPTR_SKB_META;
        self.base == Base::Mem && self.flags.has(packets)
    }

    /// Whether a read through it may fault, and is caught (`bpf_may_fault_on_deref`).
    pub(crate) fn may_fault(self) -> bool {
        self.is(Base::BtfId) || self.flags.has(Flags::UNTRUSTED)
    }

    /// Whether something is said of it that takes trust away (`bpf_type_has_unsafe_modifiers`).
    pub(crate) fn is_unsafe(self) -> bool {
        self.flags.without(Flags::TRUSTED_MODIFIERS) != Flags::NONE
    }
}

/// The kernel's words (`reg_type_str`, `kernel/bpf/log.c`).
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const PREFIXES: [(Flags, &str); 7] = [
            (Flags::RDONLY, "rdonly_"),
            (Flags::RINGBUF, "ringbuf_"),
            (Flags::USER, "user_"),
            (Flags::PERCPU, "percpu_"),
            (Flags::RCU, "rcu_"),
            (Flags::UNTRUSTED, "untrusted_"),
            (Flags::TRUSTED, "trusted_"),
        ];
        for (flag, prefix) in PREFIXES {
            if self.flags.has(flag) {
                f.write_str(prefix)?;
            }
        }
        f.write_str(self.base.name())?;
        match (self.may_be_null(), self.base) {
            (false, _) => Ok(()),
            (true, Base::BtfId) => f.write_str("or_null_"),
            (true, _) => f.write_str("_or_null"),
        }
    }
}
