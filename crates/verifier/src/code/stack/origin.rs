//! Which frame's pointer a value comes from, and how far it points from it (`struct arg_track`,
//! `kernel/bpf/liveness.c`).

use std::fmt;

/// Offsets that are told apart.
const MAX_OFFSETS: usize = 4;

/// What a value has to do with frame pointers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Origin {
    /// Nothing.
    #[default]
    None,
    /// It is this frame's pointer plus one of these offsets.
    Frame(u8, Offsets),
    /// It may come from the pointers of these frames: bit `n` is frame `n`.
    Frames(u16),
}

/// Some offsets in bytes, in order; none: any offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Offsets {
    count: u8,
    /// Zero from `count` on.
    at: [i16; MAX_OFFSETS],
}

impl Offsets {
    pub(super) const ANY: Offsets = Offsets { count: 0, at: [0; MAX_OFFSETS] };

    pub(super) const fn one(offset: i16) -> Offsets {
        Offsets { count: 1, at: [offset, 0, 0, 0] }
    }

    pub(super) fn get(&self) -> &[i16] {
        &self.at[..usize::from(self.count)]
    }

    pub(super) const fn is_any(&self) -> bool {
        self.count == 0
    }

    /// All of them moved; any offset when one would leave 16 bits.
    pub(super) fn plus(self, delta: i64) -> Offsets {
        let mut moved = self;
        for offset in &mut moved.at[..usize::from(self.count)] {
            match add(*offset, delta) {
                Some(sum) => *offset = sum,
                None => return Offsets::ANY,
            }
        }
        moved
    }

    /// Those of either. Neither is [`Offsets::ANY`].
    fn merged(self, other: Offsets) -> Offsets {
        let mut all = [0_i16; 2 * MAX_OFFSETS];
        let mut count = 0;
        let (mut left, mut right) = (self.get(), other.get());
        loop {
            let offset = match (left, right) {
                ([], []) => break,
                ([a, ..], [b, ..]) => *a.min(b),
                ([a, ..], []) | ([], [a, ..]) => *a,
            };
            let skip = |list: &mut &[i16]| {
                if list.first() == Some(&offset) {
                    *list = &list[1..];
                }
            };
            skip(&mut left);
            skip(&mut right);
            all[count] = offset;
            count += 1;
        }
        match all.first_chunk() {
            Some(at) if count <= MAX_OFFSETS => Offsets { count: count as u8, at: *at },
            _ => Offsets::ANY,
        }
    }
}

/// An offset moved, if 16 bits can say so.
pub(super) fn add(offset: i16, delta: i64) -> Option<i16> {
    offset.checked_add(i16::try_from(delta).ok()?)
}

impl Origin {
    pub(super) const fn is_none(self) -> bool {
        matches!(self, Origin::None)
    }

    /// All frames to this one.
    pub(super) const fn up_to(frame: u8) -> Origin {
        Origin::Frames(((1_u32 << (frame + 1)) - 1) as u16)
    }

    /// The offsets, if the frame is known.
    pub(super) const fn offsets(self) -> Offsets {
        match self {
            Origin::Frame(_, offsets) => offsets,
            _ => Offsets::ANY,
        }
    }

    const fn frames(self) -> u16 {
        match self {
            Origin::None => 0,
            Origin::Frame(frame, _) => 1 << frame,
            Origin::Frames(frames) => frames,
        }
    }

    /// What holds of both where two paths meet.
    pub(super) fn join(self, other: Origin) -> Origin {
        use Origin::{Frame, Frames, None};
        match (self, other) {
            (Frame(a, left), Frame(b, right)) if a == b => {
                let any = left.is_any() || right.is_any();
                Frame(a, if any { Offsets::ANY } else { left.merged(right) })
            }
            (None, None) => None,
            // A second offset keeps a store there from counting as one that is always made.
            (Frame(frame, offsets), None) | (None, Frame(frame, offsets)) => {
                let one = offsets.count == 1;
                Frame(frame, if one { offsets.merged(Offsets::one(0)) } else { offsets })
            }
            _ => Frames(self.frames() | other.frames()),
        }
    }

    /// What comes of arithmetic with another register, where offsets are lost.
    pub(super) fn mixed(self, other: Origin) -> Origin {
        use Origin::{Frame, Frames, None};
        match (self, other) {
            (None, None) => None,
            (Frame(frame, _), None) | (None, Frame(frame, _)) => Frame(frame, Offsets::ANY),
            (Frame(a, _), Frame(b, _)) if a == b => Frame(a, Offsets::ANY),
            _ => Frames(self.frames() | other.frames()),
        }
    }

    /// What comes of other arithmetic with a constant.
    pub(super) const fn blurred(self) -> Origin {
        match self {
            Origin::Frame(frame, _) => Origin::Frame(frame, Offsets::ANY),
            other => other,
        }
    }

    pub(super) fn plus(self, delta: i64) -> Origin {
        match self {
            Origin::Frame(frame, offsets) => Origin::Frame(frame, offsets.plus(delta)),
            other => other,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::None => f.write_str("_"),
            Origin::Frames(frames) => write!(f, "IMP{frames:x}"),
            Origin::Frame(frame, offsets) if offsets.is_any() => write!(f, "fp{frame} ?"),
            Origin::Frame(frame, offsets) => {
                for (index, offset) in offsets.get().iter().enumerate() {
                    let or = if index > 0 { "|" } else { "" };
                    write!(f, "{or}fp{frame}{offset:+}")?;
                }
                Ok(())
            }
        }
    }
}
