//! Classic instructions: the slot as it travels, and what it says.

use bombus_isa::{AluOp, Cond, Size};

/// Words of scratch memory, `M[0]` to `M[15]` (`BPF_MEMWORDS`).
pub(crate) const MEMWORDS: u32 = 16;

/// From this offset on loads are no loads (`SKF_AD_OFF`, `include/uapi/linux/filter.h`).
const AD_OFF: u32 = -0x1000i32 as u32;

/// One classic instruction (`struct sock_filter`, `include/uapi/linux/filter.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SockFilter {
    /// Operation.
    pub code: u16,
    /// Distance of the jump when the condition holds.
    pub jt: u8,
    /// Distance of the jump when it does not.
    pub jf: u8,
    /// Constant: number, offset or distance.
    pub k: u32,
}

impl SockFilter {
    /// The 8 bytes of the structure on a little-endian machine.
    pub fn to_bytes(self) -> [u8; 8] {
        let ([a, b], [e, f, g, h]) = (self.code.to_le_bytes(), self.k.to_le_bytes());
        [a, b, self.jt, self.jf, e, f, g, h]
    }

    /// The instruction that the 8 bytes of the structure are.
    pub fn from_bytes([a, b, jt, jf, e, f, g, h]: [u8; 8]) -> SockFilter {
        let (code, k) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([e, f, g, h]));
        SockFilter { code, jt, jf, k }
    }
}

macro_rules! extensions {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What loads from the offsets after `SKF_AD_OFF` give instead of bytes of the packet.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum Extension { $($(#[$doc])* $variant = $number,)* }

        impl Extension {
            /// Every one, in the order of their offsets.
            pub const ALL: &[Extension] = &[$(Extension::$variant,)*];

            /// The name that the kernel's documentation gives it.
            pub const fn name(self) -> &'static str {
                match self { $(Extension::$variant => $name,)* }
            }
        }
    };
}

extensions! {
    /// Protocol of the link layer's payload.
    Protocol = 0, "proto";
    /// To us, to all, to others.
    PktType = 4, "type";
    /// Network device.
    Ifindex = 8, "ifidx";
    /// Netlink attribute of type X at offset A.
    NlAttr = 12, "nla";
    /// The same inside the attribute at A.
    NlAttrNest = 16, "nlan";
    /// Mark of the packet.
    Mark = 20, "mark";
    /// Queue of the device.
    Queue = 24, "queue";
    /// Hardware type of the device.
    HaType = 28, "hatype";
    /// Hash of the flow.
    RxHash = 32, "rxhash";
    /// The processor that runs the filter.
    Cpu = 36, "cpu";
    /// No load: `A ^= X`.
    AluXorX = 40, "xor";
    /// VLAN tag that the device has taken out.
    VlanTag = 44, "vlan_tci";
    /// Whether there was one.
    VlanTagPresent = 48, "vlan_avail";
    /// Where the innermost payload starts.
    PayOffset = 52, "poff";
    /// A random number.
    Random = 56, "rand";
    /// Protocol of the VLAN tag.
    VlanTpid = 60, "vlan_tpid";
}

/// What a valid slot says. `A` is the accumulator, `X` the index register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Op {
    /// `A = packet[k]`, big-endian.
    LoadAbs { size: Size, k: u32 },
    /// `A = packet[X + k]`, big-endian.
    LoadInd { size: Size, k: u32 },
    /// `A =` something about the packet.
    Extension(Extension),
    /// `A = M[k]`.
    LoadMem(u32),
    /// `A = k`.
    LoadImm(u32),
    /// `A =` the packet's length.
    LoadLen,
    /// `X = 4 * (packet[k] & 15)`: the length of an IPv4 header.
    LoadXMsh(u32),
    /// `X = M[k]`.
    LoadXMem(u32),
    /// `X = k`.
    LoadXImm(u32),
    /// `X =` the packet's length.
    LoadXLen,
    /// `M[k] = A`.
    Store(u32),
    /// `M[k] = X`.
    StoreX(u32),
    /// `A op= k`, or `X` when there is no `k`.
    Alu { op: AluOp, k: Option<u32> },
    /// `A = -A`.
    Neg,
    /// Always jumps.
    Goto(u32),
    /// Compares `A` with `k`, or `X`; jumps in either case.
    JumpIf { cond: Cond, k: Option<u32>, jt: u8, jf: u8 },
    /// `X = A`.
    Tax,
    /// `A = X`.
    Txa,
    /// The verdict, or `A` as it.
    Ret(Option<u32>),
}

