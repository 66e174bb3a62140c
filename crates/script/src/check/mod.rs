//! From the syntax tree to the typed tree: names, probes, types, conversions.
//!
//! Types of maps and variables follow from all their uses, also later ones. So the whole script is
//! checked again and again until no type changes any more; what the last round found counts.

mod attach;
mod call;
mod convert;
mod expr;
mod field;
mod format;
mod infer;
mod lint;
mod map;
mod map_call;
mod operator;
mod output;
mod settings;
mod stmt;
pub(crate) mod tree;
mod typeref;

use std::collections::HashMap;

use bombus_kernel::AttachPoint;
use bombus_kernel::catalog::{Field, TracepointFormat};

use crate::compile::{Env, Options};
use crate::diagnostic::{Diagnostic, Severity, Span};
use crate::syntax::ast;
use crate::syntax::visit::{self, Visitor};
use infer::{Guess, ValueGuess};
pub(crate) use settings::Settings;
use tree::{Context, Script, Target, VarId};

/// More rounds than any script needs: every round widens at least one type, and a type can be
/// widened a few times only.
const MAX_ROUNDS: usize = 64;

/// What checking found.
pub(crate) struct Checked {
    pub(crate) script: Script,
    pub(crate) settings: Settings,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Checks a script.
///
/// # Errors
///
/// Everything that is wrong with it, with the warnings.
pub(crate) fn check(
    program: &ast::Program,
    env: &Env<'_>,
    options: &Options,
) -> Result<Checked, Vec<Diagnostic>> {
    let mut diagnostics = Vec::new();
    refuse_unsupported(program, &mut diagnostics);
    let settings = settings::read(program, options, &mut diagnostics);
    let mut expander = attach::Expander {
        env,
        options,
        missing: settings.missing_probes,
        diagnostics: Vec::new(),
    };
    let groups: Vec<Group<'_>> =
        program.probes().flat_map(|probe| groups(probe, &mut expander)).collect();
    diagnostics.append(&mut expander.diagnostics);

    let mut types = Types::default();
    declare_maps(program, &mut types, &mut diagnostics);
    let mut rounds = 0;
    let (script, mut found) = loop {
        let mut round = Checker::new(env, options, &settings, &mut types);
        let actions = groups.iter().enumerate().map(|(at, group)| round.group(at, group)).collect();
        let (mut script, found, changed) = round.finish();
        script.actions = actions;
        rounds += 1;
        if !changed || rounds == MAX_ROUNDS {
            break (script, found);
        }
    };
    diagnostics.append(&mut found);
    for decl in program.map_decls() {
        if !types.maps.iter().any(|map| map.name == decl.name.text) {
            let message = format!("Unused map: {}", decl.name.text);
            diagnostics.push(Diagnostic::warning(decl.span, message));
        }
    }
    dedup(&mut diagnostics);
    if diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        return Err(diagnostics);
    }
    Ok(Checked { script, settings, warnings: diagnostics })
}

/// The same action is checked once for each layout of its context: a message is wanted once.
fn dedup(diagnostics: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(Span, String)> = Vec::new();
    diagnostics.retain(|diagnostic| {
        let key = (diagnostic.span, diagnostic.message.clone());
        let new = !seen.contains(&key);
        if new {
            seen.push(key);
        }
        new
    });
}

fn refuse_unsupported(program: &ast::Program, diagnostics: &mut Vec<Diagnostic>) {
    for text in &program.preamble {
        match text.kind {
            // Without kernel types these say nothing that this language part needs; a use of what
            // they define is an error where it stands.
            ast::CTextKind::Directive => {}
            ast::CTextKind::Definition => {
                diagnostics.push(not_yet(text.span, "C definitions"));
            }
        }
    }
    for import in &program.imports {
        diagnostics.push(not_yet(import.span, "imports"));
    }
    for item in &program.items {
        match item {
            ast::Item::Macro(definition) => {
                diagnostics.push(not_yet(definition.name.span, "macros"));
            }
            ast::Item::Function(function) => {
                diagnostics.push(not_yet(function.name.span, "functions"));
            }
            ast::Item::Probe(_) | ast::Item::MapDecl(_) => {}
        }
    }
}

/// The message for a part of the language that is still to come.
fn not_yet(span: Span, what: &str) -> Diagnostic {
    Diagnostic::error(span, format!("not supported yet: {what}"))
}

/// Targets of one probe for which the same code will do.
struct Group<'a> {
    probe: &'a ast::Probe,
    targets: Vec<Target>,
    context: Context,
    fields: Vec<(String, Option<Field>)>,
    /// All the fields there are, for messages.
    format: Option<TracepointFormat>,
    /// The text of `probe`, where it must be known in full.
    probe_text: Option<String>,
}

