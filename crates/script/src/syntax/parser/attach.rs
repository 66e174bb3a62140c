//! Attach points: `tracepoint:syscalls:sys_enter_*`. Their text is not made of tokens: it may hold
//! paths, wildcards, offsets and quoted names.

use super::{Failed, Parsed, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{AttachPart, AttachPoint, Name};
use crate::syntax::provider::Provider;

impl Parser<'_> {
    /// The attach points before a predicate or block, at least one.
    pub(super) fn attach_points(&mut self) -> Parsed<Vec<AttachPoint>> {
        let mut points = vec![self.attach_point()?];
        while self.eat(",") {
            if self.at("/") || self.at("{") {
                break;
            }
            points.push(self.attach_point()?);
        }
        if self.at("/") || self.at("{") {
            return Ok(points);
        }
        if points.last().is_some_and(|point| !is_possible(&point.provider.text)) {
            // Reported already; no probe was meant here, most likely.
            return Err(Failed);
        }
        let unfinished = points
            .last()
            .is_some_and(|point| point.parts.last().is_some_and(|part| part.text.is_empty()));
        self.fail_with_help(
            "`{`",
            if unfinished {
                "a probe is written without spaces: `tracepoint:category:event`"
            } else {
                "what a probe does stands in braces: `BEGIN { ... }`"
            },
        )
    }

    fn attach_point(&mut self) -> Parsed<AttachPoint> {
        let start = self.current.span.start as usize;
        let (colons, end) = self.scan_attach_point(start)?;
        if end == start {
            return self.fail("a probe");
        }
        self.seek(end);
        let span = Span::new(start as u32, end as u32);
        let mut pieces = Vec::with_capacity(colons.len() + 1);
        let mut from = start;
        for to in colons.into_iter().chain([end]) {
            pieces.push(Span::new(from as u32, to as u32));
            from = to + 1;
        }
        let parts = pieces[1..].iter().map(|&piece| self.attach_part(piece)).collect();
        let (name, provider) = self.name_and_provider(pieces[0]);
        self.check_provider(&provider);
        Ok(AttachPoint { id: self.id(), span, name, provider, parts })
    }

    /// Where the colons of an attach point stand, and its end: a brace, a comma, white space, or
    /// the slash of a predicate. After a colon a slash may as well belong to a path, if the
    /// provider takes one.
    fn scan_attach_point(&mut self, start: usize) -> Parsed<(Vec<usize>, usize)> {
        let bytes = self.text.as_bytes();
        let mut colons = Vec::new();
        let mut takes_paths = false;
        let mut offset = start;
        while let Some(&byte) = bytes.get(offset) {
            match byte {
                b'{' | b'}' | b',' | b';' => break,
                b'/' if !takes_paths => break,
                _ if byte.is_ascii_whitespace() => break,
                b':' => {
                    if colons.is_empty() {
                        let provider = &self.text[start..offset];
                        let provider = provider.rsplit('=').next().unwrap_or(provider);
                        takes_paths = matches!(
                            Provider::from_name(provider),
                            None | Some(
                                Provider::Uprobe
                                    | Provider::Uretprobe
                                    | Provider::Usdt
                                    | Provider::Iter
                            )
                        );
                    }
                    colons.push(offset);
                }
                b'"' => offset = self.skip_quotes(offset)?,
                _ => {}
            }
            offset += 1;
        }
        Ok((colons, offset))
    }

    /// The offset of the quote that closes the one at `open`.
    fn skip_quotes(&mut self, open: usize) -> Parsed<usize> {
        let bytes = self.text.as_bytes();
        let mut offset = open + 1;
        while let Some(&byte) = bytes.get(offset) {
            match byte {
                b'"' => return Ok(offset),
                b'\n' => break,
                b'\\' => offset += 1,
                _ => {}
            }
            offset += 1;
        }
        self.seek(offset.min(bytes.len()));
        let quote = Span::new(open as u32, open as u32 + 1);
        self.fail_with(
            Diagnostic::error(quote, "this name is never closed").help("close it with `\"`"),
        )
    }

    /// A part between colons, without its quotes.
    fn attach_part(&mut self, span: Span) -> AttachPart {
        let raw = self.slice(span);
        let mut text = String::with_capacity(raw.len());
        let mut quoted = false;
        for (index, piece) in split_quotes(raw) {
            if index % 2 == 1 {
                quoted = true;
                // A backslash only keeps the next character from its meaning.
                let mut chars = piece.chars();
                while let Some(c) = chars.next() {
                    text.extend(if c == '\\' { chars.next() } else { Some(c) });
                }
            } else {
                text.push_str(piece);
            }
        }
        AttachPart { text, span, quoted }
    }

    /// Takes `name=provider` apart.
    fn name_and_provider(&self, span: Span) -> (Option<Name>, Name) {
        let text = self.slice(span);
        let named = |span| Name { text: self.slice(span).into(), span };
        match text.find('=') {
            Some(equals) if equals + 1 < text.len() => {
                let equals = span.start + equals as u32;
                (Some(named(Span::new(span.start, equals))), named(Span::new(equals + 1, span.end)))
            }
            _ => (None, named(span)),
        }
    }

    /// Reports a kind of probe that there is not.
    fn check_provider(&mut self, provider: &Name) {
        let text = provider.text.as_str();
        if is_possible(text) {
            return;
        }
        let diagnostic = if text.is_empty() {
            Diagnostic::error(provider.span, "the kind of probe is missing")
                .help("a probe is written `kind:what`, for example `tracepoint:category:event`")
        } else {
            let shown = text.chars().take(40).collect::<String>();
            Diagnostic::error(provider.span, format!("there is no kind of probe `{shown}`"))
                .did_you_mean(text, Provider::names())
        };
        self.report(diagnostic);
    }
}

/// Whether there may be such a kind of probe. Wildcards and positional parameters are for whoever
/// expands them.
fn is_possible(provider: &str) -> bool {
    Provider::from_name(provider).is_some() || provider.contains(['*', '?', '[', '$', '"'])
}

/// Splits at unescaped quotes: what has an odd number stood between quotes.
fn split_quotes(raw: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut escaped = false;
    let mut inside = false;
    raw.split(move |c| {
        let is_quote = c == '"' && !escaped;
        escaped = inside && c == '\\' && !escaped;
        inside ^= is_quote;
        is_quote
    })
    .enumerate()
}
