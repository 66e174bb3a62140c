//! Where the verifier's code can be made wrong, and how: an operator that becomes another. The text
//! is that of rustfmt, which puts spaces around operators with two operands.

use std::collections::HashSet;
use std::ops::Range;

/// A place in a file, and what stands there instead.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// From 1.
    pub(super) line: usize,
    /// What the line says.
    pub(super) text: String,
    /// What the operator is, and what it becomes.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// Which one of its kind in lines that say so, from 1.
    nth: usize,
    /// Where the operator is, in bytes of the line.
    operator: Range<usize>,
    /// With its operands; methods alone, whose receiver stays where it is.
    whole: Range<usize>,
}

impl Site {
    /// The change, in words.
    pub(super) fn change(&self) -> String {
        let name = |text: &str| text.trim_matches([' ', '.', '(']).to_owned();
        let nth = if self.nth > 1 { format!(" #{}", self.nth) } else { String::new() };
        format!("{} -> {}{nth}", name(self.from), name(self.to))
    }
}

/// Operators, how strongly they bind, and what they become.
const OPERATORS: &[(&str, u8, &str)] = &[
    (" || ", 1, " && "),
    (" && ", 2, " || "),
    (" == ", COMPARES, " != "),
    (" != ", COMPARES, " == "),
    (" <= ", COMPARES, " < "),
    (" >= ", COMPARES, " > "),
    (" < ", COMPARES, " <= "),
    (" > ", COMPARES, " >= "),
    (" | ", 4, " & "),
    (" ^ ", 5, " | "),
    (" & ", 6, " | "),
    (" + ", 8, " - "),
    (" - ", 8, " + "),
];
/// How strongly comparisons bind; what binds more strongly computes.
const COMPARES: u8 = 3;
/// What ends an operand as well.
const ENDS: &[(&str, u8)] =
    &[(" = ", 0), (": ", 0), (" =>", 0), (" << ", 7), (" >> ", 7), (" * ", 9)];
/// Words that an expression begins behind.
const KEYWORDS: [&str; 7] = ["if ", "while ", "return ", "match ", "in ", "else ", "let "];
/// Methods of words, which take another word, and what they become.
const METHODS: &[(&str, &str)] = &[
    (".lt(", "le"),
    (".le(", "lt"),
    (".slt(", "sle"),
    (".sle(", "slt"),
    (".eq(", "ne"),
    (".min(", "max"),
    (".max(", "min"),
    ("T::select(", "swapped"),
    ("T::Half::select(", "swapped"),
];
/// Lines that compute nothing.
const SKIPPED: [&str; 8] = ["//", "use ", "fn ", "pub fn", "pub(crate) fn", "impl", "#[", "where"];

/// All sites of a file. `deep`: those of arithmetic, too, and of words' methods.
pub(super) fn all(text: &str, deep: bool) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]") {
            break;
        }
        if line.contains('"') || SKIPPED.iter().any(|start| code.starts_with(start)) {
            continue;
        }
        let mut add = |from: &'static str, to, at, whole| {
            let is_alike = |site: &&Site| site.text == code && site.from == from;
            let nth = 1 + sites.iter().filter(is_alike).count();
            let (operator, text) = (at..at + from.len(), code.to_owned());
            sites.push(Site { line: number + 1, text, from, to, nth, operator, whole });
        };
        for &(operator, strength, to) in OPERATORS.iter().filter(|it| deep || it.1 <= COMPARES) {
            for (at, _) in line.match_indices(operator) {
                let whole = left(line, at, strength)..right(line, at + operator.len(), strength);
                if operator == " | " && line[at..].contains(" =>") {
                    continue; // between patterns
                }
                // Where a line begins with an operator its operands are not all there; `move || {` has
                // none at all.
                let has_left =
                    line.get(whole.start..at).is_some_and(|operand| !operand.trim().is_empty());
                if has_left && at + operator.len() < whole.end {
                    add(operator, to, at, whole);
                }
            }
        }
        for &(method, to) in METHODS.iter().filter(|_| deep) {
            for (at, _) in line.match_indices(method) {
                let end = at + method.len();
                if !line[end..].starts_with(')') {
                    add(method, to, at, at..end);
                }
            }
        }
    }
    sites
}

/// How strongly an operator binds that begins here.
fn operator(text: &str) -> Option<(usize, u8)> {
    let known = OPERATORS.iter().map(|(name, strength, _)| (*name, *strength));
    let found = known.chain(ENDS.iter().copied()).find(|(name, _)| text.starts_with(name));
    found.map(|(name, strength)| (name.len(), strength))
}

