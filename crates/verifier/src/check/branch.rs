//! Conditional jumps (`check_cond_jmp_op`, `kernel/bpf/verifier.c`).

use bombus_isa::{Cond, Operand, Reg, Width};

use crate::domain::{Comparison, Scalar};
use crate::state::{
    ADD_CONST, ADD_CONST32, AT_PACKET_END, BEYOND_PACKET_END, Base, FP, Flags, MAX_OFFSET, Number,
    Object, Register, State,
};
use crate::walk::history::{Link, Links, Touch};
use crate::walk::{Check, Next, Walk, refuse};

/// Bytes of a packet at most (`MAX_PACKET_OFF`).
const MAX_PACKET: u64 = 0xffff;

/// What both operands are on each way.
struct Ways {
    /// The operands when the jump is taken; `None`: it cannot be.
    taken: Option<(Scalar<Number>, Scalar<Number>)>,
    /// The operands when it is not.
    not_taken: Option<(Scalar<Number>, Scalar<Number>)>,
}

impl Walk<'_> {
    /// `if dst cond src goto`.
    pub(crate) fn jump_if(
        &mut self,
        width: Width,
        cond: Cond,
        dst: Reg,
        src: Operand,
        off: i16,
    ) -> Check<Next> {
        let left = self.read(dst)?;
        let right = match src {
            Operand::Reg(src) => {
                let right = self.read(src)?;
                let packets = left.kind.is_packet_any() && right.kind.is_packet_any();
                if !packets && self.leaks(&right) {
                    refuse!(self, EACCES, "R{} pointer comparison prohibited", src.0);
                }
                right
            }
            Operand::Imm(number) => Register::constant(number as i64 as u64),
        };
        let touch = Touch {
            stack: None,
            dst_is_stack: left.kind.is(Base::Stack),
            src_is_stack: right.kind.is(Base::Stack),
        };
        if touch != Touch::default() {
            self.note_jump(touch, Links::default());
        }
        let mut links = Links::default();
        if matches!(src, Operand::Reg(_)) {
            self.collect_links(&right, &mut links);
        }
        self.collect_links(&left, &mut links);
        // (Ids may have gone for want of room.)
        let left = self.state.regs()[usize::from(dst.0)];
        let right = match src {
            Operand::Reg(src) => self.state.regs()[usize::from(src.0)],
            Operand::Imm(_) => right,
        };
        let itself = matches!(src, Operand::Reg(src) if src == dst);
        let ways = ways(width, cond, &left, &right);
        let taken = self.predict(width, cond, &left, &right, itself, &ways);
        if taken.is_some() {
            if left.is_scalar() {
                self.mark_precise(dst.0.into())?;
            }
            if let (Operand::Reg(src), true) = (src, right.is_scalar()) {
                self.mark_precise(src.0.into())?;
            }
        }
        let target = self.target(off.into());
        if let Some(taken) = taken {
            let (to, other) = match taken {
                true => (target, self.slot + 1),
                false => (self.slot + 1, target),
            };
            self.speculate(other, dst, src)?;
            self.report_changes();
            return Ok(Next::At(to));
        }
        if links.len() > 1 {
            self.note_jump(Touch::default(), links);
        }
        self.part(width, cond, dst, src, target, &left, &right, &ways, &links)?;
        self.report_changes();
        Ok(Next::At(self.slot + 1))
    }

    /// Both ways are walked.
    #[expect(clippy::too_many_arguments)]
    fn part(
        &mut self,
        width: Width,
        cond: Cond,
        dst: Reg,
        src: Operand,
        target: usize,
        left: &Register,
        right: &Register,
        ways: &Ways,
        links: &Links,
    ) -> Check {
        let (dst_index, allows) = (usize::from(dst.0), self.allowed.pointer_leaks);
        let left_is_there = self.is_not_null(left);
        let right_is_there = self.is_not_null(right);
        let mut other = self.copy_state();
        let both = [(&mut self.state, ways.not_taken), (&mut other, ways.taken)];
        for (state, way) in both {
            let (on_left, on_right) = way.unwrap_or((left.value, right.value));
            if left.is_scalar() {
                state.regs()[dst_index].value = on_left;
            }
            if let (Operand::Reg(src), true) = (src, right.is_scalar()) {
                state.regs()[usize::from(src.0)].value = on_right;
            }
            if let Operand::Reg(src) = src {
                sync_links(state, usize::from(src.0), links);
            }
            sync_links(state, dst_index, links);
        }
        for link in links.iter() {
            match link.is_register {
                true => self.touch_register(link.place.into()),
                false => self.touch_slot(link.place.into()),
            }
        }
        // Two pointers that are the same: where one is not null, the other is not.
        if let (Width::W64, Operand::Reg(src)) = (width, src)
            && left.kind.is_pointer()
            && right.kind.is_pointer()
            && left.kind.base != Base::BtfId
            && right.kind.base != Base::BtfId
        {
            let same = match cond {
                Cond::Eq => Some(&mut other),
                Cond::Ne => Some(&mut self.state),
                _ => None,
            };
            if let Some(state) = same {
                let regs = state.regs();
                if left_is_there && right.kind.may_be_null() {
                    regs[usize::from(src.0)].set_not_null();
                }
                if right_is_there && left.kind.may_be_null() {
                    regs[dst_index].set_not_null();
                }
            }
        }
        let is_zero = right.is_null();
        if width == Width::W64
            && matches!(cond, Cond::Eq | Cond::Ne)
            && left.kind.may_be_null()
            && is_zero
        {
            if let Operand::Reg(src) = src {
                self.mark_precise(src.0.into())?;
            }
            mark_null(&mut self.state, left.id, cond == Cond::Ne);
            mark_null(&mut other, left.id, cond == Cond::Eq);
        } else if !match_packets(width, cond, dst, src, left, right, &mut self.state, &mut other)
            && !allows
            && left.kind.is_pointer()
        {
            refuse!(self, EACCES, "R{} pointer comparison prohibited", dst.0);
        }
        self.push_state(other, target)
    }

    /// Which way is gone, when it is sure (`is_branch_taken`).
    fn predict(
        &mut self,
        width: Width,
        cond: Cond,
        left: &Register,
        right: &Register,
        itself: bool,
        ways: &Ways,
    ) -> Option<bool> {
        if left.kind.is_packet_any() && right.kind.is_packet_any() && width == Width::W64 {
            return predict_packet(cond, left, right);
        }
        if left.kind.is_pointer() || right.kind.is_pointer() {
            if width == Width::W32 {
                return None;
            }
            let (pointer, number, cond) = match right.number() {
                Some(number) => (left, number, cond),
                None => (right, left.number()?, flipped(cond)),
            };
            if !self.is_not_null(pointer) || number != 0 {
                return None;
            }
            return match cond {
                Cond::Eq => Some(false),
                Cond::Ne => Some(true),
                _ => None,
            };
        }
        if itself {
            return predict_itself(width, cond, left);
        }
        match (&ways.taken, &ways.not_taken) {
            (_, None) => Some(true),
            (None, _) => Some(false),
            _ => None,
        }
    }

    /// Whether a pointer is surely not null (`reg_not_null`).
    pub(crate) fn is_not_null(&self, register: &Register) -> bool {
        if register.kind.may_be_null() {
            return false;
        }
        if register.smin() <= -MAX_OFFSET || register.smax() >= MAX_OFFSET {
            return false;
        }
        match register.kind.base {
            Base::BtfId => self.is_trusted(register),
            Base::Mem => !register.kind.flags.has(Flags::UNTRUSTED),
            Base::Socket
            | Base::TcpSock
            | Base::XdpSock
            | Base::Buf
            | Base::MapValue
            | Base::MapKey
            | Base::SockCommon
            | Base::MapPtr => true,
            _ => false,
        }
    }

    /// The registers and slots whose numbers depend on one (`collect_linked_regs`). Those that there
    /// is no room for lose their ids.
    fn collect_links(&mut self, register: &Register, links: &mut Links) {
        if !register.is_scalar() || register.id == 0 {
            return;
        }
        let id = register.base_id();
        for number in (0..self.state.frames.len()).rev() {
            let live = self.code.live_registers(self.state.frame_slot(number));
            let frame = &mut self.state.frames[number];
            let depends = |known: &Register| known.is_scalar() && known.base_id() == id;
            let mut has_room = |place: usize, is_register: bool| {
                links.push(Link { frame: number as u8, place: place as u8, is_register })
            };
            for (place, known) in frame.regs[..FP].iter_mut().enumerate() {
                if live & 1 << place != 0 && depends(known) && !has_room(place, true) {
                    known.forget_id();
                }
            }
            for place in frame.stack.held() {
                let held = &frame.stack[place];
                if held.is_spill() && depends(held.register()) && !has_room(place, false) {
                    frame.stack[place].register_mut().forget_id();
                }
            }
        }
    }

    /// `may_goto`: once more round, or on.
    pub(crate) fn may_goto(&mut self, off: i16) -> Check<Next> {
        let previous = self.previous_round_of_parent(self.slot);
        let mut queued = self.widened(previous, self.state.clone());
        queued.may_gotos += 1;
        self.push_state(queued, self.slot + 1)?;
        Ok(Next::At(self.target(off.into())))
    }

    /// `gotox`: to one of the places of a table (`check_indirect_jump`).
    pub(crate) fn goto_register(&mut self, dst: Reg) -> Check<Next> {
        let register = self.state.regs()[usize::from(dst.0)];
        let n = dst.0;
        if !register.kind.is(Base::Insn) {
            let kind = register.kind;
            refuse!(self, EINVAL, "R{n} has type {kind}, expected PTR_TO_INSN");
        }
        let Some(map) = register.map().map(|map| self.maps.get(map)) else {
            refuse!(self, EFAULT, "R{n} has an empty map pointer");
        };
        let (min, max) = (register.umin() / 8, register.umax() / 8);
        let entries = u64::from(map.max_entries);
        if max >= entries {
            refuse!(
                self,
                EINVAL,
                "R{n} points to outside of jump table: [{min},{max}] max_entries {entries}"
            );
        }
        let mut places: Vec<usize> = crate::facts::places(map)
            .unwrap_or_default()
            .into_iter()
            .skip(min as usize)
            .take((max - min + 1) as usize)
            .map(|place| place as usize)
            .collect();
        places.sort_unstable();
        places.dedup();
        let Some(last) = places.pop() else {
            refuse!(self, EINVAL, "register R{n} doesn't point to any offset in map id=0");
        };
        for place in places {
            self.push_path(place, self.state.speculative)?;
        }
        Ok(Next::At(last))
    }
}

