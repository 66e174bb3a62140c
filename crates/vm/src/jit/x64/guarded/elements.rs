//! Elements of tables that code finds, or reaches, by itself.

use std::mem::offset_of;

use bombus_isa::{Reg, Size, Width};

use super::{Cold, Guarded, field};
use crate::address::OFFSET_BITS;
use crate::jit::guarded::{Environment, Guests, Known, Layout, MAX_BLOCKS, Place, Reached};
use crate::jit::x64::encode::{Arith, Branch, Cc, Gpr, Mem, Shift};
use crate::jit::x64::{HOMES, SCRATCH, SCRATCH2, SCRATCH3};

impl Guarded<'_> {
    /// An array's length and distance of elements, when its elements can be found in line.
    pub(super) fn array(&self, table: usize) -> Option<(i32, i32)> {
        let (len, stride) = layout(self.guests, table)?.array?;
        Some((len.try_into().ok()?, stride.try_into().ok()?))
    }

    /// The place of a table among the blocks, when its elements are reached without asking.
    pub(super) fn block(&self, table: usize) -> Option<usize> {
        self.reach.blocks.iter().position(|block| block.table == table)
    }

    /// `r0 =` the address of an element of an array, or 0.
    pub(super) fn element(&mut self, block: usize, len: i32, stride: i32, key: i32) {
        let (asm, index) = (&mut self.emitter.asm, HOMES[0]);
        asm.load(Size::W, false, index, Mem::new(Gpr::RBP, key));
        asm.arith_imm(Arith::Cmp, Width::W32, index, len);
        let from = asm.branch(Branch::Jcc(Cc::Ae));
        if stride.count_ones() == 1 {
            asm.shift_imm(Shift::Shl, Width::W64, index, stride.trailing_zeros() as u8);
        } else {
            asm.imul_imm(Width::W64, index, index, stride);
        }
        asm.arith_mem(Arith::Add, Width::W64, index, field(block + offset_of!(Place, first)));
        let to = asm.len();
        self.cold.push(Cold::Absent { from, to });
        self.clear_arguments();
    }

    /// Loads how far the host's addresses are from the guest's for an element of one of these tables, into
    /// the third scratch register: its address says of which. False: they are not all blocks.
    pub(super) fn distance_of_one(&mut self, tables: u64, base: Reg, off: i32) -> bool {
        let one =
            |table: usize| Some((region(self.guests, table)?, distance_of(self.block(table)?)));
        let all: Option<Vec<(i32, Mem)>> = in_set(tables).map(one).collect();
        let Some([(_, first), others @ ..]) = all.as_deref() else { return false };
        self.guest_address(SCRATCH2, base, off);
        let asm = &mut self.emitter.asm;
        asm.shift_imm(Shift::Shr, Width::W64, SCRATCH2, OFFSET_BITS as u8);
        asm.load(Size::Dw, false, SCRATCH3, *first);
        for &(region, distance) in others {
            asm.load(Size::Dw, false, SCRATCH, distance);
            asm.arith_imm(Arith::Cmp, Width::W32, SCRATCH2, region);
            asm.cmov(Cc::E, Width::W64, SCRATCH3, SCRATCH);
        }
        true
    }
}

/// The tables whose elements the code can reach without asking.
pub(super) fn blocks(guests: &Guests<'_>, slots: usize) -> Vec<Reached> {
    let mut blocks: Vec<Reached> = Vec::new();
    let mut add = |table: usize| {
        if let Some(layout) = layout(guests, table)
            && blocks.iter().all(|block| block.table != table)
            && blocks.len() < MAX_BLOCKS
        {
            blocks.push(Reached { table, is_array: layout.array.is_some() });
        }
    };
    for slot in 0..slots {
        match guests.known(slot) {
            Known::Element(table) => add(table),
            Known::Elements(tables) => in_set(tables).for_each(&mut add),
            _ => {}
        }
    }
    blocks
}

/// How a table lies.
fn layout(guests: &Guests<'_>, table: usize) -> Option<Layout> {
    (guests.proven?.layout)(table)
}

/// The region that a table is in.
fn region(guests: &Guests<'_>, table: usize) -> Option<i32> {
    i32::try_from(layout(guests, table)?.region).ok()
}

/// The tables of a set, a bit each.
fn in_set(tables: u64) -> impl Iterator<Item = usize> {
    (0..64).filter(move |table| tables & 1 << table != 0)
}

/// Where the environment has the distance of a block's addresses.
pub(super) const fn distance_of(block: usize) -> Mem {
    field(place_of(block) + offset_of!(Place, distance))
}

/// Where the environment has a block.
pub(super) const fn place_of(block: usize) -> usize {
    offset_of!(Environment, blocks) + block * size_of::<Place>()
}
