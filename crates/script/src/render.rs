//! Diagnostics as text, in rustc's look. Pure: where it is shown is the caller's.

use std::fmt::Write;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Severity, Source, Span};

/// How many messages are shown; the rest is counted.
const MAX_SHOWN: usize = 20;

/// The messages, each with the lines it speaks of, in the order given; with colours (ANSI escapes)
/// when asked. Ends with a line break unless there are none.
pub fn render(source: &Source, diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(MAX_SHOWN) {
        text += &renderer.render(&[group(source, diagnostic)]);
        text += "\n\n";
    }
    if let Some(more) = diagnostics.len().checked_sub(MAX_SHOWN).filter(|&more| more > 0) {
        let _ = write!(text, "... and {more} more\n\n");
    }
    text.pop();
    text
}

fn group<'a>(source: &'a Source, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let primary = AnnotationKind::Primary
        .span(range(source, diagnostic.span))
        .label(diagnostic.label.as_deref());
    let related = diagnostic.related.iter().map(|(span, text)| {
        AnnotationKind::Context.span(range(source, *span)).label(text.as_str())
    });
    let snippet = Snippet::source(source.text.as_str())
        .path(source.name.as_str())
        .annotation(primary)
        .annotations(related);
    level
        .primary_title(diagnostic.message.as_str())
        .element(snippet)
        .elements(diagnostic.notes.iter().map(|note| Level::NOTE.message(note.as_str())))
        .elements(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str())))
}

/// A span as a range that certainly lies in the text, on character boundaries.
fn range(source: &Source, span: Span) -> Range<usize> {
    let start = source.text.floor_char_boundary(span.start as usize);
    let end = source.text.floor_char_boundary(span.end as usize);
    start..end.max(start)
}
