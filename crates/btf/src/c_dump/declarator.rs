//! Types around a name: C writes pointers before it, arrays and arguments after it.

use super::{Declarations, DumpError, Result};
use crate::btf::Record;
use crate::{Kind, TypeId};

impl<'a> Declarations<'a> {
    /// Writes `ty name`; the name may be empty. Members of structures that are written out stand
    /// one tab further in than `level`.
    pub(super) fn declarator(
        &mut self,
        ty: TypeId,
        name: &[u8],
        level: usize,
        depth: u32,
    ) -> Result {
        self.work(ty, depth)?;
        let start = self.stack.len();
        let mut id = ty;
        loop {
            // A chain is no longer than there are types, unless it is a circle.
            if self.stack.len() - start > super::MAX_DEPTH as usize {
                return Err(DumpError::TooComplex(ty));
            }
            if id == TypeId::VOID {
                self.stack.push((id, None));
                break;
            }
            let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
            self.stack.push((id, Some(record)));
            id = match record.kind {
                Kind::Ptr | Kind::FuncProto => TypeId(record.size_or_type),
                Kind::Array => TypeId(record.word(0)),
                kind if kind.is_modifier() => TypeId(record.size_or_type),
                _ => break,
            };
        }
        let result = self.chain(start, name, level, depth + 1);
        self.stack.truncate(start);
        result
    }

    fn top(&self, start: usize) -> Option<Kind> {
        let (_, record) = self.stack.get(start..)?.last()?;
        Some(record.as_ref()?.kind)
    }

    /// Writes the modifiers on top of the stack.
    fn modifiers(&mut self, start: usize) {
        loop {
            let text = match self.top(start) {
                Some(Kind::Volatile) => "volatile ",
                Some(Kind::Const) => "const ",
                Some(Kind::Restrict) => "restrict ",
                _ => return,
            };
            self.write(text);
            self.stack.pop();
        }
    }

    /// GCC puts modifiers on arrays and on functions that do not return; C has none there.
    fn drop_modifiers(&mut self, start: usize) {
        while self.top(start).is_some_and(Kind::is_modifier) {
            self.stack.pop();
        }
    }

    fn write_name(&mut self, name: &[u8], after_pointer: bool) {
        if !name.is_empty() && !after_pointer {
            self.write(" ");
        }
        self.text.extend_from_slice(name);
    }

    /// Writes the types that are on the stack from `start` on, innermost first.
    fn chain(&mut self, start: usize, name: &[u8], level: usize, depth: u32) -> Result {
        // A lone pointer starts a declarator in parentheses: `(*name)`.
        let mut after_pointer = true;
        while self.stack.len() > start
            && let Some((id, record)) = self.stack.pop()
        {
            self.work(id, depth)?;
            let Some(record) = record else {
                self.modifiers(start);
                self.write("void");
                after_pointer = false;
                continue;
            };
            match record.kind {
                Kind::Ptr => self.write(if after_pointer { "*" } else { " *" }),
                Kind::Volatile => self.write(" volatile"),
                Kind::Const => self.write(" const"),
                Kind::Restrict => self.write(" restrict"),
                Kind::TypeTag => {
                    self.modifiers(start);
                    let (start, end) = match record.flag {
                        true => (" __attribute__((", "))"),
                        false => (" __attribute__((btf_type_tag(\"", "\")))"),
                    };
                    self.write(start);
                    let tag = self.name(&record);
                    self.text.extend_from_slice(tag);
                    self.write(end);
                }
                Kind::Array => {
                    self.drop_modifiers(start);
                    if self.stack.len() == start {
                        self.write_name(name, after_pointer);
                    } else {
                        if !name.is_empty() && !after_pointer {
                            self.write(" ");
                        }
                        let parentheses = self.top(start) != Some(Kind::Array);
                        self.parenthesized(parentheses, start, name, level, depth)?;
                    }
                    self.write("[");
                    self.write_number(record.word(2).into());
                    self.write("]");
                    return Ok(());
                }
                Kind::FuncProto => {
                    self.drop_modifiers(start);
                    if self.stack.len() > start {
                        self.write(" ");
                        self.parenthesized(true, start, name, level, depth)?;
                    } else {
                        self.write_name(name, after_pointer);
                    }
                    return self.parameters(id, level, depth);
                }
                Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                    return Err(DumpError::Malformed(id));
                }
                _ => {
                    self.modifiers(start);
                    self.specifier(id, &record, level, depth)?;
                }
            }
            after_pointer = record.kind == Kind::Ptr;
        }
        self.write_name(name, after_pointer);
        Ok(())
    }

    /// The rest of the chain, which binds closer to the name than what comes after it.
    fn parenthesized(
        &mut self,
        parentheses: bool,
        start: usize,
        name: &[u8],
        level: usize,
        depth: u32,
    ) -> Result {
        if parentheses {
            self.write("(");
        }
        self.chain(start, name, level, depth + 1)?;
        if parentheses {
            self.write(")");
        }
        Ok(())
    }

    fn parameters(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let count = usize::from(record.count);
        // Clang says `(void)` by one argument of type `void`.
        if count == 0 || (count == 1 && record.params().all(|param| param == TypeId::VOID)) {
            self.write("(void)");
            return Ok(());
        }
        self.write("(");
        for (index, ty) in record.params().enumerate() {
            if index > 0 {
                self.write(", ");
            }
            if index + 1 == count && ty == TypeId::VOID {
                self.write("...");
            } else {
                let name = self.types.name(record.entry_name(index));
                self.declarator(ty, name, level, depth + 1)?;
            }
        }
        self.write(")");
        Ok(())
    }

    /// The type that a declaration starts with.
    fn specifier(&mut self, id: TypeId, record: &Record<'a>, level: usize, depth: u32) -> Result {
        let inline = record.name == 0 && self.inline_anonymous;
        match record.kind {
            Kind::Struct | Kind::Union if inline => self.composite(id, level, depth),
            Kind::Struct | Kind::Union => self.composite_name(id, record),
            Kind::Enum | Kind::Enum64 if inline => self.enumeration(id, level),
            Kind::Enum | Kind::Enum64 => {
                self.write("enum");
                self.tag(id, record)
            }
            Kind::Fwd => self.forward(id, record),
            Kind::Typedef => self.write_identifier(id, record),
            _ => {
                let name = self.name(record);
                self.text.extend_from_slice(name);
                Ok(())
            }
        }
    }
}
