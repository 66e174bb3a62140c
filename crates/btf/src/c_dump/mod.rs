//! Types as C declarations.
//!
//! What comes out compiles and has the layout that the types describe: dependencies come first,
//! what only pointers refer to is declared, gaps are filled and packed structures are marked. The
//! text is that of `bpftool btf dump file FILE format c` of Debian 12, character for character, but
//! for the size of enumerations, which only later versions of libbpf (1.2, `btf_dump.c`) state.

mod aggregate;
mod declarator;
mod emit;
mod order;
mod state;
mod text;
mod uses;
mod vmlinux;

use std::fmt::{self, Write};

pub use vmlinux::{vmlinux, vmlinux_of};

use crate::btf::View;
use crate::layout::Alignments;
use crate::record::Record;
use crate::{Btf, Kind, TypeId};
use state::State;
use text::Text;
use uses::Uses;

/// How deep types may nest; what C compilers make stays far below.
const MAX_DEPTH: u32 = 400;
/// Lines of output and visits of types, for each type there is. The kernel's own needs a handful.
const WORK_PER_TYPE: usize = 512;

/// Bytes that are handed on together.
const HANDED_ON: usize = 1 << 16;

/// Bytes that the declaration of a type may have, however small the blob.
const MIN_TEXT_LIMIT: usize = 1 << 16;

/// Why a type cannot be declared in C.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// The writer refused.
    Write,
    /// A type that contains itself.
    Circle(TypeId),
    /// No type of this number, or not one that a compiler makes.
    Malformed(TypeId),
    /// Types nested so deep, or gaps so wide, that no compiler made them.
    TooComplex(TypeId),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::Write => write!(f, "the C declarations cannot be written"),
            DumpError::Circle(id) => write!(f, "BTF type {id} contains itself"),
            DumpError::Malformed(id) => write!(f, "BTF type {id} is malformed"),
            DumpError::TooComplex(id) => {
                write!(f, "BTF type {id} is nested too deep or has gaps too wide for C")
            }
        }
    }
}

impl std::error::Error for DumpError {}

impl From<fmt::Error> for DumpError {
    fn from(_: fmt::Error) -> DumpError {
        DumpError::Write
    }
}

type Result<T = ()> = std::result::Result<T, DumpError>;

/// How a header begins, and how it ends.
const START: &str = "\
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)
#endif

";
const END: &str = "\
#ifndef BPF_NO_PRESERVE_ACCESS_INDEX
#pragma clang attribute pop
#endif

#endif /* __VMLINUX_H__ */
";

/// Writes a header with all types of the blob, its base's included: `vmlinux.h`.
pub fn dump_all(btf: &Btf, out: &mut impl Write) -> Result {
    dump(btf, (1..btf.next_id().0).map(TypeId), out)
}

/// Writes a header with these types and all that they depend on.
pub fn dump(btf: &Btf, ids: impl IntoIterator<Item = TypeId>, out: &mut impl Write) -> Result {
    out.write_str(START)?;
    let mut declarations = Declarations::new(btf);
    declarations.declare_all(ids, out)?;
    out.write_str(END)?;
    Ok(())
}

/// A type as C names it, with the name of what has it: `char *name[16]`. Anonymous structures are
/// shown without their members.
pub fn declaration(btf: &Btf, ty: TypeId, name: &str) -> Result<String> {
    let mut text = String::new();
    let mut declarations = Declarations::new(btf);
    declarations.inline_anonymous = false;
    declarations.declarator(ty, Name::Text(name.as_bytes()), 0, 0)?;
    declarations.text.hand_on(&mut text)?;
    Ok(text)
}

/// Declarations under way: what was declared is not declared again.
pub struct Declarations<'a> {
    btf: &'a Btf,
    types: View<'a>,
    states: Vec<State>,
    /// For each type, how many, itself included, had its name when it was its turn; 0 before that.
    namesakes: Vec<u32>,
    /// Names of structures, unions and enumerations, and those of typedefs and enumerators.
    tags: Uses,
    identifiers: Uses,
    alignments: Alignments<'a>,
    work_left: usize,
    /// Bytes that may be written before they are handed on: those of real types' declarations are
    /// about as many as those that they are made from.
    text_limit: usize,
    /// Whether structures without name are written out where they are used.
    inline_anonymous: bool,
    /// What is to be declared next.
    queue: Vec<TypeId>,
    /// The types of the declarators being written, each one's innermost last; `void` has no record.
    stack: Vec<(TypeId, Option<Record<'a>>)>,
    text: Text,
}

/// What a declarator declares.
#[derive(Clone, Copy)]
enum Name<'n> {
    /// What has its name at this offset of the blob's strings.
    At(u32),
    Text(&'n [u8]),
}