/// The comparison from the other side.
fn flipped(cond: Cond) -> Cond {
    match cond {
        Cond::Gt => Cond::Lt,
        Cond::Ge => Cond::Le,
        Cond::Lt => Cond::Gt,
        Cond::Le => Cond::Ge,
        Cond::Sgt => Cond::Slt,
        Cond::Sge => Cond::Sle,
        Cond::Slt => Cond::Sgt,
        Cond::Sle => Cond::Sge,
        Cond::Eq | Cond::Ne | Cond::Set => cond,
    }
}

/// What numbers are on each way.
fn ways(width: Width, cond: Cond, left: &Register, right: &Register) -> Ways {
    if !left.is_scalar() || !right.is_scalar() {
        let same = Some((left.value, right.value));
        return Ways { taken: same, not_taken: same };
    }
    let on = |taken: bool| {
        let (comparison, is_swapped) = Comparison::of(cond, taken);
        let (a, b) = if is_swapped { (right.value, left.value) } else { (left.value, right.value) };
        let (a, b, is_impossible) = Scalar::assume(comparison, width, a, b);
        let (on_left, on_right) = if is_swapped { (b, a) } else { (a, b) };
        (!is_impossible).then_some((on_left, on_right))
    };
    Ways { taken: on(true), not_taken: on(false) }
}

