//! In which order types have to be declared.
//!
//! What a structure contains must be defined before it; what it only points to may be declared. A
//! structure without name is defined where it is used, even behind a pointer.

use super::{Declarations, DumpError, Progress, Result};
use crate::{Kind, TypeId};

impl Declarations<'_> {
    /// Puts into `queue` what has to be declared for `id`, and itself. Says whether the type must
    /// be defined by then (or else a declaration is enough).
    pub(super) fn order(
        &mut self,
        id: TypeId,
        behind_pointer: bool,
        depth: u32,
        queue: &mut Vec<TypeId>,
    ) -> Result<bool> {
        self.work(id, depth)?;
        let state = *self.state(id)?;
        if state.order == Progress::Done {
            return Ok(true);
        }
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let named = record.name != 0;
        let to = TypeId(record.size_or_type);
        let depth = depth + 1;
        if state.order == Progress::Begun {
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
            Kind::Ptr => self.order(to, true, depth, queue)?,
            Kind::Array => return self.order(TypeId(record.word(0)), false, depth, queue),
            Kind::Volatile | Kind::Const | Kind::Restrict | Kind::TypeTag => {
                return self.order(to, behind_pointer, depth, queue);
            }
            Kind::FuncProto => {
                let mut strong = self.order(to, behind_pointer, depth, queue)?;
                for param in record.params() {
                    strong |= self.order(param, behind_pointer, depth, queue)?;
                }
                return Ok(strong);
            }
            Kind::Struct | Kind::Union => {
                if behind_pointer && named {
                    return Ok(false);
                }
                self.state(id)?.order = Progress::Begun;
                for (member, ..) in record.members() {
                    self.order(member, false, depth, queue)?;
                }
                if named {
                    queue.push(id);
                }
                true
            }
            Kind::Enum | Kind::Enum64 | Kind::Fwd => {
                if named || !state.referenced {
                    queue.push(id);
                }
                true
            }
            Kind::Typedef => {
                let strong = self.order(to, behind_pointer, depth, queue)?;
                if behind_pointer && !strong {
                    return Ok(false);
                }
                queue.push(id);
                true
            }
        };
        self.state(id)?.order = Progress::Done;
        Ok(strong)
    }
}
