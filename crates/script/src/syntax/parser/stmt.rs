//! Blocks and statements.

use super::{Parsed, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{BinaryOp, Block, Expr, ExprKind, Iterable, Name, Stmt, StmtKind};
use crate::syntax::lexer::Token;

/// What stands in a block: a statement, or the expression that is the block's value.
enum Piece {
    Stmt(Stmt),
    Value(Expr),
}

/// Compound assignments and their operators.
const COMPOUND: [(&str, BinaryOp); 10] = [
    ("+=", BinaryOp::Add),
    ("-=", BinaryOp::Sub),
    ("*=", BinaryOp::Mul),
    ("/=", BinaryOp::Div),
    ("%=", BinaryOp::Rem),
    ("&=", BinaryOp::BitAnd),
    ("|=", BinaryOp::BitOr),
    ("^=", BinaryOp::BitXor),
    ("<<=", BinaryOp::Shl),
    (">>=", BinaryOp::Shr),
];

/// How loops are written.
const FOR_HELP: &str = "write `for $x : @map { ... }` or `for $i : 0..10 { ... }`";

impl Parser<'_> {
    /// `{ ... }`; an expression at its end without `;` is its value, if it may have one, else one
    /// more statement.
    pub(super) fn block(&mut self, may_have_value: bool) -> Parsed<Block> {
        self.nested(|parser| {
            let open = parser.expect("{")?;
            let mut stmts = Vec::new();
            let mut value = None;
            while !parser.at("}") {
                if parser.at_end() || parser.at_probe() {
                    parser.unclosed(open);
                    break;
                }
                if parser.eat(";") {
                    continue;
                }
                let start = parser.current.span.start;
                match parser.piece() {
                    Ok(Piece::Value(expr)) if may_have_value => value = Some(Box::new(expr)),
                    Ok(Piece::Value(expr)) => {
                        let (id, span) = (parser.id(), expr.span);
                        stmts.push(Stmt { id, span, kind: StmtKind::Expr(expr) });
                    }
                    Ok(Piece::Stmt(stmt)) => stmts.push(stmt),
                    Err(_) => {
                        parser.skip_statement();
                        let id = parser.id();
                        stmts.push(Stmt { id, span: parser.since(start), kind: StmtKind::Error });
                    }
                }
            }
            parser.eat("}");
            Ok(Block { id: parser.id(), span: parser.since(open.start), stmts, value })
        })
    }

    /// Reports a bracket that nothing closes.
    pub(super) fn unclosed(&mut self, open: Span) {
        let bracket = self.slice(open);
        let mut diagnostic = Diagnostic::error(open, format!("this `{bracket}` is never closed"));
        if let (true, Some(comment)) = (self.at_end(), self.lexer.unclosed_comment()) {
            diagnostic = Diagnostic::error(comment, "this comment is never closed")
                .help("close it with `*/`");
        } else if !self.at_end() {
            diagnostic = diagnostic
                .related(self.current.span, "a new probe begins here, inside the block")
                .help("close the block with `}` before it");
        }
        if !(self.at_end() && self.unclosed_string) {
            self.report(diagnostic);
        }
        self.unclosed = true;
    }

    /// Takes a `;`. One that is missing is reported where it should stand; nothing else is wrong
    /// then. Before a `}` none is needed.
    pub(super) fn expect_semicolon(&mut self) {
        if self.eat(";") || self.at("}") {
            return;
        }
        let place = Span::new(self.previous_end.saturating_sub(1), self.previous_end);
        let place = if self.text.is_char_boundary(place.start as usize) {
            place
        } else {
            Span::at(place.end)
        };
        let found = self.unexpected("`;`");
        self.report(Diagnostic { span: place, ..found }.label("a `;` is missing after this"));
    }

    /// A statement with its `;`, or the block's value.
    fn piece(&mut self) -> Parsed<Piece> {
        let start = self.current.span.start;
        let keyword = match self.current.token {
            Token::Ident => self.current_text(),
            _ => "",
        };
        let kind = match keyword {
            "let" => self.let_stmt()?,
            "while" => {
                self.bump();
                let cond = self.condition()?;
                StmtKind::While { cond, body: self.block(false)? }
            }
            "unroll" => {
                self.bump();
                let count = self.condition()?;
                StmtKind::Unroll { count, body: self.block(false)? }
            }
            "for" => self.for_stmt()?,
            "break" => self.jump(StmtKind::Break),
            "continue" => self.jump(StmtKind::Continue),
            "return" => {
                self.bump();
                let value = if self.at(";") || self.at("}") { None } else { Some(self.expr()?) };
                StmtKind::Return(value)
            }
            "import" => {
                self.bump();
                StmtKind::Import(self.expect_string("the path to import, in quotes")?)
            }
            _ => return self.expr_piece(),
        };
        let span = self.since(start);
        let ends_with_block =
            matches!(kind, StmtKind::While { .. } | StmtKind::Unroll { .. } | StmtKind::For { .. });
        if !ends_with_block {
            self.expect_semicolon();
        }
        Ok(Piece::Stmt(Stmt { id: self.id(), span, kind }))
    }

    fn jump(&mut self, kind: StmtKind) -> StmtKind {
        self.bump();
        kind
    }

    /// `let $x: type = value`
    fn let_stmt(&mut self) -> Parsed<StmtKind> {
        self.bump();
        if self.current.token == Token::Map {
            let help = "maps are declared outside of probes: `let @name = hash(1000);`";
            return self.fail_with_help("a variable: `$name`", help);
        }
        let name = self.expect_token(Token::Var, "a variable: `$name`")?;
        let ty = if self.eat(":") { Some(self.type_annotation()?) } else { None };
        let value = if self.eat("=") { Some(self.expr()?) } else { None };
        Ok(StmtKind::Let { name, ty, value })
    }

    /// `for $x : @map { ... }`, `for $i : a..b { ... }`, either with parentheses.
    fn for_stmt(&mut self) -> Parsed<StmtKind> {
        self.bump();
        let open = self.eat("(");
        let var = self.expect_token(Token::Var, "the loop's variable: `$name`")?;
        if !self.eat(":") {
            return self.fail_with_help("`:`", FOR_HELP);
        }
        let start = self.binary(0)?;
        let iter = if self.eat("..") {
            Iterable::Range { start, end: self.binary(0)? }
        } else if let ExprKind::Map(name) = start.kind {
            Iterable::Map(Name { text: name, span: start.span })
        } else {
            return self.fail_with(
                Diagnostic::error(start.span, "a loop runs over a map or a range").help(FOR_HELP),
            );
        };
        if open {
            self.expect(")")?;
        }
        Ok(StmtKind::For { var, iter, body: self.block(false)? })
    }

    /// A condition before a block. Its parentheses are not needed, and never a tuple or record.
    pub(super) fn condition(&mut self) -> Parsed<Expr> {
        if !self.at("(") {
            return self.expr_or_comparison();
        }
        let open = self.bump().span;
        let first = self.expr_or_comparison()?;
        if !self.eat(")") {
            return self.fail_closing(")", open);
        }
        if self.at("{") { Ok(first) } else { self.expr_from(open.start, first) }
    }

    /// `/expr/`
    pub(super) fn predicate(&mut self) -> Parsed<Expr> {
        let open = self.expect("/")?;
        let predicate = self.expr_or_comparison()?;
        if !self.eat("/") {
            return self.fail_closing("/", open);
        }
        Ok(predicate)
    }

    /// An expression where `=` can only mean `==`.
    pub(super) fn expr_or_comparison(&mut self) -> Parsed<Expr> {
        let start = self.current.span.start;
        let mut left = self.expr()?;
        while self.at("=") {
            self.report(
                Diagnostic::error(self.current.span, "a value cannot be assigned here")
                    .help("did you mean `==`?"),
            );
            self.bump();
            self.wrap()?;
            let right = Box::new(self.expr()?);
            let kind = ExprKind::Binary { op: BinaryOp::Eq, left: Box::new(left), right };
            left = Expr { id: self.id(), span: self.since(start), kind };
        }
        Ok(left)
    }

    /// An assignment, or an expression as a statement or value.
    fn expr_piece(&mut self) -> Parsed<Piece> {
        let start = self.current.span.start;
        let ends_with_block = self.at("{") || self.at_keyword("if");
        // A block that begins a statement is all of it: what follows is the next.
        let expr = if ends_with_block { self.primary()? } else { self.expr()? };
        let op = match self.current.token {
            Token::Punct(punct) => COMPOUND.iter().find(|row| row.0 == punct).map(|row| row.1),
            _ => None,
        };
        let kind = if op.is_some() || self.at("=") {
            let equals = self.bump().span;
            let value = self.expr()?;
            let discards = matches!(&expr.kind, ExprKind::Ident(name) if name == "_");
            if discards && op.is_none() {
                StmtKind::Discard(value)
            } else {
                self.check_target(&expr, equals);
                StmtKind::Assign { target: expr, op, value }
            }
        } else if self.at("}") {
            return Ok(Piece::Value(expr));
        } else {
            StmtKind::Expr(expr)
        };
        let span = self.since(start);
        if ends_with_block && matches!(kind, StmtKind::Expr(_)) {
            self.eat(";");
        } else {
            self.expect_semicolon();
        }
        Ok(Piece::Stmt(Stmt { id: self.id(), span, kind }))
    }

    /// Reports an assignment to what cannot be assigned to.
    fn check_target(&mut self, target: &Expr, equals: Span) {
        if target.is_place() {
            return;
        }
        let diagnostic = match &target.kind {
            ExprKind::Field { .. } | ExprKind::TupleField { .. } | ExprKind::Index { .. } => {
                Diagnostic::error(target.span, "parts of a value cannot be changed")
                    .help("make a new value and assign that to the variable or map")
            }
            ExprKind::Ident(name) => {
                Diagnostic::error(target.span, format!("`{name}` cannot be assigned to"))
                    .help(format!("a variable is written `${name}`, a map `@{name}`"))
            }
            _ => Diagnostic::error(target.span, "this cannot be assigned to")
                .related(equals, "assigned here")
                .help("only variables (`$x`), maps (`@x`) and their elements (`@x[key]`) can"),
        };
        self.report(diagnostic);
    }
}