/// A register compared with itself.
fn predict_itself(width: Width, cond: Cond, register: &Register) -> Option<bool> {
    match cond {
        Cond::Eq | Cond::Ge | Cond::Le | Cond::Sge | Cond::Sle => Some(true),
        Cond::Ne | Cond::Gt | Cond::Lt | Cond::Sgt | Cond::Slt => Some(false),
        Cond::Set => {
            let (known, min, max) = match width {
                Width::W64 => (register.number(), register.smin(), register.smax()),
                Width::W32 => (
                    register.low_number().map(u64::from),
                    register.smin32().into(),
                    register.smax32().into(),
                ),
            };
            match known {
                Some(number) => Some(number != 0),
                None => (min > 0 || max < 0).then_some(true),
            }
        }
    }
}

/// A packet pointer whose place is known relative to the packet's end (`is_pkt_ptr_branch_taken`).
fn predict_packet(cond: Cond, left: &Register, right: &Register) -> Option<bool> {
    let (packet, cond) = match (right.kind.base, left.kind.base) {
        (Base::PacketEnd, _) => (left, cond),
        (_, Base::PacketEnd) => (right, flipped(cond)),
        _ => return None,
    };
    match (cond, packet.range()) {
        (Cond::Le, BEYOND_PACKET_END) => Some(false),
        (Cond::Gt, BEYOND_PACKET_END) => Some(true),
        (Cond::Lt, BEYOND_PACKET_END | AT_PACKET_END) => Some(false),
        (Cond::Ge, BEYOND_PACKET_END | AT_PACKET_END) => Some(true),
        _ => None,
    }
}

