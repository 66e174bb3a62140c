//! Formats of `printf` and their arguments (bpftrace 0.27, standard library, "printf").

use crate::types::Type;

/// The conversions of a format, in order: the letters after flags, width, precision and length.
fn conversions(format: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = format;
    while let Some(percent) = rest.find('%') {
        rest = &rest[percent + 1..];
        let flags = rest.find(|c: char| !"-+ #0123456789.*hlLjzt".contains(c));
        let Some(at) = flags else { break };
        rest = &rest[at..];
        let two = ["rx", "rh", "gr"].into_iter().find(|two| rest.starts_with(two));
        let letter: String = match two {
            Some(two) => two.to_string(),
            None => rest.chars().take(1).collect(),
        };
        rest = &rest[letter.len()..];
        if letter != "%" {
            found.push(letter);
        }
    }
    found
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
        let fits = match conversion.as_str() {
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
