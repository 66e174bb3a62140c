//! Filters as text: what `tcpdump -ddd` prints, and `tcpdump -dd`.
//!
//! `-ddd`: the number of instructions, then one a line, its four fields as decimal numbers. With
//! commas in place of line ends (`iptables -m bpf`, `tc filter ... bytecode`) it is the same.
//! `-dd`: a C initializer, `{ 0x28, 0, 0, 0x0000000c },`.

use std::fmt;

use crate::SockFilter;

/// Text that is no filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Reads a filter in either form. It need not be valid.
pub fn parse(text: &str) -> Result<Vec<SockFilter>, ParseError> {
    if text.contains('{') { braces(text) } else { decimal(text) }
}

fn error<T>(line: usize, message: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError { line, message: message.into() })
}

/// Records with the number of their line.
fn records<'a>(
    text: &'a str,
    separators: &'static [char],
) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines()
        .enumerate()
        .flat_map(move |(index, line)| line.split(separators).map(move |part| (index + 1, part)))
        .filter(|(_, part)| !part.trim().is_empty())
}

fn decimal(text: &str) -> Result<Vec<SockFilter>, ParseError> {
    let mut records = records(text, &[',']);
    let Some((line, count)) = records.next() else {
        return error(1, "there is no filter here; `tcpdump -ddd EXPRESSION` prints one");
    };
    let Ok(count) = count.trim().parse::<usize>() else {
        let message = format!(
            "expected the number of instructions, got '{}'; `tcpdump -ddd EXPRESSION` prints a \
             filter",
            count.trim()
        );
        return error(line, message);
    };
    let insns = records
        .map(|(line, record)| insn(line, record.split_whitespace()))
        .collect::<Result<Vec<_>, _>>()?;
    if insns.len() != count {
        let message = format!("{count} instructions were announced, {} are there", insns.len());
        return error(line, message);
    }
    Ok(insns)
}

fn braces(text: &str) -> Result<Vec<SockFilter>, ParseError> {
    records(text, &['{', '}'])
        .filter(|(_, record)| record.trim() != ",")
        .map(|(line, record)| insn(line, record.split(',').map(str::trim)))
        .collect()
}

fn insn<'a>(line: usize, fields: impl Iterator<Item = &'a str>) -> Result<SockFilter, ParseError> {
    let mut numbers = [0u64; 4];
    let mut count = 0;
    for field in fields {
        let number = match field.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => field.parse().ok(),
        };
        let Some(number) = number else { return error(line, format!("'{field}' is no number")) };
        if let Some(place) = numbers.get_mut(count) {
            *place = number;
        }
        count += 1;
    }
    if count != 4 {
        let message = format!("an instruction has four numbers (code, jt, jf, k), not {count}");
        return error(line, message);
    }
    let [code, jt, jf, k] = numbers;
    let fields = (u16::try_from(code), u8::try_from(jt), u8::try_from(jf), u32::try_from(k));
    let (Ok(code), Ok(jt), Ok(jf), Ok(k)) = fields else {
        return error(line, "a number is too large for its field (16, 8, 8 and 32 bits)");
    };
    Ok(SockFilter { code, jt, jf, k })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: [SockFilter; 4] = [
        SockFilter { code: 0x28, jt: 0, jf: 0, k: 12 },
        SockFilter { code: 0x15, jt: 0, jf: 1, k: 0x800 },
        SockFilter { code: 6, jt: 0, jf: 0, k: 262_144 },
        SockFilter { code: 6, jt: 0, jf: 0, k: 0 },
    ];

    #[test]
    fn every_form() {
        let lines = "4\n40 0 0 12\n21 0 1 2048\n6 0 0 262144\n6 0 0 0\n";
        assert_eq!(parse(lines).unwrap(), IP);
        assert_eq!(parse(&lines.trim_end().replace('\n', ",")).unwrap(), IP);
        let c = "{ 0x28, 0, 0, 0x0000000c },\n{ 0x15, 0, 1, 0x00000800 },\n\
                 { 0x6, 0, 0, 0x00040000 },\n{ 0x6, 0, 0, 0x00000000 },\n";
        assert_eq!(parse(c).unwrap(), IP);
        for insn in IP {
            assert_eq!(SockFilter::from_bytes(insn.to_bytes()), insn);
        }
    }

    #[test]
    fn mistakes() {
        let message = |text: &str| parse(text).unwrap_err().to_string();
        assert!(message("").starts_with("line 1: there is no filter here"));
        assert!(message("tcp port 80").contains("got 'tcp port 80'"));
        assert_eq!(
            message("1\n6 0 0"),
            "line 2: an instruction has four numbers (code, jt, jf, k), not 3"
        );
        assert_eq!(message("2\n6 0 0 0"), "line 1: 2 instructions were announced, 1 are there");
        assert_eq!(
            message("1\n6 0 256 0"),
            "line 2: a number is too large for its field (16, 8, 8 and 32 bits)"
        );
        assert_eq!(message("1\n6 0 x 0"), "line 2: 'x' is no number");
    }
}
