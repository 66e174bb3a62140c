//! Types, declared in a line each.
//!
//! ```text
//! struct NAME SIZE MEMBER=TYPE@OFFSET ...     `@OFFSET#TAG`: with a declaration tag
//! var NAME TYPE
//! proto NAME RETURNS ARGUMENT=TYPE ...        what a function takes and gives
//! func NAME RETURNS ARGUMENT=TYPE ...         a function
//! ```
//!
//! A type is `void`, `fn` (any function), a number's name, the name of what was declared before, `*TYPE` (a pointer), or
//! `[TAG]TYPE` (with a type tag).

use std::collections::HashMap;

use bombus_btf::{Btf, Builder, Linkage, Member, TypeId};

type Result<T> = std::result::Result<T, String>;

/// Numbers: name, bytes, whether they have a sign.
const NUMBERS: &[(&str, u32, bool)] =
    &[("char", 1, true), ("int", 4, true), ("u32", 4, false), ("u64", 8, false)];

/// Types that are being declared.
#[derive(Default)]
pub(crate) struct Types {
    pub(crate) builder: Builder,
    named: HashMap<String, TypeId>,
}

impl Types {
    /// Those of several lines; lines that begin with `#` are comments.
    pub(crate) fn of(text: &str) -> Result<Types> {
        let mut types = Types::default();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = line.split_whitespace().collect();
            types.declare(&words).map_err(|error| format!("{line}: {error}"))?;
        }
        Ok(types)
    }

    /// One, by the words of its line.
    pub(crate) fn declare(&mut self, words: &[&str]) -> Result<TypeId> {
        match words {
            ["struct", name, size, members @ ..] => self.structure(name, size, members),
            ["var", name, of] => {
                let of = self.find(of)?;
                Ok(self.builder.var(name, of, Linkage::Global))
            }
            ["func", name, returns, arguments @ ..] => {
                self.function(name, returns, arguments, Linkage::Static)
            }
            ["proto", name, returns, arguments @ ..] => {
                let id = self.prototype(returns, arguments)?;
                self.named.insert((*name).to_owned(), id);
                Ok(id)
            }
            _ => Err("struct, var, proto or func".to_owned()),
        }
    }

    fn structure(&mut self, name: &str, size: &str, members: &[&str]) -> Result<TypeId> {
        // What points to the structure itself, until that is there.
        let own = format!("*{name}");
        let mut to_itself = Vec::new();
        let mut found = Vec::new();
        let mut tags = Vec::new();
        for (index, member) in members.iter().enumerate() {
            let place = member.split_once('=').ok_or("MEMBER=TYPE@OFFSET")?;
            let (of, offset) = place.1.split_once('@').ok_or("TYPE@OFFSET")?;
            let (offset, tag) = match offset.split_once('#') {
                Some((offset, tag)) => (offset, Some(tag)),
                None => (offset, None),
            };
            tags.extend(tag.map(|tag| (tag, index as u32)));
            let bit_offset = number(offset)? * 8;
            let ty = self.find(of)?;
            if of == own {
                to_itself.push(ty);
            }
            found.push(Member { name: place.0, ty, bit_offset, bit_size: 0 });
        }
        let id = self.builder.structure(name, number(size)?, &found);
        for (tag, member) in tags {
            self.builder.decl_tag(tag, id, Some(member));
        }
        to_itself.into_iter().for_each(|pointer| self.builder.set_type(pointer, id));
        self.named.insert(name.to_owned(), id);
        Ok(id)
    }

    /// A function, and its prototype.
    pub(crate) fn function(
        &mut self,
        name: &str,
        returns: &str,
        arguments: &[&str],
        linkage: Linkage,
    ) -> Result<TypeId> {
        let proto = self.prototype(returns, arguments)?;
        let id = self.builder.func(name, proto, linkage);
        self.named.insert(name.to_owned(), id);
        Ok(id)
    }

    fn prototype(&mut self, returns: &str, arguments: &[&str]) -> Result<TypeId> {
        let returns = self.find(returns)?;
        let mut found = Vec::new();
        for argument in arguments {
            let (name, of) = argument.split_once('=').ok_or("ARGUMENT=TYPE")?;
            found.push((name, self.find(of)?));
        }
        Ok(self.builder.func_proto(returns, &found))
    }

    /// A type by its words.
    fn find(&mut self, text: &str) -> Result<TypeId> {
        if let Some(to) = text.strip_prefix('*') {
            let to = self.find(to)?;
            return Ok(self.builder.ptr(to));
        }
        if let Some((tag, of)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
            let of = self.find(of)?;
            return Ok(self.builder.type_tag(tag, of));
        }
        if text == "void" {
            return Ok(TypeId::VOID);
        }
        if let Some((name, bytes, signed)) = NUMBERS.iter().find(|(name, ..)| *name == text) {
            return Ok(self.builder.int(name, *bytes, *signed));
        }
        if text == "fn" {
            let int = self.builder.int("int", 4, true);
            return Ok(self.builder.func_proto(int, &[]));
        }
        // A structure that is nowhere else declared.
        Ok(self.id(text).unwrap_or_else(|| self.builder.fwd(text, false)))
    }

    /// What was declared by a name.
    pub(crate) fn id(&self, name: &str) -> Option<TypeId> {
        self.named.get(name).copied()
    }

    pub(crate) fn finish(&self) -> Result<Btf> {
        Btf::parse(self.builder.finish()).map_err(|error| error.to_string())
    }
}

fn number(text: &str) -> Result<u32> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}