impl<'a> Declarations<'a> {
    /// Nothing is declared yet.
    pub fn new(btf: &'a Btf) -> Declarations<'a> {
        let count = btf.next_id().0 as usize;
        let levels = std::iter::successors(Some(btf), |btf| btf.base().map(|base| &**base));
        let bytes: usize = levels.map(|btf| btf.bytes().len()).sum();
        let mut states = vec![State::default(); count];
        states[0] = State::ORDERED | State::EMITTED;
        Declarations {
            btf,
            types: btf.view(),
            states,
            namesakes: vec![0; count],
            // Of a kernel's types, about as many have such names.
            tags: Uses::with_capacity(count / 8),
            identifiers: Uses::with_capacity(count / 6),
            alignments: Alignments::new(btf),
            work_left: (1 << 16) + count * WORK_PER_TYPE,
            text_limit: HANDED_ON + MIN_TEXT_LIMIT + bytes,
            inline_anonymous: true,
            queue: Vec::new(),
            stack: Vec::new(),
            text: Text::default(),
        }
    }

    /// Writes the declaration of a type, after those of the types that it needs. Of functions and
    /// variables only their types are declared, and only where something else needs them.
    pub fn declare(&mut self, id: TypeId, out: &mut impl Write) -> Result {
        self.declare_all([id], out)
    }

    /// The same for one type after the other.
    fn declare_all(
        &mut self,
        ids: impl IntoIterator<Item = TypeId>,
        out: &mut impl Write,
    ) -> Result {
        if !self.is(TypeId::VOID, State::REFERENCED)? {
            self.mark_referenced();
        }
        for id in ids {
            if self.types.kind(id) == Some(Kind::Func) {
                continue;
            }
            self.queue.clear();
            self.order(id, false, 0)?;
            for index in 0..self.queue.len() {
                self.emit(self.queue[index], None, 0)?;
                self.hand_on_when_full(out)?;
            }
        }
        self.text.hand_on(out)
    }

    fn hand_on_when_full(&mut self, out: &mut impl Write) -> Result {
        if self.text.len() >= HANDED_ON { self.text.hand_on(out) } else { Ok(()) }
    }

    /// Takes note of all types that others refer to: enumerations without name that nobody refers
    /// to are declared for the sake of their constants. The mark on `void` says that it is done.
    fn mark_referenced(&mut self) {
        self.states[0] |= State::REFERENCED;
        let (types, states) = (self.types, self.states.as_mut_slice());
        for id in (1..self.btf.next_id().0).map(TypeId) {
            // A function refers to its prototype, and there are many of them.
            if types.kind(id) == Some(Kind::Func) {
                continue;
            }
            let Some(record) = types.record(id) else { continue };
            record.for_each_type(|to| {
                if let Some(state) = states.get_mut(to.0 as usize) {
                    *state |= State::REFERENCED;
                }
            });
        }
    }

    /// A type's own name.
    fn name(&self, record: &Record<'a>) -> &'a [u8] {
        self.types.name(record.name)
    }

    /// Writes the name of a structure, union or enumeration.
    fn write_tag(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.write_unique(id, record, |declarations| &mut declarations.tags)
    }

    /// Writes the name of a typedef.
    fn write_identifier(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.write_unique(id, record, |declarations| &mut declarations.identifiers)
    }

    /// The second type of a name gets `___2` after it, and so on.
    #[inline]
    fn write_unique(
        &mut self,
        id: TypeId,
        record: &Record<'a>,
        uses: fn(&mut Self) -> &mut Uses,
    ) -> Result {
        let mut namesakes = self.namesakes(id)?;
        // What is only declared shares its name with the definition.
        let only_declared =
            record.kind == Kind::Fwd || (record.kind == Kind::Enum && record.count == 0);
        if namesakes == 0 && !only_declared {
            let types = self.types;
            namesakes = uses(self).add(types, record.name);
            self.namesakes[id.0 as usize] = namesakes;
        }
        self.text.push_name(self.types, record.name);
        if namesakes > 1 {
            self.text.push("___");
            self.text.push_number(namesakes.into());
        }
        Ok(())
    }

    fn namesakes(&self, id: TypeId) -> Result<u32> {
        self.namesakes.get(id.0 as usize).copied().ok_or(DumpError::Malformed(id))
    }

    fn work(&mut self, id: TypeId, depth: u32) -> Result {
        if self.work_left == 0 || depth > MAX_DEPTH {
            return Err(DumpError::TooComplex(id));
        }
        self.work_left -= 1;
        Ok(())
    }

    fn check_text(&self, id: TypeId) -> Result {
        if self.text.len() > self.text_limit { Err(DumpError::TooComplex(id)) } else { Ok(()) }
    }

    /// Whether this holds of a type.
    #[inline]
    fn is(&self, id: TypeId, state: State) -> Result<bool> {
        let states = self.states.get(id.0 as usize).ok_or(DumpError::Malformed(id))?;
        Ok(states.contains(state))
    }

    /// Takes note that this holds of a type.
    fn set(&mut self, id: TypeId, state: State) -> Result {
        *self.states.get_mut(id.0 as usize).ok_or(DumpError::Malformed(id))? |= state;
        Ok(())
    }
}
