//! What literals are worth: integers with prefixes, exponents and units, and the escapes of
//! strings.

/// Why a literal is not one, and which bytes of it are to blame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct LiteralError {
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// From here ...
    pub(super) start: usize,
    /// ... to here, in the literal's text.
    pub(super) end: usize,
}

/// Suffixes of integers with what they multiply by and the largest value that they allow (C's types
/// have a range; durations become nanoseconds).
const SUFFIXES: [(&str, u64, u64); 13] = [
    ("", 1, u64::MAX),
    ("u", 1, u32::MAX as u64),
    ("ul", 1, u64::MAX),
    ("ull", 1, u64::MAX),
    ("l", 1, i64::MAX as u64),
    ("ll", 1, i64::MAX as u64),
    ("ns", 1, u64::MAX),
    ("us", 1_000, u64::MAX),
    ("ms", 1_000_000, u64::MAX),
    ("s", 1_000_000_000, u64::MAX),
    ("m", 60_000_000_000, u64::MAX),
    ("h", 3_600_000_000_000, u64::MAX),
    ("d", 86_400_000_000_000, u64::MAX),
];

/// The value of an integer literal: `42`, `0x2a`, `052`, `1_000`, `1e6`, `10ms`, `7UL`.
pub(super) fn int(text: &str) -> Result<u64, LiteralError> {
    let error = |start, end, message: String| Err(LiteralError { message, help: None, start, end });
    let too_large = || error(0, text.len(), format!("`{text}` does not fit in 64 bits"));

    let (radix, prefix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, 2),
        [b'0', b'b' | b'B', ..] => {
            return Err(LiteralError {
                message: "there are no binary literals".into(),
                help: Some("write the number in hexadecimal: `0x...`".into()),
                start: 0,
                end: text.len(),
            });
        }
        [b'0', b'0'..=b'9' | b'_', ..] => (8, 1),
        _ => (10, 0),
    };
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix.max(10)) || *byte == b'_';
    let digits = text.as_bytes()[prefix..].iter().take_while(|byte| is_digit(byte)).count();
    let mut end = prefix + digits;
    if text[prefix..end].bytes().all(|byte| byte == b'_') {
        return error(0, text.len(), format!("`{text}` has no digits"));
    }
    if text[..end].ends_with('_') {
        return error(end - 1, end, "a number cannot end with `_`".into());
    }
    let plain = |part: &str| part.replace('_', "");
    let mut value = match u64::from_str_radix(&plain(&text[prefix..end]), radix) {
        Ok(value) => value,
        Err(_) if radix == 8 && text[prefix..end].contains(['8', '9']) => {
            return Err(LiteralError {
                message: format!("`{text}` is octal, and has a digit beyond 7"),
                help: Some("drop the leading `0` if the number is decimal".into()),
                start: 0,
                end: text.len(),
            });
        }
        Err(_) => return too_large(),
    };

    let rest = &text[end..];
    if let (10, Some(exponent)) = (radix, rest.strip_prefix(['e', 'E'])) {
        let digits = exponent.bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count();
        let exponent = plain(&exponent[..digits]);
        if exponent.is_empty() {
            return error(end, end + 1, "the exponent is missing".into());
        }
        if !(1..=9).contains(&value) {
            return error(0, end, "the number before an exponent must be 1 to 9".into());
        }
        end += 1 + digits;
        if text[..end].ends_with('_') {
            return error(end - 1, end, "a number cannot end with `_`".into());
        }
        let scaled = exponent
            .parse()
            .ok()
            .and_then(|exponent| 10u64.checked_pow(exponent))
            .and_then(|power| value.checked_mul(power));
        match scaled {
            Some(scaled) => value = scaled,
            None => return too_large(),
        }
    }

    let suffix = &text[end..];
    // Only C's suffixes may be written in capitals.
    let is_c = suffix.bytes().all(|byte| b"uUlL".contains(&byte));
    let known = if is_c { suffix.to_ascii_lowercase() } else { suffix.to_string() };
    let Some(&(_, factor, max)) = SUFFIXES.iter().find(|row| row.0 == known) else {
        return Err(LiteralError {
            message: format!("`{suffix}` is not a suffix of integers"),
            help: Some(
                "durations end in ns, us, ms, s, m, h, d; C's suffixes are u, l, ul, ull".into(),
            ),
            start: end,
            end: text.len(),
        });
    };
    if value > max {
        return error(0, text.len(), format!("`{text}` is larger than its type allows: {max}"));
    }
    match value.checked_mul(factor) {
        Some(value) => Ok(value),
        None => too_large(),
    }
}

