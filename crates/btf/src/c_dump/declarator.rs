//! Types around a name: C writes pointers before it, arrays and arguments after it.

use std::fmt::Write;

use super::{DumpError, Result, Writer};
use crate::btf::Record;
use crate::raw::number;
use crate::{Kind, Type, TypeId};

impl<'a, W: Write> Writer<'_, 'a, W> {
    /// Writes `ty name`; the name may be empty. Members of structures that are written out stand
    /// one tab further in than `level`.
    pub(super) fn declarator(
        &mut self,
        ty: TypeId,
        name: &str,
        level: usize,
        depth: u32,
    ) -> Result {
        self.declarations.work(ty, depth)?;
        let start = self.stack.len();
        let mut id = ty;
        loop {
            // A chain is no longer than there are types, unless it is a circle.
            if self.stack.len() - start > super::MAX_DEPTH as usize {
                return Err(DumpError::TooComplex(ty));
            }
            self.stack.push(id);
            if id == TypeId::VOID {
                break;
            }
            let record = self.declarations.types.record(id).ok_or(DumpError::Malformed(id))?;
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
        let id = self.stack.get(start..)?.last()?;
        Some(self.declarations.types.record(*id)?.kind)
    }

    /// Writes the modifiers on top of the stack.
    fn modifiers(&mut self, start: usize) -> Result {
        loop {
            let text = match self.top(start) {
                Some(Kind::Volatile) => "volatile ",
                Some(Kind::Const) => "const ",
                Some(Kind::Restrict) => "restrict ",
                _ => return Ok(()),
            };
            self.out.write_str(text)?;
            self.stack.pop();
        }
    }

    /// GCC puts modifiers on arrays and on functions that do not return; C has none there.
    fn drop_modifiers(&mut self, start: usize) {
        while self.top(start).is_some_and(Kind::is_modifier) {
            self.stack.pop();
        }
    }

    fn name(&mut self, name: &str, after_pointer: bool) -> Result {
        if !name.is_empty() && !after_pointer {
            self.out.write_char(' ')?;
        }
        Ok(self.out.write_str(name)?)
    }

    /// Writes the types that are on the stack from `start` on, innermost first.
    fn chain(&mut self, start: usize, name: &str, level: usize, depth: u32) -> Result {
        // A lone pointer starts a declarator in parentheses: `(*name)`.
        let mut after_pointer = true;
        while self.stack.len() > start {
            let id = self.stack.pop().unwrap_or_default();
            self.declarations.work(id, depth)?;
            if id == TypeId::VOID {
                self.modifiers(start)?;
                self.out.write_str("void")?;
                after_pointer = false;
                continue;
            }
            let record = self.declarations.types.record(id).ok_or(DumpError::Malformed(id))?;
            match record.kind {
                Kind::Ptr => self.out.write_str(if after_pointer { "*" } else { " *" })?,
                Kind::Volatile => self.out.write_str(" volatile")?,
                Kind::Const => self.out.write_str(" const")?,
                Kind::Restrict => self.out.write_str(" restrict")?,
                Kind::TypeTag => {
                    self.modifiers(start)?;
                    let tag = self.declarations.name(&record);
                    match record.flag {
                        true => write!(self.out, " __attribute__(({tag}))")?,
                        false => write!(self.out, " __attribute__((btf_type_tag(\"{tag}\")))")?,
                    }
                }
                Kind::Array => {
                    self.drop_modifiers(start);
                    if self.stack.len() == start {
                        self.name(name, after_pointer)?;
                    } else {
                        if !name.is_empty() && !after_pointer {
                            self.out.write_char(' ')?;
                        }
                        let parentheses = self.top(start) != Some(Kind::Array);
                        self.parenthesized(parentheses, start, name, level, depth)?;
                    }
                    self.out.write_char('[')?;
                    number(self.out, record.word(2))?;
                    self.out.write_char(']')?;
                    return Ok(());
                }
                Kind::FuncProto => {
                    self.drop_modifiers(start);
                    if self.stack.len() > start {
                        self.out.write_char(' ')?;
                        self.parenthesized(true, start, name, level, depth)?;
                    } else {
                        self.name(name, after_pointer)?;
                    }
                    return self.parameters(id, level, depth);
                }
                Kind::Func | Kind::Var | Kind::Datasec | Kind::DeclTag => {
                    return Err(DumpError::Malformed(id));
                }
                _ => {
                    self.modifiers(start)?;
                    self.specifier(id, &record, level, depth)?;
                }
            }
            after_pointer = record.kind == Kind::Ptr;
        }
        self.name(name, after_pointer)
    }

    /// The rest of the chain, which binds closer to the name than what comes after it.
    fn parenthesized(
        &mut self,
        parentheses: bool,
        start: usize,
        name: &str,
        level: usize,
        depth: u32,
    ) -> Result {
        if parentheses {
            self.out.write_char('(')?;
        }
        self.chain(start, name, level, depth + 1)?;
        if parentheses {
            self.out.write_char(')')?;
        }
        Ok(())
    }

    fn parameters(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let Some(Type::FuncProto { params, .. }) = self.declarations.btf.ty(id) else {
            return Err(DumpError::Malformed(id));
        };
        let is_void =
            |index: usize| params.get(index).is_some_and(|param| param.ty == TypeId::VOID);
        let count = params.len();
        // Clang says `(void)` by one argument of type `void`.
        if count == 0 || (count == 1 && is_void(0)) {
            return Ok(self.out.write_str("(void)")?);
        }
        self.out.write_char('(')?;
        for (index, param) in params.enumerate() {
            if index > 0 {
                self.out.write_str(", ")?;
            }
            if index + 1 == count && is_void(index) {
                self.out.write_str("...")?;
            } else {
                self.declarator(param.ty, param.name, level, depth + 1)?;
            }
        }
        Ok(self.out.write_char(')')?)
    }

    /// The type that a declaration starts with.
    fn specifier(&mut self, id: TypeId, record: &Record<'a>, level: usize, depth: u32) -> Result {
        let inline = record.name == 0 && self.inline_anonymous;
        match record.kind {
            Kind::Struct | Kind::Union if inline => self.composite(id, level, depth),
            Kind::Struct | Kind::Union => self.composite_name(id, record),
            Kind::Enum | Kind::Enum64 if inline => self.enumeration(id, level),
            Kind::Enum | Kind::Enum64 => {
                self.out.write_str("enum")?;
                self.tag(id, record)
            }
            Kind::Fwd => self.forward(id, record),
            Kind::Typedef => {
                let name = self.declarations.name(record);
                let name = self.declarations.identifier(id, name);
                Ok(self.out.write_str(name)?)
            }
            _ => {
                let name = self.declarations.name(record);
                Ok(self.out.write_str(name)?)
            }
        }
    }
}