impl Op {
    /// What an instruction says; `None` when the kernel does not allow its code
    /// (`chk_code_allowed`). The numbers are those of `include/uapi/linux/bpf_common.h`.
    pub(crate) fn decode(insn: SockFilter) -> Option<Op> {
        let SockFilter { code, jt, jf, k } = insn;
        let operand = (code & 0x08 == 0).then_some(k);
        let size = |code: u16| match code & 0x18 {
            0x00 => Size::W,
            0x08 => Size::H,
            _ => Size::B,
        };
        Some(match code {
            0x20 | 0x28 | 0x30 => match extension(k) {
                Some(extension) => Op::Extension(extension),
                None => Op::LoadAbs { size: size(code), k },
            },
            0x40 | 0x48 | 0x50 => Op::LoadInd { size: size(code), k },
            0x60 => Op::LoadMem(k),
            0x00 => Op::LoadImm(k),
            0x80 => Op::LoadLen,
            0xb1 => Op::LoadXMsh(k),
            0x61 => Op::LoadXMem(k),
            0x01 => Op::LoadXImm(k),
            0x81 => Op::LoadXLen,
            0x02 => Op::Store(k),
            0x03 => Op::StoreX(k),
            0x04 | 0x0c => Op::Alu { op: AluOp::Add, k: operand },
            0x14 | 0x1c => Op::Alu { op: AluOp::Sub, k: operand },
            0x24 | 0x2c => Op::Alu { op: AluOp::Mul, k: operand },
            0x34 | 0x3c => Op::Alu { op: AluOp::Div, k: operand },
            0x44 | 0x4c => Op::Alu { op: AluOp::Or, k: operand },
            0x54 | 0x5c => Op::Alu { op: AluOp::And, k: operand },
            0x64 | 0x6c => Op::Alu { op: AluOp::Lsh, k: operand },
            0x74 | 0x7c => Op::Alu { op: AluOp::Rsh, k: operand },
            0x84 => Op::Neg,
            0x94 | 0x9c => Op::Alu { op: AluOp::Mod, k: operand },
            0xa4 | 0xac => Op::Alu { op: AluOp::Xor, k: operand },
            0x05 => Op::Goto(k),
            0x15 | 0x1d => Op::JumpIf { cond: Cond::Eq, k: operand, jt, jf },
            0x25 | 0x2d => Op::JumpIf { cond: Cond::Gt, k: operand, jt, jf },
            0x35 | 0x3d => Op::JumpIf { cond: Cond::Ge, k: operand, jt, jf },
            0x45 | 0x4d => Op::JumpIf { cond: Cond::Set, k: operand, jt, jf },
            0x07 => Op::Tax,
            0x87 => Op::Txa,
            0x06 => Op::Ret(Some(k)),
            0x16 => Op::Ret(None),
            _ => return None,
        })
    }
}

/// The extension that an absolute load from this offset is.
fn extension(k: u32) -> Option<Extension> {
    let number = k.wrapping_sub(AD_OFF);
    Extension::ALL.iter().copied().find(|each| *each as u32 == number)
}

/// Whether an absolute load from this offset can be nothing but an extension.
pub(crate) fn is_extension_offset(k: u32) -> bool {
    k >= AD_OFF
}
