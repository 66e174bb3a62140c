//! What can be wrong with a relocation, and what it can fail to find, in the program's own words.

use std::fmt;

use super::Relocation;
use super::spec::{Spec, Unmatched};
use crate::{Kind, RelocationKind, TypeId};

/// Why a relocation has no answer at all.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CoreError {
    /// The way into the program's own type leads nowhere.
    Access {
        /// The type.
        id: TypeId,
        /// The way.
        access: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A question about a type without a name.
    Anonymous {
        /// The type.
        id: TypeId,
        /// What is asked.
        kind: RelocationKind,
    },
    /// Types of the target that have the name, and answer differently.
    Ambiguous {
        /// What is asked for.
        what: String,
        /// Two of the types.
        ids: [TypeId; 2],
        /// What each says.
        values: [u64; 2],
        /// Which target.
        label: String,
    },
    /// More types of the target have the name than any kernel has.
    Crowded {
        /// What is asked for.
        what: String,
    },
    /// The question cannot be answered for this field.
    Impossible {
        /// What is asked for.
        what: String,
        /// What is in the way.
        why: &'static str,
    },
    /// Types nested or chained in a way that no compiler makes.
    Malformed {
        /// What is asked for.
        what: String,
    },
}

impl fmt::Display for CoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoreError::Access { id, access, why } => {
                write!(
                    f,
                    "the CO-RE relocation of type {id} with access `{access}` is malformed: {why}"
                )
            }
            CoreError::Anonymous { id, kind } => write!(
                f,
                "the CO-RE relocation `{}` of type {id} cannot be answered: the type has no name",
                kind.name()
            ),
            CoreError::Ambiguous { what, ids: [one, other], values: [first, second], label } => {
                write!(
                    f,
                    "{what} is ambiguous in {label}: type {one} says {first}, type {other} says {second}"
                )
            }
            CoreError::Crowded { what } => {
                write!(f, "{what}: too many types of the kernel have this name")
            }
            CoreError::Impossible { what, why } => write!(f, "{what}: {why}"),
            CoreError::Malformed { what } => {
                write!(f, "{what}: the types are nested too deep or refer to nothing")
            }
        }
    }
}

impl std::error::Error for CoreError {}

/// What the target does not have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    /// What was looked for: "field `comm` of `struct task_struct`".
    pub what: String,
    /// The way into the program's own type.
    pub access: String,
    /// Which target it is missing in.
    pub label: String,
    /// Whether something of that name is there, but of another type.
    pub incompatible: bool,
}

impl Missing {
    pub(super) fn new(
        local: &Spec<'_>,
        relocation: &Relocation,
        unmatched: Unmatched,
        no_candidates: bool,
        label: &str,
    ) -> Missing {
        let ty = type_text(local);
        let accessor = |index: usize| local.path_to(index);
        let (what, incompatible) = match unmatched {
            _ if no_candidates => (ty, false),
            Unmatched::Type => (ty, true),
            Unmatched::Field(at) => (format!("field `{}` of {ty}", accessor(at)), false),
            Unmatched::FieldType(at) => (format!("field `{}` of {ty}", accessor(at)), true),
            Unmatched::Element(at) => (format!("element `{}` of {ty}", accessor(at)), false),
            Unmatched::Enumerator => (format!("enumerator `{}` of {ty}", accessor(0)), false),
        };
        Missing { what, access: relocation.access.clone(), label: label.to_owned(), incompatible }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing { what, access, label, incompatible } = self;
        let how = if *incompatible { "has another type in" } else { "is missing in" };
        write!(f, "{what} (local access {access}) {how} kernel {label}")
    }
}

/// The root type as C names it, in quotes.
pub(super) fn type_text(spec: &Spec<'_>) -> String {
    let keyword = match spec.btf.kind(spec.root) {
        Some(Kind::Struct) => "struct ",
        Some(Kind::Union) => "union ",
        Some(Kind::Enum | Kind::Enum64) => "enum ",
        _ => "",
    };
    format!("`{keyword}{}`", spec.btf.name(spec.root))
}
