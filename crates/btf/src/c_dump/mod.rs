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

use std::collections::HashMap;
use std::fmt::{self, Write};

use crate::btf::{Record, View};
use crate::layout::Alignments;
use crate::{Btf, Kind, TypeId};

/// How deep types may nest; what C compilers make stays far below.
const MAX_DEPTH: u32 = 400;
/// Lines of output and visits of types, for each type there is. The kernel's own needs a handful.
const WORK_PER_TYPE: usize = 512;

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

/// Writes a header with all types of the blob, its base's included: `vmlinux.h`.
pub fn dump_all(btf: &Btf, out: &mut impl Write) -> Result {
    dump(btf, (1..btf.next_id().0).map(TypeId), out)
}

/// Writes a header with these types and all that they depend on.
pub fn dump(btf: &Btf, ids: impl IntoIterator<Item = TypeId>, out: &mut impl Write) -> Result {
    out.write_str(
        "#ifndef __VMLINUX_H__\n\
         #define __VMLINUX_H__\n\
         \n\
         #ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
         #pragma clang attribute push (__attribute__((preserve_access_index)), apply_to = record)\n\
         #endif\n\
         \n",
    )?;
    let mut declarations = Declarations::new(btf);
    for id in ids {
        declarations.declare(id, out)?;
    }
    out.write_str(
        "#ifndef BPF_NO_PRESERVE_ACCESS_INDEX\n\
         #pragma clang attribute pop\n\
         #endif\n\
         \n\
         #endif /* __VMLINUX_H__ */\n",
    )?;
    Ok(())
}

/// A type as C names it, with the name of what has it: `char *name[16]`. Anonymous structures are
/// shown without their members.
pub fn declaration(btf: &Btf, ty: TypeId, name: &str) -> Result<String> {
    let mut text = String::new();
    let mut declarations = Declarations::new(btf);
    let mut writer = declarations.writer(&mut text);
    writer.inline_anonymous = false;
    writer.declarator(ty, name, 0, 0)?;
    Ok(text)
}

/// Declarations under way: what was declared is not declared again.
pub struct Declarations<'a> {
    btf: &'a Btf,
    types: View<'a>,
    states: Vec<State>,
    /// Types that have another name in C, because theirs was taken.
    renamed: HashMap<TypeId, String>,
    /// How often a name was used for structures, unions and enumerations, and how often for
    /// typedefs and enumerators.
    tags: HashMap<&'a str, u32>,
    identifiers: HashMap<&'a str, u32>,
    alignments: Alignments<'a>,
    work_left: usize,
}

/// How far a type is.
#[derive(Clone, Copy, Default)]
struct State {
    order: Progress,
    emitted: Progress,
    /// A declaration without definition was written.
    declared: bool,
    /// The name was chosen.
    named: bool,
    /// Some other type refers to it.
    referenced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Progress {
    #[default]
    No,
    Begun,
    Done,
}

impl<'a> Declarations<'a> {
    /// Nothing is declared yet.
    pub fn new(btf: &'a Btf) -> Declarations<'a> {
        let count = btf.next_id().0 as usize;
        let mut states = vec![State::default(); count];
        states[0] = State { order: Progress::Done, emitted: Progress::Done, ..State::default() };
        Declarations {
            btf,
            types: btf.view(),
            states,
            renamed: HashMap::new(),
            tags: HashMap::new(),
            identifiers: HashMap::new(),
            alignments: Alignments::new(btf),
            work_left: (1 << 16) + count * WORK_PER_TYPE,
        }
    }

    /// Writes the declaration of a type, after those of the types that it needs. Of functions and
    /// variables only their types are declared, and only where something else needs them.
    pub fn declare(&mut self, id: TypeId, out: &mut impl Write) -> Result {
        if !self.states[0].referenced {
            self.mark_referenced();
        }
        let mut queue = Vec::new();
        self.order(id, false, 0, &mut queue)?;
        let mut writer = self.writer(out);
        queue.into_iter().try_for_each(|id| writer.emit(id, None, 0))
    }

    fn writer<'w, W: Write>(&'w mut self, out: &'w mut W) -> Writer<'w, 'a, W> {
        Writer { declarations: self, out, stack: Vec::new(), inline_anonymous: true }
    }

    /// Takes note of all types that others refer to: enumerations without name that nobody refers
    /// to are declared for the sake of their constants. The mark on `void` says that it is done.
    fn mark_referenced(&mut self) {
        self.states[0].referenced = true;
        for id in (1..self.btf.next_id().0).map(TypeId) {
            let Some(record) = self.types.record(id) else { continue };
            record.for_each_type(|to| {
                if let Some(state) = self.states.get_mut(to.0 as usize) {
                    state.referenced = true;
                }
            });
        }
    }

    /// A type's own name.
    fn name(&self, record: &Record<'a>) -> &'a str {
        self.btf.name_at(record.name)
    }

    /// The name of a structure, union or enumeration.
    fn tag(&mut self, id: TypeId, name: &'a str) -> &str {
        Self::unique(&mut self.states, &mut self.renamed, &mut self.tags, self.btf, id, name)
    }

    /// The name of a typedef.
    fn identifier(&mut self, id: TypeId, name: &'a str) -> &str {
        Self::unique(&mut self.states, &mut self.renamed, &mut self.identifiers, self.btf, id, name)
    }

    /// The second type of a name gets `___2` after it, and so on.
    fn unique<'s>(
        states: &mut [State],
        renamed: &'s mut HashMap<TypeId, String>,
        taken: &mut HashMap<&'a str, u32>,
        btf: &Btf,
        id: TypeId,
        name: &'a str,
    ) -> &'s str
    where
        'a: 's,
    {
        let Some(state) = states.get_mut(id.0 as usize) else { return name };
        if name.is_empty() {
            return name;
        }
        if !state.named {
            state.named = true;
            // What is only declared shares its name with the definition.
            let record = btf.record(id);
            let only_declared = record.is_some_and(|record| {
                record.kind == Kind::Fwd || (record.kind == Kind::Enum && record.count == 0)
            });
            if !only_declared {
                let count = taken.entry(name).or_default();
                *count += 1;
                if *count > 1 {
                    renamed.insert(id, format!("{name}___{count}"));
                }
            }
        }
        renamed.get(&id).map_or(name, String::as_str)
    }

    fn work(&mut self, id: TypeId, depth: u32) -> Result {
        if self.work_left == 0 || depth > MAX_DEPTH {
            return Err(DumpError::TooComplex(id));
        }
        self.work_left -= 1;
        Ok(())
    }

    fn state(&mut self, id: TypeId) -> Result<&mut State> {
        self.states.get_mut(id.0 as usize).ok_or(DumpError::Malformed(id))
    }
}

/// Declarations on their way to a writer.
struct Writer<'w, 'a, W> {
    declarations: &'w mut Declarations<'a>,
    out: &'w mut W,
    /// The types of the declarator being written, outermost last.
    stack: Vec<TypeId>,
    /// Whether structures without name are written out where they are used.
    inline_anonymous: bool,
}
