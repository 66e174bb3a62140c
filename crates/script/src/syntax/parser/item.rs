//! What stands outside of blocks: C, `config`, imports, macros, functions, map declarations,
//! probes.

use super::{Parsed, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{
    CText, CTextKind, Config, ConfigEntry, ConfigValue, Function, Import, Item, Macro, MapDecl,
    Name, Param, Probe, Program,
};
use crate::syntax::lexer::Token;
use crate::syntax::provider::Provider;

/// The sections of a script, in the order that they must have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Section {
    /// Preprocessor lines and C definitions.
    C,
    /// Imports and the config block.
    Setup,
    /// Everything else.
    Items,
}

impl Parser<'_> {
    /// The whole script.
    pub(super) fn program(&mut self) -> Program {
        let mut program = Program { shebang: self.shebang(), ..Program::default() };
        let mut section = Section::C;
        while !self.at_end() {
            self.unclosed = false;
            self.unclosed_string = false;
            self.macro_params.clear();
            let before = self.current.span.start;
            if self.item(&mut program, &mut section).is_err() && !self.at_probe() {
                self.skip_item();
            }
            if self.current.span.start == before && !self.at_end() {
                self.bump();
            }
        }
        if let Some(comment) = self.lexer.unclosed_comment()
            && !self.diagnostics.iter().any(|diagnostic| diagnostic.span == comment)
        {
            self.unclosed = false;
            let diagnostic = self.unexpected("a probe");
            self.report(diagnostic);
        }
        program
    }

    /// The `#!` line, which must come first.
    fn shebang(&mut self) -> Option<Span> {
        let start = self.current.span.start as usize;
        let line = self.text[start..].lines().next().filter(|line| line.starts_with("#!"))?;
        let end = start + line.len();
        self.seek(end);
        Some(Span::new(start as u32, end as u32))
    }

    fn item(&mut self, program: &mut Program, section: &mut Section) -> Parsed<()> {
        let start = self.current.span;
        if self.at("#") {
            let directive = self.directive();
            self.check_section(*section, Section::C, directive.span, "C");
            program.preamble.push(directive);
            return Ok(());
        }
        if self.at_c_definition() {
            let definition = self.c_definition()?;
            self.check_section(*section, Section::C, definition.span, "C definitions");
            program.preamble.push(definition);
            return Ok(());
        }
        let keyword = match self.current.token {
            Token::Ident => self.current_text(),
            _ => "",
        };
        match keyword {
            "config" => {
                match &program.config {
                    None => self.check_section(*section, Section::Setup, start, "the config block"),
                    Some(first) => self.report(
                        Diagnostic::error(start, "there is more than one config block")
                            .related(Span::new(first.span.start, first.span.start + 6), "the first")
                            .help("put all settings into one block"),
                    ),
                }
                *section = (*section).max(Section::Setup);
                let config = self.config()?;
                program.config.get_or_insert(config);
            }
            "import" => {
                self.check_section(*section, Section::Setup, start, "imports");
                *section = (*section).max(Section::Setup);
                let import = self.import()?;
                program.imports.push(import);
            }
            _ if self.skip_misplaced() => {}
            _ => {
                *section = Section::Items;
                let item = match keyword {
                    "macro" => Item::Macro(self.macro_definition()?),
                    "fn" => Item::Function(self.function()?),
                    "let" => Item::MapDecl(self.map_decl()?),
                    _ => Item::Probe(self.probe()?),
                };
                program.items.push(item);
            }
        }
        Ok(())
    }

    /// Reports what comes after its section.
    fn check_section(&mut self, now: Section, own: Section, span: Span, what: &str) {
        if now > own {
            let before = match own {
                Section::C => "the config block, imports, probes, macros and map declarations",
                _ => "probes, macros and map declarations",
            };
            self.report(
                Diagnostic::error(span, format!("{what} must come before {before}"))
                    .help("move this to the top of the script"),
            );
        }
    }

    // C.

    /// A preprocessor line; a backslash at its end continues it.
    fn directive(&mut self) -> CText {
        let start = self.current.span.start as usize;
        let mut end = start;
        for line in self.text[start..].split_inclusive('\n') {
            end += line.len();
            if !line.trim_end().ends_with('\\') {
                break;
            }
        }
        // A backslash before a blank line continues nothing.
        let text = self.text[start..end].trim_end_matches([' ', '\t', '\r', '\n', '\\']);
        let span = Span::new(start as u32, (start + text.len()) as u32);
        self.seek(end);
        CText { kind: CTextKind::Directive, text: text.into(), span }
    }

    /// Whether `struct`, `union` or `enum` comes next, then names or attributes, then a brace.
    fn at_c_definition(&self) -> bool {
        if !["struct", "union", "enum"].iter().any(|keyword| self.at_keyword(keyword)) {
            return false;
        }
        let mut ahead = self.lexer;
        let mut depth = 0;
        // More than this is no head of a definition; the limit keeps the look ahead short.
        for _ in 0..64 {
            match ahead.next().token {
                Token::Punct("{") => return depth == 0,
                Token::Punct("(") => depth += 1,
                Token::Punct(")") => depth -= 1,
                Token::Ident => {}
                _ if depth > 0 => {}
                _ => return false,
            }
        }
        false
    }

    /// `struct name { ... } __attribute__((...));`, kept as it is.
    fn c_definition(&mut self) -> Parsed<CText> {
        let start = self.current.span.start;
        while !self.at("{") {
            self.bump();
        }
        let open = self.current.span;
        self.skip_balanced("{", "}", open)?;
        while self.eat_keyword("__attribute__") {
            let open = self.current.span;
            if !self.at("(") {
                return self.fail("`((` after `__attribute__`");
            }
            self.skip_balanced("(", ")", open)?;
        }
        let span = self.since(start);
        self.eat(";");
        Ok(CText { kind: CTextKind::Definition, text: self.slice(span).into(), span })
    }

    /// Takes everything up to the token that closes the one that comes next.
    fn skip_balanced(
        &mut self,
        opening: &'static str,
        closing: &'static str,
        open: Span,
    ) -> Parsed<()> {
        let mut depth = 0;
        loop {
            if self.at_end() {
                self.unclosed(open);
                return Ok(());
            }
            if self.at(opening) {
                depth += 1;
            } else if self.at(closing) {
                depth -= 1;
            }
            self.bump();
            if depth == 0 {
                return Ok(());
            }
        }
    }

    // Setup.

    /// `import "path";`
    fn import(&mut self) -> Parsed<Import> {
        let start = self.bump().span.start;
        let path = self.expect_string("the path to import, in quotes")?;
        let span = self.since(start);
        self.expect_semicolon();
        Ok(Import { path, span })
    }

    /// `config = { key = value; ... }`
    fn config(&mut self) -> Parsed<Config> {
        let start = self.bump().span.start;
        self.expect("=")?;
        let open = self.expect("{")?;
        let mut entries = Vec::new();
        while !self.at("}") {
            if self.at_end() || self.at_probe() {
                self.unclosed(open);
                break;
            }
            if self.eat(";") {
                continue;
            }
            match self.config_entry() {
                Ok(entry) => {
                    entries.push(entry);
                    if !self.at("}") {
                        self.expect_semicolon();
                    }
                }
                Err(_) => self.skip_statement(),
            }
        }
        self.eat("}");
        Ok(Config { entries, span: self.since(start) })
    }

    fn config_entry(&mut self) -> Parsed<ConfigEntry> {
        let key = self.expect_name("the name of a setting")?;
        if !self.eat("=") {
            let diagnostic =
                self.unexpected("`=`").help(format!("a setting is written `{} = value`", key.text));
            return self.fail_with(diagnostic);
        }
        let value_span = self.current.span;
        let value = match self.current.token {
            Token::Int => ConfigValue::Int(self.integer()),
            Token::Str { .. } => ConfigValue::Str(self.string()?),
            Token::Ident => match self.take_text().as_str() {
                "true" => ConfigValue::Bool(true),
                "false" => ConfigValue::Bool(false),
                word => ConfigValue::Word(word.into()),
            },
            _ => return self.fail("a number, a string, a word, `true` or `false`"),
        };
        Ok(ConfigEntry { key, value, value_span })
    }

    // Items.

    /// `macro name($a, @m, e) { ... }`
    fn macro_definition(&mut self) -> Parsed<Macro> {
        let start = self.bump().span.start;
        let name = self.expect_name("the name of the macro")?;
        if self.at("{") {
            let help = format!("a macro without parameters is written `macro {}()`", name.text);
            return self.fail_with_help("`(`", help);
        }
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.at(")") {
            params.push(self.macro_param()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.macro_params = params.iter().map(|param: &Name| self.slice(param.span)).collect();
        let body = self.block(true)?;
        Ok(Macro { id: self.id(), span: self.since(start), name, params, body })
    }

    fn macro_param(&mut self) -> Parsed<Name> {
        match self.current.token {
            token @ (Token::Var | Token::Map | Token::Ident) => self.expect_token(token, ""),
            _ => self.fail("a parameter: `$variable`, `@map` or a name"),
        }
    }

    /// `fn name($a: type): type { ... }`
    fn function(&mut self) -> Parsed<Function> {
        let start = self.bump().span.start;
        let name = self.expect_name("the name of the function")?;
        self.expect("(")?;
        let mut params = Vec::new();
        while !self.at(")") {
            let name = self.expect_token(Token::Var, "a parameter: `$name: type`")?;
            self.expect(":")?;
            params.push(Param { name, ty: self.type_annotation()? });
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        self.expect(":")?;
        let returns = self.type_annotation()?;
        let body = self.block(false)?;
        Ok(Function { id: self.id(), span: self.since(start), name, params, returns, body })
    }

    /// `let @map = hash(1000);`
    fn map_decl(&mut self) -> Parsed<MapDecl> {
        let start = self.bump().span.start;
        if self.current.token == Token::Var {
            let diagnostic = self
                .unexpected("a map: `@name`")
                .note("variables live inside of blocks; only maps outlive them");
            return self.fail_with(diagnostic);
        }
        let name = self.expect_token(Token::Map, "a map: `@name`")?;
        self.expect("=")?;
        let kind = self.expect_name("a kind of map, such as `hash`")?;
        self.expect("(")?;
        let max_entries_span = self.current.span;
        if self.current.token != Token::Int {
            return self.fail("the number of entries that the map can have");
        }
        let max_entries = self.integer();
        self.expect(")")?;
        let span = self.since(start);
        self.eat(";");
        Ok(MapDecl { id: self.id(), span, name, kind, max_entries, max_entries_span })
    }

    /// `attach points /predicate/ { ... }`
    fn probe(&mut self) -> Parsed<Probe> {
        let start = self.current.span.start;
        let attach_points = self.attach_points()?;
        let predicate = if self.at("/") { Some(self.predicate()?) } else { None };
        let body = self.block(false)?;
        let id = self.id();
        Ok(Probe { id, span: self.since(start), attach_points, predicate, body })
    }

    /// Reports and skips what no item starts with; says whether there was such a thing.
    fn skip_misplaced(&mut self) -> bool {
        let span = self.current.span;
        match self.current.token {
            Token::Punct("}") => {
                self.report(
                    Diagnostic::error(span, "this `}` closes nothing")
                        .help("remove it, or look for a `{` that is missing above"),
                );
                self.bump();
            }
            Token::Punct(";") => {
                self.report(Diagnostic::error(span, "there is no `;` between probes"));
                self.bump();
            }
            Token::Punct("{") => {
                self.report(
                    Diagnostic::error(span, "this block has no probe")
                        .help("say when it is to run: `BEGIN { ... }`, `interval:s:1 { ... }`"),
                );
                // Read for its own mistakes; they are reported already if it cannot be.
                let _ = self.block(false);
            }
            Token::Var | Token::Map | Token::PositionalCount => {
                self.skip_loose_statements();
            }
            Token::Ident
                if self.peek_second().token == Token::Punct("(")
                    && Provider::from_name(self.current_text()).is_none() =>
            {
                self.skip_loose_statements();
            }
            _ => return false,
        }
        true
    }

    /// Reports and skips statements outside of a block.
    fn skip_loose_statements(&mut self) {
        self.report(
            Diagnostic::error(self.current.span, "this stands outside of a probe")
                .help("put it into a probe: `BEGIN { ... }`"),
        );
        while !self.at_end() && !self.at_probe() {
            self.skip_statement();
            if self.eat("}") {
                break;
            }
        }
    }
}
