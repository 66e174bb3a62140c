//! In which order types have to be declared.
//!
//! What a structure contains must be defined before it; what it only points to may be declared. A
//! structure without name is defined where it is used, even behind a pointer.

use super::state::State;
use super::{Declarations, DumpError, Result};
use crate::{Kind, TypeId};

impl Declarations<'_> {
    /// Puts into the queue what has to be declared for `id`, and itself. Says whether the type must
    /// be defined by then (or else a declaration is enough).
    #[inline]
    pub(super) fn order(&mut self, id: TypeId, behind_pointer: bool, depth: u32) -> Result<bool> {
        // Most are done when they are asked for again.
        if self.is(id, State::ORDERED)? {
            return Ok(true);
        }
        self.order_new(id, behind_pointer, depth)
    }

    fn order_new(&mut self, id: TypeId, behind_pointer: bool, depth: u32) -> Result<bool> {
        self.work(id, depth)?;
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let named = record.name != 0;
        let to = TypeId(record.size_or_type);
        let depth = depth + 1;
        if self.is(id, State::BEING_ORDERED)? {
            let composite = matches!(record.kind, Kind::Struct | Kind::Union);
            return match composite && behind_pointer && named {
                true => Ok(false),
                false => Err(DumpError::Circle(id)),
            };
        }
        let strong = match record.kind {
            Kind::Int | Kind::Float | Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                false
            }
            Kind::Ptr => self.order(to, true, depth)?,
            Kind::Array => return self.order(TypeId(record.word(0)), false, depth),
            Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                return self.order(to, behind_pointer, depth);
            }
            Kind::FuncProto => {
                let mut strong = self.order(to, behind_pointer, depth)?;
                for param in record.params() {
                    strong |= self.order(param, behind_pointer, depth)?;
                }
                return Ok(strong);
            }
            Kind::Struct | Kind::Union => {
                if behind_pointer && named {
                    return Ok(false);
                }
                self.set(id, State::BEING_ORDERED)?;
                for (member, ..) in record.members() {
                    self.order(member, false, depth)?;
                }
                if named {
                    self.queue.push(id);
                }
                true
            }
            Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                if named || !self.is(id, State::REFERENCED)? {
                    self.queue.push(id);
                }
                true
            }
            Kind::Typedef => {
                let strong = self.order(to, behind_pointer, depth)?;
                if behind_pointer && !strong {
                    return Ok(false);
                }
                self.queue.push(id);
                true
            }
        };
        self.set(id, State::ORDERED)?;
        Ok(strong)
    }
}
