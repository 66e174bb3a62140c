//! What holds of the parser for any text: it ends, every place that it names is in the text, every
//! node lies inside its parent and has a number of its own, and what parses without errors prints
//! as source with the same tree.

use std::collections::HashSet;

use bombus_script::diagnostic::{Diagnostic, Source, Span};
use bombus_script::render::render;
use bombus_script::syntax::ast::{
    AttachPoint, Block, Expr, Function, Macro, MapDecl, NodeId, Probe, Program, Stmt, TypeRef,
};
use bombus_script::syntax::visit::{self, Visitor};
use bombus_script::syntax::{dump, parse, print};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

/// Looks at every node on the way down.
struct Nesting {
    around: Span,
    seen: HashSet<NodeId>,
    node_count: u32,
}

impl Nesting {
    fn check(program: &Program, len: usize) {
        let around = Span::new(0, len as u32);
        let mut nesting = Nesting { around, seen: HashSet::new(), node_count: program.node_count };
        visit::walk_program(&mut nesting, program);
    }

    fn node(&mut self, id: NodeId, span: Span, children: impl FnOnce(&mut Self)) {
        assert!(span.start <= span.end, "{span:?} ends before it starts");
        assert!(self.around.contains(span), "{span:?} is not inside of {:?}", self.around);
        assert!(id.0 < self.node_count, "{id:?} is not below {}", self.node_count);
        assert!(self.seen.insert(id), "{id:?} is there twice");
        let outer = std::mem::replace(&mut self.around, span);
        children(self);
        self.around = outer;
    }
}

impl Visitor for Nesting {
    fn probe(&mut self, probe: &Probe) {
        self.node(probe.id, probe.span, |nesting| visit::walk_probe(nesting, probe));
    }
    fn attach_point(&mut self, point: &AttachPoint) {
        self.node(point.id, point.span, |nesting| {
            let names = point.name.iter().chain([&point.provider]);
            let spans = names.map(|name| name.span);
            for span in spans.chain(point.parts.iter().map(|part| part.span)) {
                assert!(nesting.around.contains(span));
            }
        });
    }
    fn macro_definition(&mut self, definition: &Macro) {
        self.node(definition.id, definition.span, |nesting| nesting.block(&definition.body));
    }
    fn function(&mut self, function: &Function) {
        self.node(function.id, function.span, |nesting| visit::walk_function(nesting, function));
    }
    fn map_decl(&mut self, decl: &MapDecl) {
        self.node(decl.id, decl.span, |_| ());
    }
    fn block(&mut self, block: &Block) {
        self.node(block.id, block.span, |nesting| visit::walk_block(nesting, block));
    }
    fn stmt(&mut self, stmt: &Stmt) {
        self.node(stmt.id, stmt.span, |nesting| visit::walk_stmt(nesting, stmt));
    }
    fn expr(&mut self, expr: &Expr) {
        self.node(expr.id, expr.span, |nesting| visit::walk_expr(nesting, expr));
    }
    fn type_ref(&mut self, ty: &TypeRef) {
        self.node(ty.id, ty.span, |nesting| visit::walk_type_ref(nesting, ty));
    }
}

/// Everything that must hold of a text.
fn check(text: &str) {
    let source = Source::new("stdin", text);
    let (program, diagnostics) = parse(&source);
    for Diagnostic { span, related, message, .. } in &diagnostics {
        for span in related.iter().map(|related| &related.0).chain([span]) {
            let range = span.start as usize..span.end as usize;
            assert!(text.get(range).is_some(), "{span:?} of `{message}` is not in the text");
        }
    }
    Nesting::check(&program, text.len());
    render(&source, &diagnostics, true);
    if diagnostics.is_empty() {
        let printed = print(&program);
        let (again, diagnostics) = parse(&Source::new("printed", printed.as_str()));
        let messages = render(&Source::new("printed", printed.as_str()), &diagnostics, false);
        assert!(diagnostics.is_empty(), "{text}\nprinted as\n{printed}\n{messages}");
        assert_eq!(dump(&program, false), dump(&again, false), "{text}\nprinted as\n{printed}");
    }
}

