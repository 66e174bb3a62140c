//! What a log has to hold: text, with regular expressions between `{{` and `}}`.

use regex::bytes::{Regex, RegexBuilder};

/// One expectation.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// As it was written.
    pub(super) text: String,
    /// It must not be there.
    pub(super) negative: bool,
    expression: Regex,
}

impl Pattern {
    pub(super) fn new(text: &str, negative: bool) -> Result<Pattern, String> {
        let mut builder = RegexBuilder::new(&expression(text)?);
        let expression = builder.multi_line(true).unicode(false).build();
        let expression = expression.map_err(|error| format!("{text}: {error}"))?;
        Ok(Pattern { text: text.to_owned(), negative, expression })
    }

    /// Text that holds no expressions.
    pub(super) fn verbatim(text: &str) -> Result<Pattern, String> {
        let expression = Regex::new(&regex::escape(text)).map_err(|error| error.to_string())?;
        Ok(Pattern { text: text.to_owned(), negative: false, expression })
    }

    fn find(&self, log: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = self.expression.find_at(log, from)?;
        Some((found.start(), found.end()))
    }
}

/// The whole as one expression.
fn expression(text: &str) -> Result<String, String> {
    let mut expression = String::new();
    let mut rest = text;
    while let Some((verbatim, after)) = rest.split_once("{{") {
        let (inside, after) = after.split_once("}}").ok_or(format!("{text} has no }}}}"))?;
        expression += &regex::escape(verbatim);
        // POSIX expressions with `REG_NEWLINE`: no set but one that names it holds the line's end.
        expression += &format!("(?:{})", inside.replace("[^", "[^\\n"));
        rest = after;
    }
    Ok(expression + &regex::escape(rest))
}

/// The first expectation that a log does not meet. Those that have to be there come one after the
/// other; what must not be there is looked for between those around it (`validate_msgs`).
pub(super) fn first_unmet<'p>(log: &str, patterns: &'p [Pattern]) -> Option<&'p Pattern> {
    let log = log.as_bytes();
    let mut from = 0;
    let mut found = Vec::new();
    for pattern in patterns {
        if pattern.negative {
            found.push(None);
            continue;
        }
        let place = pattern.find(log, from);
        from = place.map_or(from, |(_, end)| end);
        found.push(place);
    }
    let mut from = 0;
    for (index, pattern) in patterns.iter().enumerate() {
        match (pattern.negative, found[index]) {
            (false, None) => return Some(pattern),
            (false, Some((_, end))) => from = end,
            (true, _) => {
                let later = patterns.iter().zip(&found).skip(index);
                let next = later.filter(|(later, _)| !later.negative).find_map(|(_, place)| *place);
                let until = next.map_or(log.len(), |(start, _)| start);
                if pattern.find(log, from).is_some_and(|(_, end)| end <= until) {
                    return Some(pattern);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Pattern, first_unmet};

    fn unmet(log: &str, patterns: &[(&str, bool)]) -> Option<String> {
        let patterns: Vec<Pattern> = patterns
            .iter()
            .map(|(text, negative)| Pattern::new(text, *negative).unwrap())
            .collect();
        first_unmet(log, &patterns).map(|pattern| pattern.text.clone())
    }

    #[test]
    fn one_after_the_other() {
        assert_eq!(unmet("a b", &[("a", false), ("b", false)]), None);
        assert_eq!(unmet("a b", &[("b", false), ("a", false)]).unwrap(), "a");
        assert_eq!(unmet("1 (x)", &[("{{[0-9]+}} (x)", false)]), None);
        assert_eq!(unmet("ab\n2", &[("a{{[^,]*}}2", false)]).unwrap(), "a{{[^,]*}}2");
        assert!(Pattern::new("{{a", false).is_err());
    }

    #[test]
    fn what_must_not_be_between() {
        let between = [("a", false), ("x", true), ("b", false)];
        assert_eq!(unmet("x a b x", &between), None);
        assert_eq!(unmet("a x b", &between).unwrap(), "x");
        assert_eq!(unmet("a b x", &[("a", false), ("x", true)]).unwrap(), "x");
    }
}
