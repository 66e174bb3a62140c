//! What a CO-RE relocation asks (`enum bpf_core_relo_kind`, `include/uapi/linux/bpf.h`).

macro_rules! relocation_kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What a CO-RE relocation asks of the target's types. The numbers are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        pub enum RelocationKind { $($(#[$doc])* $variant = $number,)* }

        impl RelocationKind {
            /// Every one, in the kernel's order.
            pub const ALL: &[RelocationKind] = &[$(RelocationKind::$variant,)*];

            /// The name as libbpf's log and the kernel's print it.
            pub const fn name(self) -> &'static str {
                match self { $(RelocationKind::$variant => $name,)* }
            }
        }
    };
}

relocation_kinds! {
    /// Bytes from the start of the structure to the field.
    FieldByteOffset = 0, "byte_off";
    /// Bytes of the field.
    FieldByteSize = 1, "byte_sz";
    /// Whether there is such a field.
    FieldExists = 2, "field_exists";
    /// Whether the field is signed.
    FieldSigned = 3, "signed";
    /// How far a bit field is shifted to the left, to drop what is above it.
    FieldLshift = 4, "lshift_u64";
    /// How far it is then shifted to the right.
    FieldRshift = 5, "rshift_u64";
    /// The type's number in the program's own BTF.
    TypeIdLocal = 6, "local_type_id";
    /// The type's number in the kernel's BTF.
    TypeIdTarget = 7, "target_type_id";
    /// Whether there is such a type.
    TypeExists = 8, "type_exists";
    /// Bytes of the type.
    TypeSize = 9, "type_size";
    /// Whether there is such an enumerator.
    EnumValueExists = 10, "enumval_exists";
    /// The enumerator's value.
    EnumValue = 11, "enumval_value";
    /// Whether there is a type that matches in every member.
    TypeMatches = 12, "type_matches";
}

impl RelocationKind {
    /// The one with this number.
    pub fn from_number(number: u32) -> Option<RelocationKind> {
        RelocationKind::ALL.get(number as usize).copied()
    }
}