/// Where the left operand of the operator begins.
fn left(line: &str, at: usize, strength: u8) -> usize {
    let indent = line.len() - line.trim_start().len();
    let mut depth = 0;
    for place in (indent..at).rev() {
        if !line.is_char_boundary(place) {
            continue;
        }
        match line.as_bytes()[place] {
            b')' | b']' | b'}' => depth += 1,
            b'(' | b'[' | b'{' if depth == 0 => {
                let rest = &line[place + 1..];
                return place + 1 + rest.len() - rest.trim_start().len();
            }
            b'(' | b'[' | b'{' => depth -= 1,
            b',' | b';' if depth == 0 => return place + 2,
            // What a closure computes.
            b'|' if depth == 0
                && line[place..].starts_with("| ")
                && !line[..place].ends_with([' ', '|']) =>
            {
                return place + 2;
            }
            _ => {}
        }
        if depth != 0 {
            continue;
        }
        if let Some((length, other)) = operator(&line[place..at + 1])
            && other < strength
        {
            return place + length;
        }
        let is_start = place == indent || line.as_bytes()[place - 1] == b' ';
        if let Some(word) = KEYWORDS.iter().find(|word| line[place..at].starts_with(**word))
            && is_start
        {
            return place + word.len();
        }
        // A line that goes on from the one before.
        if place == indent {
            let goes_on =
                ["&& ", "|| ", "| ", "& ", "+ ", "- ", "!= ", "== ", "<= ", ">= ", "< ", "> "];
            let skipped = goes_on.iter().find(|start| line[indent..].starts_with(**start));
            return indent + skipped.map_or(0, |start| start.len());
        }
    }
    indent
}

/// Where the right operand ends, which begins at `from`.
fn right(line: &str, from: usize, strength: u8) -> usize {
    let mut depth = 0;
    for place in from..line.len() {
        match line.as_bytes()[place] {
            b'(' | b'[' => depth += 1,
            b')' | b']' if depth == 0 => return place,
            b')' | b']' => depth -= 1,
            b'{' | b'}' | b',' | b';' if depth == 0 => return line[..place].trim_end().len(),
            _ => {}
        }
        if depth == 0
            && line.is_char_boundary(place)
            && let Some((_, other)) = operator(&line[place..])
            && other <= strength
        {
            return place;
        }
    }
    line.trim_end().len()
}

/// The text with switches: with each site its number.
pub(super) fn switched(text: &str, sites: &[(usize, &Site)]) -> Result<String, String> {
    let (mut out, mut done) = (String::new(), HashSet::new());
    for (number, line) in text.lines().enumerate() {
        let here: Vec<_> =
            sites.iter().filter(|(_, site)| site.line == number + 1).copied().collect();
        out += &rewritten(line, 0..line.len(), &here, &mut done);
        out.push('\n');
    }
    match sites.iter().find(|(id, _)| !done.contains(id)) {
        Some((_, site)) => Err(format!("{}: {}: not understood", site.text, site.change())),
        None => Ok(out),
    }
}

/// These bytes of the line; operators in the operands of others are switched as well.
fn rewritten(
    line: &str,
    bytes: Range<usize>,
    sites: &[(usize, &Site)],
    done: &mut HashSet<usize>,
) -> String {
    let inside =
        |it: &&(usize, &Site)| bytes.start <= it.1.whole.start && it.1.whole.end <= bytes.end;
    let mut inside: Vec<_> = sites.iter().filter(inside).collect();
    // The outermost first.
    inside.sort_by_key(|(_, site)| (site.whole.start, std::cmp::Reverse(site.whole.end)));
    let (mut out, mut at) = (String::new(), bytes.start);
    for (id, site) in inside {
        if site.whole.start < at {
            continue;
        }
        done.insert(*id);
        out += &line[at..site.whole.start];
        at = site.whole.end;
        let (from, to) = (site.from, site.to);
        out += &match from {
            "T::select(" => format!("crate::mutant::select::<T>({id}, "),
            "T::Half::select(" => format!("crate::mutant::select::<T::Half>({id}, "),
            method if method.starts_with('.') => format!(".word_{}{id}, ", &method[1..]),
            _ => {
                let a = rewritten(line, site.whole.start..site.operator.start, sites, done);
                let b = rewritten(line, site.operator.end..site.whole.end, sites, done);
                let is = format!("crate::mutant::is({id})");
                // (What is cast to a type and then compared with `<` needs the parentheses.)
                format!("(if {is} {{ ({a}){to}{b} }} else {{ ({a}){from}{b} }})")
            }
        };
    }
    out + &line[at..bytes.end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_within_operands_are_switched_too() {
        let text = "    let c = a.min(b) + 1 < 2 && d;\n";
        let sites = all(text, true);
        let numbered: Vec<_> = sites.iter().enumerate().collect();
        let switch = |id, a: &str, to, from, b| {
            format!("(if crate::mutant::is({id}) {{ ({a}) {to} {b} }} else {{ ({a}) {from} {b} }})")
        };
        let plus = switch(2, "a.word_min(3, b)", "-", "+", "1");
        let less = switch(1, &plus, "<=", "<", "2");
        let both = switch(0, &less, "||", "&&", "d");
        assert_eq!(switched(text, &numbered), Ok(format!("    let c = {both};\n")));
    }
}
