//! Types around a name: C writes pointers before it, arrays and arguments after it.

use super::{Declarations, DumpError, Name, Result};
use crate::record::Record;
use crate::{Kind, TypeId};

/// Pointers of declarators that are written as they are read.
const POINTERS: &str = "***";

/// Whether a type of this kind is written as a word or two, all before the name.
fn stands_alone(kind: Kind) -> bool {
    use Kind::{Enum, Enum64, Float, Fwd, Int, Struct, Typedef, Union};
    matches!(kind, Int | Float | Struct | Union | Enum | Enum64 | Fwd | Typedef)
}

impl<'a> Declarations<'a> {
    /// Writes `ty name`; the name may be empty. Members of structures that are written out stand
    /// one tab further in than `level`.
    pub(super) fn declarator(
        &mut self,
        ty: TypeId,
        name: Name<'_>,
        level: usize,
        depth: u32,
    ) -> Result {
        self.work(ty, depth)?;
        self.check_text(ty)?;
        // Most are some pointers to something that has a name.
        let mut id = ty;
        let mut pointers = 0;
        while pointers < POINTERS.len() {
            let Some(record) = self.types.record(id) else { break };
            match record.kind {
                Kind::Ptr => pointers += 1,
                _ if !stands_alone(record.kind) => break,
                _ => {
                    self.specifier(id, &record, level, depth + 1)?;
                    if pointers > 0 {
                        self.text.push(" ");
                    }
                    self.text.push(&POINTERS[..pointers]);
                    self.write_name(name, pointers > 0);
                    return Ok(());
                }
            }
            id = TypeId(record.size_or_type);
        }
        self.nested_declarator(ty, name, level, depth)
    }

    fn nested_declarator(
        &mut self,
        ty: TypeId,
        name: Name<'_>,
        level: usize,
        depth: u32,
    ) -> Result {
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
            self.text.push(text);
            self.stack.pop();
        }
    }

    /// GCC puts modifiers on arrays and on functions that do not return; C has none there.
    fn drop_modifiers(&mut self, start: usize) {
        while self.top(start).is_some_and(Kind::is_modifier) {
            self.stack.pop();
        }
    }

    /// Whether what is declared has a name.
    fn has_name(&self, name: Name<'_>) -> bool {
        match name {
            Name::At(offset) => self.types.has_name(offset),
            Name::Text(text) => !text.is_empty(),
        }
    }

    #[inline]
    fn write_name(&mut self, name: Name<'_>, after_pointer: bool) {
        match name {
            Name::At(offset) if after_pointer => self.text.push_name(self.types, offset),
            Name::At(offset) => self.text.push_spaced_name(self.types, offset),
            Name::Text(text) => {
                if !after_pointer && !text.is_empty() {
                    self.text.push(" ");
                }
                self.text.push_bytes(text);
            }
        }
    }

    /// Writes the types that are on the stack from `start` on, innermost first.
    fn chain(&mut self, start: usize, name: Name<'_>, level: usize, depth: u32) -> Result {
        // A lone pointer starts a declarator in parentheses: `(*name)`.
        let mut after_pointer = true;
        while self.stack.len() > start
            && let Some((id, record)) = self.stack.pop()
        {
            self.work(id, depth)?;
            let Some(record) = record else {
                self.modifiers(start);
                self.text.push("void");
                after_pointer = false;
                continue;
            };
            match record.kind {
                Kind::Ptr => self.text.push(if after_pointer { "*" } else { " *" }),
                Kind::Volatile => self.text.push(" volatile"),
                Kind::Const => self.text.push(" const"),
                Kind::Restrict => self.text.push(" restrict"),
                Kind::TypeTag => {
                    self.modifiers(start);
                    let (start, end) = match record.flag {
                        true => (" __attribute__((", "))"),
                        false => (" __attribute__((btf_type_tag(\"", "\")))"),
                    };
                    self.text.push(start);
                    self.text.push_name(self.types, record.name);
                    self.text.push(end);
                }
                Kind::Array => {
                    self.drop_modifiers(start);
                    if self.stack.len() == start {
                        self.write_name(name, after_pointer);
                    } else {
                        if !after_pointer && self.has_name(name) {
                            self.text.push(" ");
                        }
                        let parentheses = self.top(start) != Some(Kind::Array);
                        self.parenthesized(parentheses, start, name, level, depth)?;
                    }
                    self.text.push("[");
                    self.text.push_number(record.word(2).into());
                    self.text.push("]");
                    return Ok(());
                }
                Kind::FuncProto => {
                    self.drop_modifiers(start);
                    if self.stack.len() > start {
                        self.text.push(" ");
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
        name: Name<'_>,
        level: usize,
        depth: u32,
    ) -> Result {
        if parentheses {
            self.text.push("(");
        }
        self.chain(start, name, level, depth + 1)?;
        if parentheses {
            self.text.push(")");
        }
        Ok(())
    }

    fn parameters(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let count = usize::from(record.count);
        // Clang says `(void)` by one argument of type `void`.
        if count == 0 || (count == 1 && record.params().all(|param| param == TypeId::VOID)) {
            self.text.push("(void)");
            return Ok(());
        }
        self.text.push("(");
        for (index, ty) in record.params().enumerate() {
            if index > 0 {
                self.text.push(", ");
            }
            if index + 1 == count && ty == TypeId::VOID {
                self.text.push("...");
            } else {
                let name = Name::At(record.entry_name(index));
                self.declarator(ty, name, level, depth + 1)?;
            }
        }
        self.text.push(")");
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
                self.text.push("enum");
                self.tag(id, record)
            }
            Kind::Fwd => self.forward(id, record),
            Kind::Typedef => self.write_identifier(id, record),
            _ => {
                self.text.push_name(self.types, record.name);
                Ok(())
            }
        }
    }
}
