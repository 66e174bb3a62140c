//! Operands: literals, names, calls, and everything in parentheses.

use std::collections::HashMap;

use super::{Parsed, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Expr, ExprKind, Integer, Name, NamedExpr, TypeOrExpr};
use crate::syntax::lexer::Token;
use crate::syntax::{literal, names};

impl Parser<'_> {
    /// An operand without its operators.
    pub(super) fn primary(&mut self) -> Parsed<Expr> {
        let start = self.current.span.start;
        let kind = match self.current.token {
            Token::Int => ExprKind::Int(self.integer()),
            Token::Str { .. } | Token::SingleQuoted => ExprKind::Str(self.string()?),
            Token::Var => ExprKind::Var(self.take_text()),
            Token::PositionalCount => {
                self.bump();
                ExprKind::PositionalCount
            }
            Token::Positional => self.positional(),
            Token::Map => self.map()?,
            Token::Ident => self.named()?,
            Token::Punct("(") => return self.parenthesized(),
            Token::Punct("{") => ExprKind::Block(self.block(true)?),
            _ => return self.fail("an expression"),
        };
        Ok(Expr { id: self.id(), span: self.since(start), kind })
    }

    /// Takes the next token for its text.
    pub(super) fn take_text(&mut self) -> String {
        let span = self.bump().span;
        self.slice(span).into()
    }

    /// Takes the integer that comes next; one that is wrong is reported and counts as 0.
    pub(super) fn integer(&mut self) -> Integer {
        let span = self.bump().span;
        let text = self.slice(span);
        let value = literal::int(text).unwrap_or_else(|error| {
            self.report_literal(span.start, error);
            0
        });
        Integer { value, text: text.into() }
    }

    /// Takes the string that comes next. One that is never closed has swallowed the rest of its
    /// line, so nothing can follow.
    pub(super) fn string(&mut self) -> Parsed<Vec<u8>> {
        let lexeme = self.bump();
        let text = self.slice(lexeme.span);
        let inner = &text[1..];
        let inner = match lexeme.token {
            Token::Str { closed: true } => &inner[..inner.len() - 1],
            Token::SingleQuoted => {
                let inner = inner.strip_suffix('\'').unwrap_or(inner);
                self.report(
                    Diagnostic::error(lexeme.span, "strings are written between double quotes")
                        .help(format!("write `\"{inner}\"`")),
                );
                inner
            }
            _ => {
                let quote = Span::new(lexeme.span.start, lexeme.span.start + 1);
                self.unclosed_string = true;
                return self.fail_with(
                    Diagnostic::error(quote, "this string is never closed")
                        .help("close it with `\"` on the same line"),
                );
            }
        };
        let (value, errors) = literal::string(inner);
        for error in errors {
            self.report_literal(lexeme.span.start + 1, error);
        }
        Ok(value)
    }

    /// Takes a string where nothing else can stand.
    pub(super) fn expect_string(&mut self, what: &str) -> Parsed<Vec<u8>> {
        match self.current.token {
            Token::Str { .. } | Token::SingleQuoted => self.string(),
            _ => self.fail(what),
        }
    }

    /// `$1`
    fn positional(&mut self) -> ExprKind {
        let span = self.bump().span;
        let number = self.slice(span)[1..].parse().ok().filter(|&number| number > 0);
        if number.is_none() {
            self.report(
                Diagnostic::error(span, "there is no such parameter")
                    .note("parameters are counted from `$1`; `$#` is their number"),
            );
        }
        ExprKind::Positional(number.unwrap_or(1))
    }

    /// `@name`, `@name[key]`, `@name[key, key]`
    fn map(&mut self) -> Parsed<ExprKind> {
        let span = self.bump().span;
        let map = Name { text: self.slice(span).into(), span };
        if !self.at("[") {
            return Ok(ExprKind::Map(map.text));
        }
        let open = self.bump().span;
        let first = self.nested(Self::expr)?;
        let mut keys = vec![first];
        while self.eat(",") {
            keys.push(self.nested(Self::expr)?);
        }
        if !self.eat("]") {
            return self.fail_closing("]", open);
        }
        let key = match <[Expr; 1]>::try_from(keys) {
            Ok([key]) => key,
            Err(keys) => {
                let span = keys[0].span.to(keys[keys.len() - 1].span);
                Expr { id: self.id(), span, kind: ExprKind::Tuple(keys) }
            }
        };
        Ok(ExprKind::MapElement { map, key: Box::new(key) })
    }

    /// What starts with a name or keyword.
    fn named(&mut self) -> Parsed<ExprKind> {
        let text = self.current_text();
        Ok(match text {
            "true" | "false" => {
                self.bump();
                ExprKind::Bool(text == "true")
            }
            "if" => self.if_expr()?,
            "sizeof" => ExprKind::Sizeof(self.parenthesized_type()?),
            "typeinfo" => ExprKind::Typeinfo(self.parenthesized_type()?),
            "offsetof" => self.offsetof()?,
            "comptime" => {
                self.bump();
                ExprKind::Comptime(Box::new(self.nested(Self::unary)?))
            }
            "typeof" => ExprKind::Type(self.typeof_type()?),
            _ if names::KEYWORDS.contains(&text) => return self.fail("an expression"),
            _ => {
                let callee = self.expect_name("")?;
                if self.at("(") {
                    ExprKind::Call { callee, args: self.arguments()? }
                } else {
                    self.check_macro_mark(&callee)?;
                    ExprKind::Ident(callee.text)
                }
            }
        })
    }

    /// Says how macros are called to who writes `name!(...)`.
    fn check_macro_mark(&mut self, name: &Name) -> Parsed<()> {
        if self.at("!") && self.peek_second().token == Token::Punct("(") {
            return self.fail_with(
                Diagnostic::error(self.current.span, "macros are called without `!`")
                    .help(format!("write `{}(...)`", name.text)),
            );
        }
        Ok(())
    }

    /// `(a, b)` of a call.
    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let open = self.expect("(")?;
        let mut args = Vec::new();
        while !self.at(")") {
            args.push(self.nested(Self::expr)?);
            if !self.eat(",") {
                break;
            }
            if self.at(")") {
                return self.fail("one more argument");
            }
        }
        if !self.eat(")") {
            return self.fail_closing(")", open);
        }
        Ok(args)
    }

    /// `if cond { ... } else if cond { ... } else { ... }`
    fn if_expr(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let cond = Box::new(self.nested(Self::condition)?);
        let then = self.block(true)?;
        if !self.eat_keyword("else") {
            return Ok(ExprKind::If { cond, then, otherwise: None });
        }
        if !self.at("{") && !self.at_keyword("if") {
            return self.fail("`{` or `if` after `else`");
        }
        let otherwise = self.nested(Self::primary)?;
        Ok(ExprKind::If { cond, then, otherwise: Some(Box::new(otherwise)) })
    }

    /// `(type)` or `(expr)` after a keyword.
    fn parenthesized_type(&mut self) -> Parsed<TypeOrExpr> {
        self.bump();
        let open = self.expect("(")?;
        let of = self.type_or_expr(")")?;
        if !self.eat(")") {
            return self.fail_closing(")", open);
        }
        Ok(of)
    }

    /// `offsetof(type, field.field)`
    fn offsetof(&mut self) -> Parsed<ExprKind> {
        self.bump();
        let open = self.expect("(")?;
        let of = self.type_or_expr(",")?;
        self.expect(",")?;
        let mut fields = vec![self.expect_name("the name of a field")?];
        while self.eat(".") {
            fields.push(self.expect_name("the name of a field")?);
        }
        if !self.eat(")") {
            return self.fail_closing(")", open);
        }
        Ok(ExprKind::Offsetof { of, fields })
    }

    /// What starts with `(`: a record, a cast, a tuple, or an expression in parentheses.
    fn parenthesized(&mut self) -> Parsed<Expr> {
        self.nested(|parser| {
            let open = parser.bump().span;
            let kind = if parser.eat(")") {
                ExprKind::Tuple(Vec::new())
            } else if parser.at_record() {
                parser.record(open)?
            } else if parser.at_cast() {
                let ty = parser.type_annotation()?;
                parser.expect(")")?;
                ExprKind::Cast { ty, operand: Box::new(parser.unary()?) }
            } else {
                let first = parser.expr_or_comparison()?;
                if parser.eat(")") {
                    return Ok(first);
                }
                if !parser.at(",") {
                    return parser.fail_closing(")", open);
                }
                let mut elements = vec![first];
                while parser.eat(",") && !parser.at(")") {
                    elements.push(parser.expr()?);
                }
                if !parser.eat(")") {
                    return parser.fail_closing(")", open);
                }
                ExprKind::Tuple(elements)
            };
            Ok(Expr { id: parser.id(), span: parser.since(open.start), kind })
        })
    }

    /// Whether `name =` comes next, and the name is not a builtin's (then it is a slip for `==`).
    fn at_record(&self) -> bool {
        self.current.token == Token::Ident
            && self.peek_second().token == Token::Punct("=")
            && !names::is_value(self.current_text())
    }

    /// `name = value, name = value)`
    fn record(&mut self, open: Span) -> Parsed<ExprKind> {
        let mut fields = Vec::new();
        let mut seen = HashMap::new();
        loop {
            let name = self.expect_name("the name of a field")?;
            self.expect("=")?;
            let value = self.expr()?;
            let first = *seen.entry(self.slice(name.span)).or_insert(name.span);
            if first != name.span {
                let message = format!("there are two fields called `{}`", name.text);
                self.report(Diagnostic::error(name.span, message).related(first, "the first"));
            }
            fields.push(NamedExpr { name, value });
            if !self.eat(",") {
                break;
            }
        }
        if !self.eat(")") {
            return self.fail_closing(")", open);
        }
        Ok(ExprKind::Record(fields))
    }

    /// Whether `type) operand` comes next. `(name) - 1` is a cast unless the name is certainly a
    /// value's: a builtin, a parameter of the macro around, a constant of C.
    fn at_cast(&self) -> bool {
        if self.at_keyword("typeof") {
            return true;
        }
        let Some(mut ahead) = self.type_ahead() else { return false };
        if ahead.rest.next().token != Token::Punct(")") {
            return false;
        }
        match ahead.rest.next().token {
            Token::Punct("-" | "*" | "&") => ahead
                .bare_name
                .is_none_or(|name| !names::is_constant(name) && !self.macro_params.contains(name)),
            Token::Punct("(" | "!" | "~" | "--")
            | Token::Ident
            | Token::Int
            | Token::Str { .. }
            | Token::SingleQuoted
            | Token::Var
            | Token::Map
            | Token::Positional
            | Token::PositionalCount => true,
            _ => false,
        }
    }
}
