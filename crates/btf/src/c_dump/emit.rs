//! Declarations one after the other, and what has to stand before them.

use super::state::State;
use super::{Declarations, DumpError, Name, Result};
use crate::record::Record;
use crate::{Kind, TypeId};

/// The compiler knows it, and its definition differs from one to the other.
const BUILTIN: &str = "__builtin_va_list";

/// Types of GCC's for Arm that no other compiler has.
const ALIASES: [(&str, &str); 4] = [
    ("__Poly8_t", "unsigned char"),
    ("__Poly16_t", "unsigned short"),
    ("__Poly64_t", "unsigned long long"),
    ("__Poly128_t", "unsigned __int128"),
];

impl<'a> Declarations<'a> {
    /// Declares a type where it stands alone; inside `container`, only what has to come before the
    /// container.
    #[inline]
    pub(super) fn emit(&mut self, id: TypeId, container: Option<TypeId>, depth: u32) -> Result {
        // Most are done when they are asked for again.
        if self.is(id, State::EMITTED)? {
            return Ok(());
        }
        self.emit_new(id, container, depth)
    }

    fn emit_new(&mut self, id: TypeId, container: Option<TypeId>, depth: u32) -> Result {
        self.work(id, depth)?;
        self.check_text(id)?;
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        if self.is(id, State::BEING_EMITTED)? {
            return self.declare_begun(id, &record, container);
        }
        let depth = depth + 1;
        let to = TypeId(record.size_or_type);
        match record.kind {
            Kind::Int => {
                let name = self.name(&record);
                if let Some((name, ty)) = ALIASES.iter().find(|alias| alias.0.as_bytes() == name) {
                    self.text.push(&format!("typedef {ty} {name};\n\n"));
                }
            }
            Kind::Enum | Kind::Enum64 => {
                if container.is_none() {
                    self.enumeration(id, 0)?;
                    self.end()?;
                }
            }
            Kind::Ptr | Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                return self.emit_through(id, [to], container, depth);
            }
            Kind::Array => {
                return self.emit_through(id, [TypeId(record.word(0))], container, depth);
            }
            Kind::FuncProto => {
                let types = std::iter::once(to).chain(record.params());
                return self.emit_through(id, types, container, depth);
            }
            Kind::Fwd => {
                self.forward(id, &record)?;
                self.end()?;
            }
            Kind::Typedef => {
                self.set(id, State::BEING_EMITTED)?;
                self.emit(to, Some(id), depth)?;
                // Somebody may have needed it before its type was complete.
                if !self.is(id, State::DECLARED)? {
                    self.typedef(id, &record)?;
                }
            }
            Kind::Struct | Kind::Union => {
                let named = record.name != 0;
                self.set(id, State::BEING_EMITTED)?;
                if container.is_none() || !named {
                    let inner = if named { Some(id) } else { container };
                    for (member, ..) in record.members() {
                        self.emit(member, inner, depth)?;
                    }
                } else if !self.is(id, State::DECLARED)? && container != Some(id) {
                    self.composite_name(id, &record)?;
                    self.end()?;
                    self.set(id, State::DECLARED)?;
                }
                if container.is_some() {
                    let state = &mut self.states[id.0 as usize];
                    *state = state.without(State::BEING_EMITTED);
                    return Ok(());
                }
                self.composite(id, 0, depth)?;
                self.end()?;
            }
            Kind::Func | Kind::Var | Kind::Datasec | Kind::Float | Kind::DeclTag => return Ok(()),
        }
        self.set(id, State::EMITTED)?;
        Ok(())
    }

    /// Declares what a type without a declaration of its own refers to.
    fn emit_through(
        &mut self,
        id: TypeId,
        types: impl IntoIterator<Item = TypeId>,
        container: Option<TypeId>,
        depth: u32,
    ) -> Result {
        let mut done = true;
        for ty in types {
            self.emit(ty, container, depth)?;
            done &= self.is(ty, State::EMITTED)?;
        }
        if done {
            self.set(id, State::EMITTED)?;
        }
        Ok(())
    }

    /// Declares a type in the midst of its own definition, for something that points to it.
    fn declare_begun(
        &mut self,
        id: TypeId,
        record: &Record<'a>,
        container: Option<TypeId>,
    ) -> Result {
        if self.is(id, State::DECLARED)? {
            return Ok(());
        }
        match record.kind {
            Kind::Struct | Kind::Union => {
                if container == Some(id) || record.name == 0 {
                    return Ok(());
                }
                self.composite_name(id, record)?;
                self.end()?;
            }
            Kind::Typedef => self.typedef(id, record)?,
            _ => return Ok(()),
        }
        self.set(id, State::DECLARED)?;
        Ok(())
    }

    fn typedef(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        if self.name(record) == BUILTIN.as_bytes() {
            return Ok(());
        }
        let to = TypeId(record.size_or_type);
        // The name is chosen before those of the types that it stands for.
        let start = self.text.len();
        self.write_identifier(id, record)?;
        let name = self.text.split_off(start);
        // Old versions of GCC say that it is `void`.
        if to == TypeId::VOID && name == b"__gnuc_va_list" {
            self.text.push("typedef __builtin_va_list __gnuc_va_list");
        } else {
            self.text.push("typedef ");
            self.declarator(to, Name::Text(&name), 0, 0)?;
        }
        self.end()
    }

    fn end(&mut self) -> Result {
        self.text.push(";\n\n");
        Ok(())
    }
}
