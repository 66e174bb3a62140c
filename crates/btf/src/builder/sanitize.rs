//! Types for kernels that do not know all kinds: each kind that is missing is replaced by one that
//! has the same size and as many words, as libbpf does it (`bpf_object__sanitize_btf`).

use super::Builder;
use super::copy::set_word;
use crate::{Btf, Kind, TypeId};

/// What a kernel knows of types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Support {
    /// Functions and prototypes (Linux 5.0).
    pub func: bool,
    /// Linkage of functions (Linux 5.6).
    pub func_global: bool,
    /// Variables and sections (Linux 5.2).
    pub datasec: bool,
    /// Floating point numbers (Linux 5.13).
    pub float: bool,
    /// Attributes of declarations (Linux 5.16).
    pub decl_tag: bool,
    /// Attributes of types (Linux 5.17).
    pub type_tag: bool,
    /// Enumerations of 64 bits and signed ones (Linux 6.0).
    pub enum64: bool,
    /// Names of sections that start with a question mark (Linux 6.9).
    pub qmark_datasec: bool,
}

impl Support {
    /// Everything there is.
    pub const ALL: Support = Support {
        func: true,
        func_global: true,
        datasec: true,
        float: true,
        decl_tag: true,
        type_tag: true,
        enum64: true,
        qmark_datasec: true,
    };
    /// What the first kernels with BTF had.
    pub const NONE: Support = Support {
        func: false,
        func_global: false,
        datasec: false,
        float: false,
        decl_tag: false,
        type_tag: false,
        enum64: false,
        qmark_datasec: false,
    };
}

/// The types in a form that a kernel with this support takes. They keep their numbers; at most one
/// is added after the last.
pub fn sanitize(btf: &Btf, support: Support) -> Vec<u8> {
    let mut builder = Builder::from_btf(btf);
    if support == Support::ALL {
        return builder.finish();
    }
    let placeholder = builder.next_id();
    let mut needs_placeholder = false;
    for id in btf.ids() {
        let Some(record) = btf.record(id) else { continue };
        let shape = |kind: Kind, count: u16| ((kind as u32) << 24) | u32::from(count);
        let name = btf.name(id);
        match record.kind {
            Kind::Var if !support.datasec => as_byte(&mut builder, id),
            Kind::DeclTag if !support.decl_tag => as_byte(&mut builder, id),
            Kind::Datasec if !support.datasec => {
                let name = builder.string(&name.replace(['.', '?'], "_"));
                let vars: Vec<u32> = record.words().collect();
                edit(&mut builder, id, |bytes| {
                    set_word(bytes, 0, name);
                    set_word(bytes, 1, shape(Kind::Struct, record.count));
                    for (index, var) in vars.chunks_exact(3).enumerate() {
                        // The variable's name; the variables come from the same blob.
                        let name = btf.record(TypeId(var[0])).map_or(0, |var| var.name);
                        let words = [name, var[0], var[1].wrapping_mul(8)];
                        words
                            .iter()
                            .zip(3 + index * 3..)
                            .for_each(|(&w, at)| set_word(bytes, at, w));
                    }
                });
            }
            Kind::Datasec if !support.qmark_datasec && name.starts_with('?') => {
                let name = builder.string(&name.replacen('?', "_", 1));
                edit(&mut builder, id, |bytes| set_word(bytes, 0, name));
            }
            // The names of arguments become those of enumerators, their types the values.
            Kind::FuncProto if !support.func => edit(&mut builder, id, |bytes| {
                set_word(bytes, 1, shape(Kind::Enum, record.count));
                set_word(bytes, 2, 4);
            }),
            Kind::Func if !support.func => {
                edit(&mut builder, id, |bytes| set_word(bytes, 1, shape(Kind::Typedef, 0)));
            }
            Kind::Func if !support.func_global => {
                edit(&mut builder, id, |bytes| set_word(bytes, 1, shape(Kind::Func, 0)));
            }
            // Compilers take no structure of the name `float`.
            Kind::Float if !support.float => edit(&mut builder, id, |bytes| {
                set_word(bytes, 0, 0);
                set_word(bytes, 1, shape(Kind::Struct, 0));
            }),
            Kind::TypeTag if !support.type_tag => edit(&mut builder, id, |bytes| {
                set_word(bytes, 0, 0);
                set_word(bytes, 1, shape(Kind::Const, 0));
            }),
            Kind::Enum if !support.enum64 => {
                edit(&mut builder, id, |bytes| set_word(bytes, 1, shape(Kind::Enum, record.count)));
            }
            Kind::Enum64 if !support.enum64 => {
                needs_placeholder = true;
                edit(&mut builder, id, |bytes| {
                    set_word(bytes, 1, shape(Kind::Union, record.count));
                    for index in 0..usize::from(record.count) {
                        set_word(bytes, 4 + index * 3, placeholder.0);
                        set_word(bytes, 5 + index * 3, 0);
                    }
                });
            }
            _ => {}
        }
    }
    if needs_placeholder {
        builder.int("enum64_placeholder", 1, false);
    }
    builder.finish()
}

fn edit(builder: &mut Builder, id: TypeId, change: impl FnOnce(&mut [u8])) {
    if let Some(bytes) = builder.record_mut(id) {
        change(bytes);
    }
}

/// An integer of one byte: the kernel refuses what is larger than the variable was.
fn as_byte(builder: &mut Builder, id: TypeId) {
    edit(builder, id, |bytes| {
        set_word(bytes, 1, (Kind::Int as u32) << 24);
        set_word(bytes, 2, 1);
        set_word(bytes, 3, 8);
    });
}
