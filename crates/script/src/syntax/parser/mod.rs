//! Tokens to a tree, by recursive descent, after the grammar in bpftrace's "Language Lexing and
//! Parsing".
//!
//! Parsing always gives a tree. A rule that cannot go on reports why and gives up with [`Failed`];
//! the statement or item around it becomes an error node and parsing goes on after it, so that one
//! mistake gives one message.

mod attach;
mod expr;
mod item;
mod primary;
mod stmt;
mod types;

use std::collections::HashSet;

use super::ast::{Name, NodeId, Program};
use super::lexer::{Lexeme, Lexer, Token};
use super::literal;
use super::provider::Provider;
use crate::diagnostic::{Diagnostic, Source, Span};

/// How many levels a tree can have. Whatever walks it may recurse.
const MAX_DEPTH: u32 = 300;

/// A rule gave up, and a diagnostic says why.
struct Failed;

/// What a rule found.
type Parsed<T> = Result<T, Failed>;

/// Reads a script. The tree holds what could be understood; without errors among the diagnostics
/// it is the whole script.
pub fn parse(source: &Source) -> (Program, Vec<Diagnostic>) {
    let mut parser = Parser::new(&source.text);
    let mut program = parser.program();
    program.node_count = parser.next_id;
    parser.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
    (program, parser.diagnostics)
}

/// The state of parsing.
struct Parser<'s> {
    text: &'s str,
    /// Stands after `current`.
    lexer: Lexer<'s>,
    /// The next token to be taken.
    current: Lexeme,
    /// Where the last token taken ended.
    previous_end: u32,
    diagnostics: Vec<Diagnostic>,
    next_id: u32,
    /// How many levels of the tree are open.
    depth: u32,
    /// The deepest level of what the innermost open rule has read so far.
    deepest: u32,
    /// Whether the missing end of a block has been reported: the blocks around it miss theirs too.
    unclosed: bool,
    /// Whether a string without its end has been reported; it may have swallowed brackets.
    unclosed_string: bool,
    /// The parameters of the macro that is being read.
    macro_params: HashSet<&'s str>,
}

impl<'s> Parser<'s> {
    fn new(text: &'s str) -> Parser<'s> {
        let mut lexer = Lexer::new(text);
        let current = lexer.next();
        Parser {
            text,
            lexer,
            current,
            previous_end: 0,
            diagnostics: Vec::new(),
            next_id: 0,
            depth: 0,
            deepest: 0,
            unclosed: false,
            unclosed_string: false,
            macro_params: HashSet::new(),
        }
    }

    /// A number for a new node.
    fn id(&mut self) -> NodeId {
        let id = NodeId(self.next_id);
        self.next_id += 1;
        id
    }

    /// The text at a span.
    fn slice(&self, span: Span) -> &'s str {
        &self.text[span.start as usize..span.end as usize]
    }