/// A pointer that may be null is, or is not, and all that came from the same place with it.
fn mark_null(state: &mut State, id: u32, is_null: bool) {
    if is_null && state.has_reference(id) {
        state.references.retain(|reference| {
            !(reference.id == id
                && matches!(reference.kind, crate::state::ReferenceKind::Object(_)))
        });
    }
    state.each_register(|register| {
        if register.kind.may_be_null() && register.id == id {
            if is_null {
                let precise = register.precise;
                *register = Register { precise, ..Register::constant(0) };
            } else {
                register.set_not_null();
            }
        }
    });
}

/// Numbers that depend on one follow it (`sync_linked_regs`).
fn sync_links(state: &mut State, register: usize, links: &Links) {
    let known = state.frame().regs[register];
    if !known.is_scalar() || known.id == 0 {
        return;
    }
    let top = state.top();
    for link in links.iter() {
        let (frame, place) = (usize::from(link.frame), usize::from(link.place));
        if link.is_register && frame == top && place == register {
            continue;
        }
        let Some(frame) = state.frames.get_mut(frame) else { continue };
        match link.is_register {
            true => follow(&mut frame.regs[place], &known),
            false if place < frame.stack.len() => {
                frame.stack.update(place, |other| follow(other, &known));
            }
            false => {}
        }
    }
}

/// What another number that depends on this one is.
fn follow(other: &mut Register, known: &Register) {
    if !other.is_scalar() || other.base_id() != known.base_id() {
        return;
    }
    // One a sum at 32 bits, the other at 64: they say nothing of each other.
    if (other.id ^ known.id) & ADD_CONST == ADD_CONST {
        return;
    }
    let neither = (other.id | known.id) & ADD_CONST == 0;
    if neither || other.delta == known.delta {
        *other = *known;
        return;
    }
    let (delta, id) = (other.delta, other.id);
    let difference = i64::from(delta) - i64::from(known.delta);
    *other = Register { delta, id, ..*known };
    other.add(difference);
    if (id | known.id) & ADD_CONST32 != 0 {
        other.value = Scalar::zero_extended(other.value.half());
    }
}

/// Packet pointers compared with the packet's end tell how much of it is there
/// (`try_match_pkt_pointers`): whether it is such a comparison.
#[expect(clippy::too_many_arguments)]
fn match_packets(
    width: Width,
    cond: Cond,
    dst: Reg,
    src: Operand,
    left: &Register,
    right: &Register,
    fallen: &mut State,
    taken: &mut State,
) -> bool {
    let (Width::W64, Operand::Reg(src)) = (width, src) else { return false };
    let ends = |packet: &Register, end: &Register| {
        (packet.kind.is(Base::Packet) && end.kind.is(Base::PacketEnd))
            || (packet.kind.is(Base::PacketMeta) && end.is_packet_start(Base::Packet))
    };
    let (packet, register, cond) = if ends(left, right) {
        (left, dst, cond)
    } else if ends(right, left) {
        (right, src, flipped(cond))
    } else {
        return false;
    };
    // (inside, beyond): the way on which the packet reaches as far as the pointer, and the other;
    // and whether the byte that it points to is there, too.
    let (inside, beyond, is_open) = match cond {
        Cond::Gt => (fallen, taken, false),
        Cond::Lt => (taken, fallen, true),
        Cond::Ge => (fallen, taken, true),
        Cond::Le => (taken, fallen, false),
        _ => return false,
    };
    reach(inside, packet, is_open);
    let known = &mut beyond.regs()[usize::from(register.0)];
    if known.kind.is(Base::Packet) {
        known.object = Object::Range(if is_open { AT_PACKET_END } else { BEYOND_PACKET_END });
    }
    true
}

/// The packet reaches as far as a pointer (`find_good_pkt_pointers`).
fn reach(state: &mut State, packet: &Register, is_open: bool) {
    let most = packet.umax();
    if (most == 0 && is_open) || most > MAX_PACKET {
        return;
    }
    let range = most as i32 + i32::from(is_open);
    state.each_register(|register| {
        if register.kind == packet.kind && register.id == packet.id {
            register.object = Object::Range(register.range().max(range));
        }
    });
}
