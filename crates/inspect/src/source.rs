//! Functions and lines of the source, from a program's types.

use bombus_btf::{Btf, Linkage, Type, TypeId};
use bombus_kernel::inspect::CodeLine;
use serde_json::{Map, Value};

/// Types that refer to each other more deeply than this are not C.
const DEPTH: usize = 64;
/// Longest prototype that bpftool prints.
const LONGEST: usize = 1023;

/// A type as bpftool spells it, a function with its arguments: `int handle(void * ctx)`. Empty when
/// it has no such form.
pub fn prototype(btf: &Btf, id: u32) -> String {
    let mut text = String::new();
    match spell(btf, TypeId(id), &mut text, DEPTH) {
        Some(()) if text.len() <= LONGEST => text,
        _ => String::new(),
    }
}

fn spell(btf: &Btf, id: TypeId, text: &mut String, depth: usize) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    if id == TypeId::VOID {
        text.push_str("void ");
        return Some(());
    }
    let mut words = |before: &str, name: &str| {
        text.push_str(before);
        text.push_str(name);
        text.push(' ');
    };
    match btf.ty(id)? {
        Type::Int(int) => words("", int.name),
        Type::Typedef(name, _) | Type::Float(name, _) => words("", name),
        Type::Struct(composite) => words("struct ", composite.name),
        Type::Union(composite) => words("union ", composite.name),
        Type::Enum(enumeration) | Type::Enum64(enumeration) => words("enum ", enumeration.name),
        Type::Fwd { name, union } => words(if union { "union " } else { "struct " }, name),
        Type::Array { element, len, .. } => {
            spell(btf, element, text, depth)?;
            text.push_str(&format!("[{len}]"));
        }
        Type::Ptr(to) => {
            spell(btf, to, text, depth)?;
            text.push_str("* ");
        }
        Type::Volatile(to) => {
            text.push_str("volatile ");
            spell(btf, to, text, depth)?;
        }
        Type::Const(to) => {
            text.push_str("const ");
            spell(btf, to, text, depth)?;
        }
        Type::Restrict(to) => {
            text.push_str("restrict ");
            spell(btf, to, text, depth)?;
        }
        Type::FuncProto { .. } => function(btf, id, "", text, depth)?,
        Type::Func { name, proto, .. } => function(btf, proto, name, text, depth)?,
        Type::Var { name, ty, linkage } => {
            if linkage == Linkage::Static {
                text.push_str("static ");
            }
            spell(btf, ty, text, depth)?;
            text.push_str(&format!(" {name}"));
        }
        Type::Datasec { name, .. } => text.push_str(&format!("section (\"{name}\") ")),
        Type::DeclTag { .. } | Type::TypeTag(..) => return None,
    }
    Some(())
}

fn function(btf: &Btf, proto: TypeId, name: &str, text: &mut String, depth: usize) -> Option<()> {
    let Type::FuncProto { ret, params } = btf.ty(proto)? else { return None };
    spell(btf, ret, text, depth)?;
    text.push_str(name);
    text.push('(');
    for (index, param) in params.iter().enumerate() {
        if index != 0 {
            text.push_str(", ");
        }
        if param.ty == TypeId::VOID {
            text.push_str("...");
            continue;
        }
        spell(btf, param.ty, text, depth)?;
        if !param.name.is_empty() {
            text.push_str(param.name);
        } else if text.ends_with(' ') {
            text.pop();
        }
    }
    text.push(')');
    Some(())
}

/// A line of the source with its place.
pub(crate) struct Line<'a> {
    pub(crate) text: std::borrow::Cow<'a, str>,
    file: std::borrow::Cow<'a, str>,
    line: u32,
    column: u32,
}

impl<'a> Line<'a> {
    pub(crate) fn new(btf: &'a Btf, line: &CodeLine) -> Option<Line<'a>> {
        let string = |offset| btf.string(offset).map(String::from_utf8_lossy);
        let text = match string(line.text)? {
            std::borrow::Cow::Borrowed(text) => text.trim_ascii_start().into(),
            std::borrow::Cow::Owned(text) => text.trim_ascii_start().to_owned().into(),
        };
        let file = string(line.file).unwrap_or_default();
        Some(Line { text, file, line: line.line, column: line.column })
    }

    /// The line above its instructions.
    pub(crate) fn to_text(&self, place: bool) -> String {
        let Line { text, file, line, column } = self;
        match place {
            true => format!("; {text} [file:{file} line_num:{line} line_col:{column}]\n"),
            false => format!("; {text}\n"),
        }
    }

    pub(crate) fn add_to(&self, object: &mut Map<String, Value>, place: bool) {
        object.insert("src".into(), (&*self.text).into());
        if place {
            object.insert("file".into(), (&*self.file).into());
            if self.line != 0 {
                object.insert("line_num".into(), self.line.into());
            }
            if self.column != 0 {
                object.insert("line_col".into(), self.column.into());
            }
        }
    }

    /// The line in a box of a graph.
    pub(crate) fn to_label(&self, place: bool) -> String {
        let mut label = String::new();
        if self.text.is_empty() {
            return label;
        }
        if place {
            let short = shortened(&self.file);
            let dots = if short.len() < self.file.len() { "..." } else { "" };
            label += &format!(
                "; [{dots}{} line:{} col:{}]\\l\\\n",
                escaped(short),
                self.line,
                self.column
            );
        }
        label + &format!("; {}\\l\\\n", escaped(&self.text))
    }
}

/// What means something in a label of the DOT language.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '{' | '}' | '<' | '>' | '|' | ' ') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The end of a path, from a slash on, in at most 32 bytes where there is one.
fn shortened(path: &str) -> &str {
    const LONGEST: usize = 32;
    let Some(start) = path.len().checked_sub(LONGEST).filter(|&start| start != 0) else {
        return path;
    };
    let slash = |at: usize| path.as_bytes()[at] == b'/';
    match (start..path.len()).find(|&at| slash(at)) {
        // Three dots would be longer.
        Some(at) if at < 3 => path,
        Some(at) => &path[at..],
        None => path.rfind('/').map_or(path, |at| &path[at..]),
    }
}