    /// The text of the next token.
    fn current_text(&self) -> &'s str {
        self.slice(self.current.span)
    }

    /// From a place up to the last token taken.
    fn since(&self, start: u32) -> Span {
        Span::new(start, self.previous_end.max(start))
    }

    // Tokens.

    /// Takes the next token.
    fn bump(&mut self) -> Lexeme {
        let taken = self.current;
        self.previous_end = taken.span.end;
        self.current = self.lexer.next();
        taken
    }

    /// Goes on at another place further down.
    fn seek(&mut self, offset: usize) {
        self.previous_end = offset as u32;
        self.lexer = self.lexer.seek(offset);
        self.current = self.lexer.next();
    }

    /// The token after the next.
    fn peek_second(&self) -> Lexeme {
        { self.lexer }.next()
    }

    fn at(&self, punct: &'static str) -> bool {
        self.current.token == Token::Punct(punct)
    }

    fn at_keyword(&self, keyword: &str) -> bool {
        self.current.token == Token::Ident && self.current_text() == keyword
    }

    fn at_end(&self) -> bool {
        self.current.token == Token::End
    }

    /// Takes the next token if it is this one.
    fn eat(&mut self, punct: &'static str) -> bool {
        let found = self.at(punct);
        if found {
            self.bump();
        }
        found
    }

    fn eat_keyword(&mut self, keyword: &str) -> bool {
        let found = self.at_keyword(keyword);
        if found {
            self.bump();
        }
        found
    }

    fn expect(&mut self, punct: &'static str) -> Parsed<Span> {
        if self.at(punct) { Ok(self.bump().span) } else { self.fail(&format!("`{punct}`")) }
    }

    /// Takes a name; `what` says of what.
    fn expect_name(&mut self, what: &str) -> Parsed<Name> {
        self.expect_token(Token::Ident, what)
    }

    /// Takes a token of this kind, as a name.
    fn expect_token(&mut self, token: Token, what: &str) -> Parsed<Name> {
        if self.current.token != token {
            return self.fail(what);
        }
        let span = self.bump().span;
        Ok(Name { text: self.slice(span).into(), span })
    }

    // Messages.

    /// Keeps a message, unless a block is known to miss its end: what follows from that confuses.
    fn report(&mut self, diagnostic: Diagnostic) {
        if !self.unclosed {
            self.diagnostics.push(diagnostic);
        }
    }

    /// Reports and gives up.
    fn fail_with<T>(&mut self, diagnostic: Diagnostic) -> Parsed<T> {
        self.report(diagnostic);
        Err(Failed)
    }

    /// Reports that something else was expected here, with a remedy, and gives up.
    fn fail_with_help<T>(&mut self, expected: &str, help: impl Into<String>) -> Parsed<T> {
        let diagnostic = self.unexpected(expected);
        let is_comment = diagnostic.span != self.current.span;
        self.fail_with(if is_comment { diagnostic } else { diagnostic.help(help) })
    }

    /// Reports that something else was expected here, and gives up.
    fn fail<T>(&mut self, expected: &str) -> Parsed<T> {
        let diagnostic = self.unexpected(expected);
        self.fail_with(diagnostic)
    }

    /// Reports that a bracket was not closed where something else stands, and gives up.
    pub(super) fn fail_closing<T>(&mut self, closing: &str, open: Span) -> Parsed<T> {
        let diagnostic = self.unexpected(&format!("`{closing}`"));
        let diagnostic = if diagnostic.span == self.current.span {
            diagnostic.related(open, "to close this")
        } else {
            diagnostic
        };
        self.fail_with(diagnostic)
    }

    /// `expected ..., found ...` at the next token.
    fn unexpected(&self, expected: &str) -> Diagnostic {
        let span = self.current.span;
        if let (Token::End, Some(comment)) = (self.current.token, self.lexer.unclosed_comment()) {
            return Diagnostic::error(comment, "this comment is never closed")
                .help("close it with `*/`");
        }
        let text = self.current_text();
        let found = match self.current.token {
            Token::End => "the end of the script".into(),
            Token::Str { .. } | Token::SingleQuoted => "a string".into(),
            Token::Ident if super::names::KEYWORDS.contains(&text) => {
                format!("the keyword `{text}`")
            }
            Token::Unknown if text.chars().any(char::is_control) => "a control character".into(),
            _ if text.len() > 40 => "this".into(),
            _ => format!("`{text}`"),
        };
        let diagnostic = Diagnostic::error(span, format!("expected {expected}, found {found}"));
        match (self.current.token, text) {
            (Token::Unknown, "$") => diagnostic.help("a variable is `$` and a name: `$x`"),
            (Token::Unknown, "\u{201c}" | "\u{201d}") => {
                diagnostic.help("strings are written between straight quotes: `\"`")
            }
            (Token::Punct("\\"), _) => diagnostic.help("line breaks need no `\\`"),
            _ => diagnostic,
        }
    }

    /// Reports what is wrong with a literal whose text starts at `start`.
    fn report_literal(&mut self, start: u32, error: literal::LiteralError) {
        let span = Span::new(start + error.start as u32, start + error.end as u32);
        let mut diagnostic = Diagnostic::error(span, error.message);
        diagnostic.help.extend(error.help);
        self.report(diagnostic);
    }

    // Depth. Rules that nest run inside `nested`; a rule that puts a new node above what it has
    // read already (`a + b + c`) calls `wrap`. Together they bound the height of the tree, not only
    // the recursion of the parser.

    /// Runs a rule one level down.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        let outer = std::mem::replace(&mut self.deepest, self.depth);
        let result = match self.check_depth() {
            Ok(()) => rule(self),
            Err(failed) => Err(failed),
        };
        self.deepest = self.deepest.max(outer);
        self.depth -= 1;
        result
    }

    /// Accounts for a node above what the current rule has read.
    fn wrap(&mut self) -> Parsed<()> {
        self.deepest += 1;
        self.check_depth()
    }

    /// Gives up the whole rest of the script when the tree gets too high: nobody writes that, and
    /// further messages would only confuse.
    fn check_depth(&mut self) -> Parsed<()> {
        if self.deepest <= MAX_DEPTH {
            return Ok(());
        }
        let diagnostic = Diagnostic::error(self.current.span, "this is nested too deeply")
            .note(format!("at most {MAX_DEPTH} levels are possible; nothing after this was read"))
            .help("split the expression, or keep parts of it in variables");
        self.report(diagnostic);
        self.unclosed = true;
        self.seek(self.text.len());
        Err(Failed)
    }

    // Recovery.

    /// Skips to where a statement can begin: past the next `;` or a whole block, before a `}` that
    /// closes the block around, or before a new probe.
    fn skip_statement(&mut self) {
        let mut depth = 0;
        while !self.at_end() {
            match self.current.token {
                Token::Punct("{") => depth += 1,
                Token::Punct("}") if depth == 0 => return,
                Token::Punct("}") => {
                    depth -= 1;
                    if depth == 0 && self.peek_second().token != Token::Punct(")") {
                        self.bump();
                        if self.at_keyword("else") {
                            continue;
                        }
                        self.eat(";");
                        return;
                    }
                }
                Token::Punct(";") if depth == 0 => {
                    self.bump();
                    return;
                }
                Token::Ident if depth == 0 && self.at_probe() => return,
                _ => {}
            }
            self.bump();
        }
    }

    /// Skips to where an item can begin: past the next block, or before a new probe.
    fn skip_item(&mut self) {
        let mut depth = 0;
        while !self.at_end() {
            let token = self.bump().token;
            match token {
                Token::Punct("{") => depth += 1,
                Token::Punct("}") if depth <= 1 => return,
                Token::Punct("}") => depth -= 1,
                _ => {}
            }
            if depth == 0 && self.at_probe() {
                return;
            }
        }
    }

    /// Whether a probe certainly starts here: a provider right before a colon, or `BEGIN` or `END`
    /// before a block. No statement looks like that.
    fn at_probe(&self) -> bool {
        if self.current.token != Token::Ident {
            return false;
        }
        match Provider::from_name(self.current_text()) {
            Some(Provider::Begin | Provider::End) => self.peek_second().token == Token::Punct("{"),
            Some(_) => {
                let colon = self.current.span.end as usize;
                self.text.as_bytes().get(colon) == Some(&b':')
            }
            None => false,
        }
    }
}