/// Pieces of scripts, to make new ones of.
const PIECES: &[&str] = &[
    "BEGIN",
    "END",
    "tracepoint:a:b",
    "uprobe:/bin/x:f",
    "kprobe:f*",
    "config",
    "import",
    "macro",
    "fn",
    "let",
    "struct",
    "if",
    "else",
    "while",
    "for",
    "unroll",
    "break",
    "continue",
    "return",
    "sizeof",
    "offsetof",
    "typeof",
    "typeinfo",
    "comptime",
    "true",
    "int32",
    "string",
    "x",
    "pid",
    "count",
    "T",
    "_",
    "$x",
    "@",
    "@m",
    "$1",
    "$#",
    "1",
    "0x1f",
    "10ms",
    "1e3",
    "08",
    "\"s\"",
    "\"\\x\"",
    "\"",
    "'",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    ":",
    "?",
    ".",
    "=",
    "<",
    ">",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "^",
    "!",
    "~",
    "==",
    "!=",
    "<=",
    ">=",
    "&&",
    "||",
    "<<",
    ">>",
    "++",
    "--",
    "->",
    "+=",
    "<<=",
    "..",
    "//",
    "/*",
    "*/",
    "#include <x>",
    "\n",
    "\n",
    "$",
    "\\",
    "\u{201c}",
    "\u{e4}",
    "\0",
];

/// The scripts of the other tests.
fn seeds() -> Vec<String> {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/syntax");
    let mut seeds: Vec<String> = std::fs::read_dir(dir)
        .expect("the test files")
        .map(|entry| std::fs::read_to_string(entry.expect("an entry").path()).expect("a script"))
        .collect();
    seeds.sort();
    seeds
}

/// A text with some of its characters replaced by pieces or nothing.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..8usize, prop::sample::select(PIECES));
    let edits = prop::collection::vec(edit, 1..6);
    (prop::sample::select(seeds()), edits).prop_map(|(seed, edits)| {
        let mut chars: Vec<String> = seed.chars().map(String::from).collect();
        for (place, removed, piece) in edits {
            let start = place.index(chars.len() + 1);
            let end = (start + removed).min(chars.len());
            chars.splice(start..end, [piece.to_string()]);
        }
        chars.concat()
    })
}

/// Small expressions of every form, put together without regard to precedence. Bare names that could
/// be types are left out: in `(x) & (y)` they are.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "$x",
        "@m",
        "@m[1, 2]",
        "1",
        "\"s\"",
        "pid",
        "X",
        "$1",
        "$#",
        "f()",
        "(a = 1, b = 2)",
        "()",
        "(1,)",
        "true",
        "if 1 { 2 }",
        "{ $x = 1; 2 }",
        "sizeof(int32)",
        "sizeof((x[1]))",
    ]);
    let ops = prop::sample::select(vec![
        "+", "-", "*", "/", "%", "&", "|", "^", "&&", "||", "==", "!=", "<", ">=", "<<", ">>", "?:",
    ]);
    let prefixes = prop::sample::select(vec![
        "-",
        "!",
        "~",
        "*",
        "comptime ",
        "(int32)",
        "(T)",
        "(struct s *)",
        "(typeof($x))",
    ]);
    let suffixes = prop::sample::select(vec![".f", "->f", ".0", "[1]", "[$x]"]);
    leaf.prop_map(String::from).prop_recursive(6, 40, 3, move |inner| {
        prop_oneof![
            (inner.clone(), ops.clone(), inner.clone())
                .prop_map(|(left, op, right)| format!("({left}) {op} ({right})")),
            (prefixes.clone(), inner.clone()).prop_map(|(op, inner)| format!("{op}({inner})")),
            (inner.clone(), suffixes.clone()).prop_map(|(inner, op)| format!("({inner}){op}")),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| format!("({a}) ? {b} : {c}")),
            inner.clone().prop_map(|inner| format!("f({inner}, {inner})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("if ({a}) {{ {b} }} else {{ {a}; }}")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_text(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn any_pieces(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
        spaced in any::<bool>(),
    ) {
        let separator = if spaced { " " } else { "" };
        check(&pieces.join(separator));
        check(&format!("BEGIN {{ {} }}", pieces.join(separator)));
    }

    #[test]
    fn mutated_scripts(text in mutated()) {
        check(&text);
    }

    #[test]
    fn expressions_print_as_they_parse(expr in expressions()) {
        let text = format!("t:a:b /({expr})/ {{ $x = {expr}; {expr}; @m[{expr}] = 1; }}");
        let (_, diagnostics) = parse(&Source::new("stdin", text.as_str()));
        prop_assert!(diagnostics.is_empty(), "{}", render(&Source::new("stdin", text), &diagnostics, false));
        check(&text);
    }
}

#[test]
fn quotes_from_word_processors_are_explained() {
    let (_, diagnostics) = parse(&Source::new("stdin", "BEGIN { printf(\u{201c}x\u{201d}); }"));
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].help[0].contains("straight quotes"), "{diagnostics:?}");
}

