//! Kinds of types (`include/uapi/linux/btf.h`).

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $fixed:literal + $each:literal;)*) => {
        /// What a type is. The numbers are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $variant = $number,)* }

        impl Kind {
            /// The kind with this number.
            pub const fn from_number(number: u8) -> Option<Kind> {
                match number { $($number => Some(Kind::$variant),)* _ => None }
            }

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name,)* }
            }

            /// Bytes that follow the common 12 when the type has `count` members.
            pub const fn extra_bytes(self, count: usize) -> usize {
                match self { $(Kind::$variant => $fixed + count * $each,)* }
            }
        }
    };
}

kinds! {
    /// Integer; also `char` and `_Bool`.
    Int = 1, "INT", 4 + 0;
    /// Pointer.
    Ptr = 2, "PTR", 0 + 0;
    /// Array.
    Array = 3, "ARRAY", 12 + 0;
    /// Structure.
    Struct = 4, "STRUCT", 0 + 12;
    /// Union.
    Union = 5, "UNION", 0 + 12;
    /// Enumeration of at most 32 bits.
    Enum = 6, "ENUM", 0 + 8;
    /// Declaration of a structure or union without members.
    Fwd = 7, "FWD", 0 + 0;
    /// `typedef`.
    Typedef = 8, "TYPEDEF", 0 + 0;
    /// `volatile`.
    Volatile = 9, "VOLATILE", 0 + 0;
    /// `const`.
    Const = 10, "CONST", 0 + 0;
    /// `restrict`.
    Restrict = 11, "RESTRICT", 0 + 0;
    /// Function: a name for a prototype.
    Func = 12, "FUNC", 0 + 0;
    /// Return and argument types of functions.
    FuncProto = 13, "FUNC_PROTO", 0 + 8;
    /// Global variable.
    Var = 14, "VAR", 4 + 0;
    /// Section of variables.
    Datasec = 15, "DATASEC", 0 + 12;
    /// Floating point number.
    Float = 16, "FLOAT", 0 + 0;
    /// Attribute of a declaration.
    DeclTag = 17, "DECL_TAG", 4 + 0;
    /// Attribute of a type.
    TypeTag = 18, "TYPE_TAG", 0 + 0;
    /// Enumeration of 64 bits.
    Enum64 = 19, "ENUM64", 0 + 12;
}
