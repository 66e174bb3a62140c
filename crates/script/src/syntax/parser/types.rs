//! Types as they are written: `int32`, `struct task_struct *`, `string[64]`, `typeof(@x)`.

use super::{Parsed, Parser};
use crate::syntax::ast::{TypeOrExpr, TypeRef, TypeRefKind};
use crate::syntax::lexer::{Lexer, Token};
use crate::syntax::names;

/// What a look ahead takes for a type.
pub(super) struct TypeAhead<'s> {
    /// After the type.
    pub(super) rest: Lexer<'s>,
    /// The name, if the type is nothing but one name that is not a type of the language: it may
    /// also be a value.
    pub(super) bare_name: Option<&'s str>,
}

impl<'s> Parser<'s> {
    /// `type` or `typeof(...)`.
    pub(super) fn type_annotation(&mut self) -> Parsed<TypeRef> {
        if self.at_keyword("typeof") { self.typeof_type() } else { self.type_ref() }
    }

    /// `typeof(type)`, `typeof(expr)`
    pub(super) fn typeof_type(&mut self) -> Parsed<TypeRef> {
        self.nested(|parser| {
            let start = parser.bump().span.start;
            parser.expect("(")?;
            let of = Box::new(parser.type_or_expr(")")?);
            parser.expect(")")?;
            let kind = TypeRefKind::Typeof(of);
            Ok(TypeRef { id: parser.id(), span: parser.since(start), kind })
        })
    }

    /// A name with pointers and array lengths after it.
    pub(super) fn type_ref(&mut self) -> Parsed<TypeRef> {
        let start = self.current.span.start;
        let name = self.expect_name("a type")?;
        let kind = match name.text.as_str() {
            "struct" => TypeRefKind::Struct(self.expect_name("the name of a structure")?.text),
            "union" => TypeRefKind::Union(self.expect_name("the name of a union")?.text),
            "enum" => TypeRefKind::Enum(self.expect_name("the name of an enumeration")?.text),
            _ => TypeRefKind::Named(name.text),
        };
        let mut ty = TypeRef { id: self.id(), span: self.since(start), kind };
        self.nested(|parser| {
            loop {
                let kind = if parser.eat("*") {
                    TypeRefKind::Pointer(Box::new(ty))
                } else if parser.at("[") {
                    let open = parser.bump().span;
                    let len = match parser.current.token {
                        Token::Int => Some(parser.integer()),
                        Token::Punct("]") => None,
                        _ => return parser.fail("the length of the array"),
                    };
                    if !parser.eat("]") {
                        return parser.fail_closing("]", open);
                    }
                    TypeRefKind::Array { element: Box::new(ty), len }
                } else {
                    return Ok(ty);
                };
                parser.wrap()?;
                ty = TypeRef { id: parser.id(), span: parser.since(start), kind };
            }
        })
    }

    /// What `sizeof` and its like take, up to a token that is not taken.
    pub(super) fn type_or_expr(&mut self, end: &'static str) -> Parsed<TypeOrExpr> {
        if self.at_keyword("typeof") {
            return Ok(TypeOrExpr::Type(self.typeof_type()?));
        }
        let is_type = self.type_ahead().is_some_and(|mut ahead| {
            ahead.bare_name.is_none() && ahead.rest.next().token == Token::Punct(end)
        });
        Ok(if is_type {
            TypeOrExpr::Type(self.type_ref()?)
        } else {
            TypeOrExpr::Expr(Box::new(self.expr()?))
        })
    }

    /// Whether a type could come next.
    pub(super) fn type_ahead(&self) -> Option<TypeAhead<'s>> {
        if self.current.token != Token::Ident {
            return None;
        }
        let mut name = self.current_text();
        let mut lexer = self.lexer;
        let is_tagged = ["struct", "union", "enum"].contains(&name);
        if is_tagged {
            let tag = lexer.next();
            if tag.token != Token::Ident {
                return None;
            }
            name = self.slice(tag.span);
        } else if names::is_value(name) || names::KEYWORDS.contains(&name) {
            return None;
        }
        let mut has_suffix = false;
        loop {
            let mut next = lexer;
            match next.next().token {
                Token::Punct("*") => {}
                Token::Punct("[") => {
                    let mut token = next.next().token;
                    if token == Token::Int {
                        token = next.next().token;
                    }
                    if token != Token::Punct("]") {
                        break;
                    }
                }
                _ => break,
            }
            has_suffix = true;
            lexer = next;
        }
        let is_known = is_tagged || has_suffix || names::TYPES.contains(&name);
        Some(TypeAhead { rest: lexer, bare_name: (!is_known).then_some(name) })
    }
}
