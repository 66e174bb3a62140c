//! Wildcards of probe names: `*` stands for any characters, `?` is taken literally.

/// Whether `name` matches `pattern`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            match rest.find(middle) {
                Some(at) => rest = &rest[at + str::len(middle)..],
                None => return false,
            }
        }
    }
    last.map_or(rest.is_empty(), |suffix: &str| rest.ends_with(suffix))
}

/// Whether the text is a pattern and not a plain name.
pub fn is_pattern(text: &str) -> bool {
    text.contains('*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn wildcards() {
        assert!(matches("sys_enter_*", "sys_enter_openat"));
        assert!(matches("*open*", "sys_enter_openat"));
        assert!(matches("openat", "openat"));
        assert!(matches("*", ""));
        assert!(matches("a*b*c", "a1b2bc"));
        assert!(!matches("a*b*c", "acb"));
        assert!(!matches("openat", "openat2"));
        assert!(!matches("ab*ba", "aba"));
    }
}