/// What an action asks of its targets, from a look at its text.
#[derive(Default)]
struct Needs {
    /// Fields of `args`.
    fields: Vec<String>,
    /// `probe` or `func`.
    identity: bool,
    /// `probe` as a text to compare.
    text: bool,
}

impl Visitor for Needs {
    fn expr(&mut self, expr: &ast::Expr) {
        self.identity |= matches!(called(expr), "probe" | "func");
        let operands: Vec<&ast::Expr> = match &expr.kind {
            ast::ExprKind::Field { base, field, .. } => {
                if called(base) == "args" && !self.fields.contains(&field.text) {
                    self.fields.push(field.text.clone());
                }
                Vec::new()
            }
            ast::ExprKind::Binary { left, right, .. } => vec![left, right],
            ast::ExprKind::Index { base, .. } => vec![base],
            ast::ExprKind::Ternary { then, otherwise, .. } => {
                then.iter().chain([otherwise]).map(|part| &**part).collect()
            }
            ast::ExprKind::Call { callee, args } if matches!(&*callee.text, "str" | "strncmp") => {
                args.iter().collect()
            }
            _ => Vec::new(),
        };
        self.text |= operands.iter().any(|operand| matches!(called(operand), "probe" | "func"));
        visit::walk_expr(self, expr);
    }
}

/// The builtin or function that an expression names.
fn called(expr: &ast::Expr) -> &str {
    match &expr.kind {
        ast::ExprKind::Ident(name) => name,
        ast::ExprKind::Call { callee, .. } => &callee.text,
        ast::ExprKind::Unary { op: ast::UnaryOp::Deref, operand } => called(operand),
        _ => "",
    }
}

fn groups<'a>(probe: &'a ast::Probe, expander: &mut attach::Expander<'_>) -> Vec<Group<'a>> {
    let mut needs = Needs::default();
    needs.probe(probe);
    let mut groups: Vec<Group<'a>> = Vec::new();
    for point in &probe.attach_points {
        for target in expander.expand(point) {
            let context = target.event.context();
            let format = match &target.event {
                tree::Event::Attach(AttachPoint::Tracepoint { category, name })
                    if !needs.fields.is_empty() =>
                {
                    expander.env.catalog.tracepoint_format(category, name)
                }
                _ => None,
            };
            let field = |name: &String| {
                let fields = format.iter().flat_map(|format| &format.fields);
                (name.clone(), fields.into_iter().find(|field| field.name == *name).cloned())
            };
            let fields: Vec<_> = needs.fields.iter().map(field).collect();
            // A program can tell its attachments apart by their cookies, where there are any.
            let has_cookie = expander.env.features.perf_link
                && !matches!(context, Context::None | Context::RawTracepoint);
            let alone = needs.text || context == Context::None || (needs.identity && !has_cookie);
            let same = |group: &&mut Group<'_>| {
                !alone
                    && group.context == context
                    && group.fields == fields
                    && group.targets[0].event.has_process() == target.event.has_process()
            };
            let known = groups.iter_mut().find(same);
            if let Some(group) = known {
                group.targets.push(target);
                continue;
            }
            let probe_text = needs.text.then(|| target.name.clone());
            groups.push(Group {
                probe,
                targets: vec![target],
                context,
                fields,
                format,
                probe_text,
            });
        }
    }
    groups
}

fn declare_maps(program: &ast::Program, types: &mut Types, diagnostics: &mut Vec<Diagnostic>) {
    for decl in program.map_decls() {
        let lru = match decl.kind.text.as_str() {
            "hash" | "percpuhash" => false,
            "lruhash" | "percpulruhash" => true,
            other => {
                let message = format!("Invalid bpf map type: {other}");
                let kinds = ["hash", "lruhash", "percpuhash", "percpulruhash"];
                diagnostics.push(
                    Diagnostic::error(decl.kind.span, message)
                        .did_you_mean(other, kinds)
                        .help("valid types are hash, lruhash, percpuhash, percpulruhash"),
                );
                continue;
            }
        };
        match u32::try_from(decl.max_entries.value) {
            Ok(max_entries) if max_entries > 0 => {
                types.declared.insert(decl.name.text.clone(), (max_entries, lru));
            }
            _ => diagnostics.push(Diagnostic::error(
                decl.max_entries_span,
                "a map has between 1 and 4294967295 elements",
            )),
        }
    }
}

/// What is known about types so far, over the whole script.
#[derive(Default)]
struct Types {
    maps: Vec<MapGuess>,
    vars: HashMap<(usize, VarId), Guess>,
    /// Elements, and whether old ones make way, by name.
    declared: HashMap<String, (u32, bool)>,
}

/// What is known about a map.
struct MapGuess {
    name: String,
    /// Whether it has keys, from its first use.
    keyed: Option<bool>,
    key: Option<Guess>,
    value: Option<ValueGuess>,
}