/// The bytes of a string literal, given what stands between its quotes, and what is wrong with its
/// escapes; those stay in as written.
pub(super) fn string(inner: &str) -> (Vec<u8>, Vec<LiteralError>) {
    let mut value = Vec::with_capacity(inner.len());
    let mut errors = Vec::new();
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        value.extend_from_slice(&rest.as_bytes()[..backslash]);
        let start = inner.len() - rest.len() + backslash;
        let escape = &rest[backslash + 1..];
        let (len, result) = unescape(escape);
        match result {
            Ok(byte) => value.push(byte),
            Err(message) => {
                value.extend_from_slice(&rest.as_bytes()[backslash..backslash + 1 + len]);
                errors.push(LiteralError {
                    message,
                    help: Some("a backslash itself is written `\\\\`".into()),
                    start,
                    end: start + 1 + len,
                });
            }
        }
        rest = &escape[len..];
    }
    value.extend_from_slice(rest.as_bytes());
    (value, errors)
}

/// The byte that an escape stands for, and how long it is without its backslash.
fn unescape(escape: &str) -> (usize, Result<u8, String>) {
    let digits = |from: &str, radix, most| {
        from.chars().take(most).take_while(|c: &char| c.is_digit(radix)).count()
    };
    match escape.bytes().next() {
        Some(b'n') => (1, Ok(b'\n')),
        Some(b't') => (1, Ok(b'\t')),
        Some(b'r') => (1, Ok(b'\r')),
        Some(byte @ (b'"' | b'\\')) => (1, Ok(byte)),
        Some(b'0'..=b'7') => {
            let len = digits(escape, 8, 3);
            let byte = u8::from_str_radix(&escape[..len], 8)
                .map_err(|_| format!("`\\{}` is more than a byte", &escape[..len]));
            (len, byte)
        }
        Some(b'x' | b'X') => {
            let len = 1 + digits(&escape[1..], 16, 2);
            let byte = u8::from_str_radix(&escape[1..len], 16)
                .map_err(|_| format!("`\\{}` needs hexadecimal digits", &escape[..1]));
            (len, byte)
        }
        _ => {
            let len = escape.chars().next().map_or(0, char::len_utf8);
            (len, Err(format!("`\\{}` is not an escape", &escape[..len])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("42", 42),
            ("0x2A", 42),
            ("052", 42),
            ("1_000", 1000),
            ("1e6", 1_000_000),
            ("5e0", 5),
            ("10ms", 10_000_000),
            ("1e3us", 1_000_000),
            ("2h", 7_200_000_000_000),
            ("0xffULL", 255),
            ("0_7", 7),
            ("18446744073709551615", u64::MAX),
            ("4294967295u", 4_294_967_295),
        ] {
            assert_eq!(int(text), Ok(value), "{text}");
        }
        for (text, start, end) in [
            ("18446744073709551616", 0, 20),
            ("4294967296u", 0, 11),
            ("0b11", 0, 4),
            ("0x", 0, 2),
            ("1_", 1, 2),
            ("08", 0, 2),
            ("10e3", 0, 2),
            ("1e", 1, 2),
            ("1e99", 0, 4),
            ("5apples", 1, 7),
            ("5MS", 1, 3),
            ("300000d", 0, 7),
        ] {
            let error = int(text).expect_err(text);
            assert_eq!((error.start, error.end), (start, end), "{text}: {}", error.message);
        }
    }

    #[test]
    fn strings() {
        assert_eq!(string(r#"a\n\t\r\"\\\0\101\x41\xff"#).0, b"a\n\t\r\"\\\0AA\xff");
        assert_eq!(string(r"\0011").0, b"\x011");
        let (value, errors) = string(r"a\q\x\777");
        assert_eq!(value, br"a\q\x\777");
        let places: Vec<_> = errors.iter().map(|error| (error.start, error.end)).collect();
        assert_eq!(places, [(1, 3), (3, 5), (5, 9)]);
    }
}
