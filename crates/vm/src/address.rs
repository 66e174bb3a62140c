//! Guest addresses: what programs hold instead of pointers.
//!
//! An address is a region (upper 24 bits) and an offset into it (lower 40 bits). All regions lie in
//! the upper half of the address space, so no address of a traced process, which lies in the lower
//! half, is ever taken for one. Arithmetic that leaves a region's offsets and comes back is
//! harmless, as it is in the kernel: only the access counts.

/// Bits of an offset.
pub const OFFSET_BITS: u32 = 40;

/// The stack frames of the run.
pub const STACK: u32 = 0x80_0001;
/// The context.
pub const CTX: u32 = 0x80_0002;
/// Functions of the running program; the offset is the slot. Cannot be read.
pub const CODE: u32 = 0x80_0003;
/// The first region that belongs to the host.
pub const FIRST_HOST_REGION: u32 = 0x80_0010;

/// Distance between two stack frames. It is twice a frame's size, so that running off a frame's end
/// is noticed.
pub(crate) const FRAME_STRIDE: u64 = 2 * bombus_platform::MAX_STACK as u64;

/// The address of `offset` in `region`.
#[inline]
pub const fn pack(region: u32, offset: u64) -> u64 {
    ((region as u64) << OFFSET_BITS) | offset
}

/// The region of an address.
#[inline]
pub const fn region(address: u64) -> u32 {
    (address >> OFFSET_BITS) as u32
}

/// The offset of an address in its region.
#[inline]
pub const fn offset(address: u64) -> u64 {
    address & ((1 << OFFSET_BITS) - 1)
}
