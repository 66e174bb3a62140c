//! Kinds of types, and what each word of their records is (`include/uapi/linux/btf.h`).

/// What a 32-bit word of a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Word {
    /// Offset of a string.
    Name,
    /// Number of a type.
    Type,
    /// Anything else.
    Plain,
}

use Word::{Name, Plain, Type};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $third:ident,
        [$($once:ident),*], [$($each:ident),*];)*) => {
        /// What a type is. The numbers are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $variant = $number,)* }

        impl Kind {
            /// Every one, in the kernel's order.
            pub const ALL: &[Kind] = &[$(Kind::$variant,)*];

            /// The kind with this number.
            pub const fn from_number(number: u8) -> Option<Kind> {
                match number { $($number => Some(Kind::$variant),)* _ => None }
            }

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// The third word of the header: a type, or a size or nothing.
            pub(crate) const fn third(self) -> Word {
                match self { $(Kind::$variant => $third,)* }
            }

            /// The words that follow the header once, then those that follow for each member.
            pub(crate) const fn words(self) -> (&'static [Word], &'static [Word]) {
                match self { $(Kind::$variant => (&[$($once),*], &[$($each),*]),)* }
            }
        }
    };
}

kinds! {
    /// Integer; also `char` and `_Bool`.
    Int = 1, "INT", Plain, [Plain], [];
    /// Pointer.
    Ptr = 2, "PTR", Type, [], [];
    /// Array.
    Array = 3, "ARRAY", Plain, [Type, Type, Plain], [];
    /// Structure.
    Struct = 4, "STRUCT", Plain, [], [Name, Type, Plain];
    /// Union.
    Union = 5, "UNION", Plain, [], [Name, Type, Plain];
    /// Enumeration of at most 32 bits.
    Enum = 6, "ENUM", Plain, [], [Name, Plain];
    /// Declaration of a structure or union without members.
    Fwd = 7, "FWD", Plain, [], [];
    /// `typedef`.
    Typedef = 8, "TYPEDEF", Type, [], [];
    /// `volatile`.
    Volatile = 9, "VOLATILE", Type, [], [];
    /// `const`.
    Const = 10, "CONST", Type, [], [];
    /// `restrict`.
    Restrict = 11, "RESTRICT", Type, [], [];
    /// Function: a name for a prototype.
    Func = 12, "FUNC", Type, [], [];
    /// Return and argument types of functions.
    FuncProto = 13, "FUNC_PROTO", Type, [], [Name, Type];
    /// Global variable.
    Var = 14, "VAR", Type, [Plain], [];
    /// Section of variables.
    Datasec = 15, "DATASEC", Plain, [], [Type, Plain, Plain];
    /// Floating point number.
    Float = 16, "FLOAT", Plain, [], [];
    /// Attribute of a declaration.
    DeclTag = 17, "DECL_TAG", Type, [Plain], [];
    /// Attribute of a type.
    TypeTag = 18, "TYPE_TAG", Type, [], [];
    /// Enumeration of 64 bits.
    Enum64 = 19, "ENUM64", Plain, [], [Name, Plain, Plain];
}

impl Kind {
    /// Bytes that follow the common 12 when the type has `count` members.
    pub const fn extra_bytes(self, count: usize) -> usize {
        let (once, each) = self.words();
        4 * (once.len() + count * each.len())
    }

    /// What the words after the header are, for a type that has `count` members.
    pub(crate) fn extra_words(self, count: usize) -> impl Iterator<Item = Word> {
        let (once, each) = self.words();
        once.iter().chain(each.iter().cycle().take(count * each.len())).copied()
    }

    /// `const`, `volatile`, `restrict`, attributes: what changes how a type is used but not what
    /// it is.
    pub const fn is_modifier(self) -> bool {
        matches!(self, Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag)
    }
}