/// One round over the script.
struct Checker<'a> {
    env: &'a Env<'a>,
    options: &'a Options,
    settings: &'a Settings,
    types: &'a mut Types,
    diagnostics: Vec<Diagnostic>,
    /// Variables without a type: most often because of another mistake.
    unresolved: Vec<Diagnostic>,
    strings: Vec<String>,
    /// A type was widened in this round.
    changed: bool,
    /// The action that is being checked.
    action: Scope<'a>,
}

/// Where in an action the checker is.
#[derive(Default)]
struct Scope<'a> {
    index: usize,
    group: Option<&'a Group<'a>>,
    /// Variables by name, innermost block last.
    blocks: Vec<HashMap<String, VarId>>,
    vars: Vec<Declared>,
    loops: usize,
    /// How often what is being checked will be written out, by `unroll`.
    copies: i64,
    /// Inside `sizeof`, where values do not matter.
    only_type: bool,
}

/// A variable of the action.
struct Declared {
    name: String,
    span: Span,
    /// Its type was written down.
    fixed: bool,
    /// Whether something was assigned to it so far.
    assigned: bool,
    /// Whether it was read so far.
    used: bool,
    /// The whole `let` statement that declares it.
    declaration: Option<Span>,
}

impl<'a> Checker<'a> {
    fn new(
        env: &'a Env<'a>,
        options: &'a Options,
        settings: &'a Settings,
        types: &'a mut Types,
    ) -> Checker<'a> {
        Checker {
            env,
            options,
            settings,
            types,
            diagnostics: Vec::new(),
            unresolved: Vec::new(),
            strings: Vec::new(),
            changed: false,
            action: Scope::default(),
        }
    }

    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::error(span, message));
    }

    fn warn(&mut self, span: Span, message: impl Into<String>) {
        self.diagnostics.push(Diagnostic::warning(span, message));
    }

    /// The number of a fixed text.
    fn string(&mut self, text: &str) -> usize {
        match self.strings.iter().position(|known| known == text) {
            Some(at) => at,
            None => {
                self.strings.push(text.to_string());
                self.strings.len() - 1
            }
        }
    }

    fn group(&mut self, index: usize, group: &'a Group<'a>) -> tree::Action {
        self.action = Scope { index, group: Some(group), copies: 1, ..Scope::default() };
        self.action.blocks.push(HashMap::new());
        self.warn_of_unreachable(&group.probe.body);
        let predicate = group.probe.predicate.as_ref().map(|predicate| self.condition(predicate));
        let body = self.block_contents(&group.probe.body);
        let declared = std::mem::take(&mut self.action.vars);
        let vars = declared.iter().enumerate().map(|(var, declared)| {
            let guess = self.types.vars.get(&(index, var));
            if let (false, Some(declaration)) = (declared.assigned, declared.declaration) {
                let message = format!("Variable {} was never assigned to.", declared.name);
                self.diagnostics.push(Diagnostic::warning(declaration, message));
            }
            if guess.is_none() && declared.used {
                let message = "Could not resolve the type of this variable";
                self.unresolved.push(
                    Diagnostic::error(declared.span, message)
                        .help(format!("assign something to {}", declared.name)),
                );
            }
            tree::Variable { ty: guess.map_or(crate::types::Type::I64, |guess| guess.ty.clone()) }
        });
        let vars = vars.collect();
        let first = group.probe.attach_points.first().map_or(group.probe.span, |point| point.span);
        let span = group.probe.attach_points.last().map_or(first, |last| first.to(last.span));
        tree::Action { targets: group.targets.clone(), predicate, body, vars, span }
    }

    /// The context of the action's programs.
    fn context(&self) -> Context {
        self.action.group.map_or(Context::None, |group| group.context)
    }

    fn finish(mut self) -> (Script, Vec<Diagnostic>, bool) {
        let maps = self.types.maps.iter().map(|map| {
            let (max_entries, lru) = self
                .types
                .declared
                .get(&map.name)
                .copied()
                .unwrap_or((self.settings.max_map_keys, false));
            tree::Map {
                name: map.name.clone(),
                key: map.key.as_ref().map(|key| key.ty.clone()),
                value: match &map.value {
                    Some(ValueGuess::Plain(guess)) => {
                        crate::plan::MapValue::Plain(guess.ty.clone())
                    }
                    Some(ValueGuess::Aggregate(value)) => value.clone(),
                    None => crate::plan::MapValue::Plain(crate::types::Type::I64),
                },
                max_entries,
                lru,
            }
        });
        if !self.diagnostics.iter().any(|found| found.severity == Severity::Error) {
            self.diagnostics.append(&mut self.unresolved);
        }
        let script = Script { maps: maps.collect(), actions: Vec::new(), strings: self.strings };
        (script, self.diagnostics, self.changed)
    }
}