/// Deep and long input of every kind, on a small stack and without quadratic time.
#[test]
fn extremes_end_soon() {
    let open_and_close = |open: &str, close: &str| {
        format!("BEGIN {{ $x = {}1{}; }}", open.repeat(20_000), close.repeat(20_000))
    };
    let mut texts: Vec<String> = [
        "(",
        "[",
        "{",
        "-",
        "!",
        "*",
        "@a[",
        "f(",
        "(int32)",
        "1 + ",
        "1 ? ",
        "1 ? 2 : ",
        "1 ?: ",
        "if 1 {",
        "if 1 {} else ",
        "comptime ",
        "sizeof(",
        "$x.",
        "$x[",
        "(x = ",
        "(1, ",
        "while 1 {",
        "for $x : @m {",
        "unroll(1) {",
        "&",
        "++",
        "typeof(",
        "(typeof(",
        "(a*",
        "(struct a*",
        "a[1]",
        "struct a\n",
        "struct a (",
        "/*",
        "\"",
        "'",
        "#x\n",
        "BEGIN {",
        "t:a:b,",
        "a:b ",
        "; ",
        "}",
        "let @m = ",
        "config = {",
        "macro f(",
        "$x ",
        "/ {",
        "1 / ",
        "0_",
        "\\",
        "(a = 1, ",
        "offsetof(a, ",
        "a.b.",
        "(int8[",
        "int8[1]",
        "BEGIN /",
        "import \"",
        "fn f($a: ",
    ]
    .iter()
    .flat_map(|piece| {
        let many = piece.repeat(20_000);
        [format!("BEGIN {{ {many} }}"), format!("BEGIN {{ $x = {many}1; }}"), many]
    })
    .collect();
    texts.extend(
        [("(", ")"), ("[", "]"), ("{", "}"), ("@m[", "]"), ("f(", ")"), ("((", ",1),2)")]
            .map(|(open, close)| open_and_close(open, close)),
    );
    let postfix = [".f", "[1]", "++", "->f", ".0", " + 1", " || 1", "[1] + 1", ").f"];
    texts.extend(postfix.map(|suffix| format!("BEGIN {{ $x{}; }}", suffix.repeat(20_000))));
    texts.push(format!("BEGIN {{ $x = (int32{})1; }}", "*".repeat(20_000)));
    // A tree that gets its height from left operands that are themselves long chains.
    let chain =
        (0..200).fold("1".to_string(), |inner, _| format!("({inner}{})", " + 1".repeat(200)));
    texts.push(format!("BEGIN {{ $x = {chain}; }}"));

    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        for text in texts {
            let before = std::time::Instant::now();
            let source = Source::new("stdin", text);
            let (program, diagnostics) = parse(&source);
            Nesting::check(&program, source.text.len());
            dump(&program, true);
            print(&program);
            render(&source, &diagnostics[..diagnostics.len().min(1)], false);
            let shown: String = source.text.chars().take(40).collect();
            assert!(before.elapsed().as_secs() < 3, "{shown} takes {:?}", before.elapsed());
        }
    });
    assert!(thread.expect("a thread").join().is_ok());
}
