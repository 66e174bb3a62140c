//! Formats of `printf` and their arguments (bpftrace 0.27, standard library, "printf").

use crate::types::Type;

/// What a conversion can end with; `%` is none.
const LETTERS: &[&str] = &[
    "gr", "rx", "rh", "r", "d", "i", "o", "u", "x", "X", "e", "E", "f", "F", "g", "G", "a", "A",
    "c", "s", "p", "n", "%",
];

/// The conversions of a format, in order: the letters after flags (in the order `-+ #0`, each
/// once), width, precision and length. What does not look like one is text.
fn conversions(format: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        rest = &rest[percent + 1..];
        let mut after = rest;
        for flag in ['-', '+', ' ', '#', '0'] {
            after = after.strip_prefix(flag).unwrap_or(after);
        }
        after = without_number(after);
        if let Some(precision) = after.strip_prefix('.') {
            let number = without_number(precision);
            if number.len() == precision.len() {
                continue;
            }
            after = number;
        }
        after = after.trim_start_matches(['h', 'l', 'L', 'j', 'z', 't']);
        let Some(letters) = LETTERS.iter().find(|letters| after.starts_with(**letters)) else {
            continue;
        };
        rest = &after[letters.len()..];
        if *letters != "%" {
            found.push(*letters);
        }
    }
    found
}

/// What follows a number or a `*`.
fn without_number(text: &str) -> &str {
    text.strip_prefix('*').unwrap_or_else(|| text.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// Whether the arguments fit the format; otherwise why not.
pub(super) fn check(format: &str, args: &[Type]) -> Result<(), String> {
    let conversions = conversions(format);
    if args.len() != conversions.len() {
        let which = if args.len() < conversions.len() { "not enough" } else { "too many" };
        return Err(format!(
            "{which} arguments for format string ({} supplied, {} expected)",
            args.len(),
            conversions.len()
        ));
    }
    for (conversion, ty) in conversions.iter().zip(args) {
        let fits = match *conversion {
            "s" => !matches!(ty, Type::Array { .. } | Type::Struct(_)),
            "d" | "i" | "u" | "o" | "x" | "X" | "c" | "p" | "gr" => {
                matches!(ty, Type::Int { .. } | Type::Bool | Type::Pointer { .. })
            }
            "r" | "rx" | "rh" => matches!(ty, Type::Buf { .. }),
            other => return Err(format!("unsupported format specifier: {other}")),
        };
        // The type of a map may become known in a later round only.
        if !fits && *ty != Type::None {
            return Err(format!("unsupported format specifier for type '{ty}': {conversion}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_found() {
        assert_eq!(conversions("%d %% %-16s|%08llx %rx%%"), ["d", "s", "x", "rx"]);
        assert_eq!(conversions("100%"), [""; 0]);
        assert_eq!(conversions("%z\n %-+d %+-d %.d %.3f %*lgr %g%"), ["d", "f", "gr", "g"]);
    }

    #[test]
    fn arguments_must_fit() {
        assert_eq!(check("%d\n", &[Type::U64]), Ok(()));
        let error = check("%d", &[Type::Str { size: 2 }]).unwrap_err();
        assert_eq!(error, "unsupported format specifier for type 'string[2]': d");
        let error = check("%d", &[]).unwrap_err();
        assert_eq!(error, "not enough arguments for format string (0 supplied, 1 expected)");
    }
}
