//! The form of bpf_conformance's files: blocks that start with a line `-- NAME`.

use bombus_isa::Insn;

use super::assemble::assemble;

/// A case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) code: Vec<Insn>,
    /// What `r1` points to.
    pub(super) memory: Vec<u8>,
    /// `r0`; `None`: the program must be refused or stopped.
    pub(super) expected: Option<u64>,
}

impl Case {
    pub(super) fn parse(text: &str) -> Result<Case, String> {
        let (mut asm, mut raw, mut memory) = (String::new(), Vec::new(), Vec::new());
        let (mut result, mut error) = (None, false);
        let mut block = "";
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(name) = line.strip_prefix("--") {
                block = name.trim();
                continue;
            }
            if line.is_empty() {
                continue;
            }
            match block {
                "asm" => asm += &format!("{line}\n"),
                "raw" => {
                    for word in line.split_whitespace() {
                        raw.push(Insn::from_bytes(number(word)?.to_le_bytes()));
                    }
                }
                "mem" => {
                    for digits in line.split_whitespace() {
                        let byte = u8::from_str_radix(digits.trim_start_matches("0x"), 16);
                        memory.push(byte.map_err(|_| format!("{digits} is no byte"))?);
                    }
                }
                "result" => result = Some(number(line)?),
                "error" => error = true,
                _ => {}
            }
        }
        if !error && result.is_none() {
            return Err("neither a result nor an error".to_owned());
        }
        let code = if raw.is_empty() { assemble(&asm)? } else { raw };
        Ok(Case { code, memory, expected: result.filter(|_| !error) })
    }
}

/// A number, hexadecimal with `0x`; a negative one as two's complement.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.trim_start_matches('+')),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    let value = value.map_err(|_| format!("{text} is no number"))?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file() {
        let case = Case::parse(
            "# About it\n-- asm\nldxb %r0, [%r1+1]   # second\nexit\n-- mem\n01 0x2a\n-- result\n0x2a\n",
        );
        let case = case.unwrap();
        assert_eq!((case.code.len(), case.memory, case.expected), (2, vec![1, 42], Some(42)));
        let raw = Case::parse("-- raw\n0x0000000000000095\n-- error\nno r0\n").unwrap();
        assert_eq!((raw.code, raw.expected), (vec![Insn::exit()], None));
        assert!(Case::parse("-- asm\nexit\n").is_err());
    }
}
