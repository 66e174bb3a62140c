//! Where the arguments of a static probe are, as programs that include `bpf/usdt.bpf.h` read it:
//! `struct __bpf_usdt_spec`. Its layout changed with libbpf 1.7, which knows arguments with an index
//! register; its size tells which it is.
//!
//! The note of a probe has one text for all arguments, in the words of the assembler:
//! `-4@%edi 8@-8(%rbp) 4@$71`.

use bombus_platform::pt_regs;

/// Most arguments (`BPF_USDT_MAX_ARG_CNT`).
const MAX_ARGUMENTS: usize = 12;

/// `struct __bpf_usdt_arg_spec` of one version of libbpf: where its members are, in bytes. The
/// constant or distance comes first, then the kind, and after the register whether the argument is
/// signed and how far to shift.
struct Layout {
    size: usize,
    register: usize,
    /// 12 bits for the index register, 4 for the shift of what it holds.
    index: Option<usize>,
}

const LAYOUTS: [Layout; 2] = [
    Layout { size: 16, register: 12, index: None },
    // libbpf 1.7.
    Layout { size: 24, register: 14, index: Some(10) },
];

impl Layout {
    /// Bytes of `struct __bpf_usdt_spec`: the arguments, the cookie, how many there are.
    const fn total(&self) -> usize {
        MAX_ARGUMENTS * self.size + 16
    }

    fn encode(&self, argument: &Argument) -> Option<Vec<u8>> {
        let mut bytes = vec![0; self.size];
        let kind = match argument.place {
            Place::Constant => 0,
            Place::Register => 1,
            Place::Memory => 2,
            Place::Indexed { index, shift } => {
                let at = self.index?;
                bytes[at..at + 2].copy_from_slice(&(index | (shift << 12)).to_le_bytes());
                3
            }
        };
        bytes[..8].copy_from_slice(&argument.offset.to_le_bytes());
        bytes[8] = kind;
        let at = self.register;
        bytes[at..at + 2].copy_from_slice(&argument.register.to_le_bytes());
        bytes[at + 2] = u8::from(argument.size < 0);
        // How far to shift left and right again, to cut the value to its size.
        bytes[at + 3] = 64 - argument.size.unsigned_abs() * 8;
        Some(bytes)
    }
}

/// Where an argument is (`enum __bpf_usdt_arg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Nowhere: it is this number.
    Constant,
    Register,
    /// In memory, at a distance from what a register holds.
    Memory,
    /// In memory; an index register counts elements of 1 << shift bytes.
    Indexed {
        index: u16,
        shift: u16,
    },
}

/// One argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Argument {
    place: Place,
    /// The constant, or the distance in bytes.
    offset: i64,
    /// Of the register in `struct pt_regs`, in bytes.
    register: u16,
    /// Bytes; negative for a signed number.
    size: i8,
}

/// The value of the map of descriptions, for a probe whose arguments are these.
pub(super) fn description(
    arguments: &str,
    value_size: u32,
    cookie: u64,
) -> std::result::Result<Vec<u8>, String> {
    let layout = LAYOUTS.iter().rev().find(|layout| value_size as usize >= layout.total());
    let layout = layout.ok_or("the object's __bpf_usdt_specs is too small")?;
    let mut bytes = Vec::new();
    let mut count: u16 = 0;
    for text in split(arguments) {
        let argument =
            parse(&text).ok_or_else(|| format!("argument {text} is of no known form"))?;
        bytes.extend(layout.encode(&argument).ok_or_else(|| {
            format!("argument {text} has an index, which <bpf/usdt.bpf.h> knows since libbpf 1.7")
        })?);
        count += 1;
    }
    if usize::from(count) > MAX_ARGUMENTS {
        return Err(format!("it has {count} arguments, more than {MAX_ARGUMENTS}"));
    }
    bytes.resize(MAX_ARGUMENTS * layout.size, 0);
    bytes.extend(cookie.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.resize(value_size as usize, 0);
    Ok(bytes)
}

/// The arguments one by one; spaces inside of parentheses do not separate them.
fn split(arguments: &str) -> Vec<String> {
    let mut all = Vec::new();
    let (mut current, mut depth) = (String::new(), 0_usize);
    for char in arguments.chars() {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if !char.is_whitespace() {
            current.push(char);
        } else if depth == 0 && !current.is_empty() {
            all.push(std::mem::take(&mut current));
        }
    }
    all.extend(Some(current).filter(|last| !last.is_empty()));
    all
}

fn parse(text: &str) -> Option<Argument> {
    let (size, at) = text.split_once('@')?;
    let size: i8 = size.parse().ok()?;
    if !matches!(size.unsigned_abs(), 1 | 2 | 4 | 8) {
        return None;
    }
    let argument = |place, offset, register| Some(Argument { place, offset, register, size });
    if let Some(constant) = at.strip_prefix('$') {
        return argument(Place::Constant, number(constant)?, 0);
    }
    if let Some(name) = at.strip_prefix('%') {
        return argument(Place::Register, 0, register(name)?);
    }
    let (offset, inside) = at.strip_suffix(')')?.split_once('(')?;
    let offset = if offset.is_empty() { 0 } else { number(offset)? };
    let mut parts = inside.split(',');
    let base = register(parts.next()?.strip_prefix('%')?)?;
    let Some(index) = parts.next() else { return argument(Place::Memory, offset, base) };
    let index = register(index.strip_prefix('%')?)?;
    let shift = match parts.next() {
        None | Some("1") => 0,
        Some("2") => 1,
        Some("4") => 2,
        Some("8") => 3,
        Some(_) => return None,
    };
    argument(Place::Indexed { index, shift }, offset, base)
}

fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { value.wrapping_neg() } else { value })
}

/// Where a register, whole or in part, is in `struct pt_regs`.
fn register(name: &str) -> Option<u16> {
    const NAMES: [([&str; 4], u16); 9] = [
        (["rip", "eip", "", ""], pt_regs::INSTRUCTION_POINTER),
        (["rax", "eax", "ax", "al"], pt_regs::RETURN_VALUE),
        (["rbx", "ebx", "bx", "bl"], 40),
        (["rcx", "ecx", "cx", "cl"], pt_regs::FUNCTION_ARGS[3]),
        (["rdx", "edx", "dx", "dl"], pt_regs::FUNCTION_ARGS[2]),
        (["rsi", "esi", "si", "sil"], pt_regs::FUNCTION_ARGS[1]),
        (["rdi", "edi", "di", "dil"], pt_regs::FUNCTION_ARGS[0]),
        (["rbp", "ebp", "bp", "bpl"], 32),
        (["rsp", "esp", "sp", "spl"], pt_regs::STACK_POINTER),
    ];
    if name.is_empty() {
        return None;
    }
    if let Some((_, offset)) = NAMES.iter().find(|(names, _)| names.contains(&name)) {
        return Some(*offset);
    }
    // r8 to r15: from r15 at 0 up to r12, then r11 to r8 after rbp and rbx.
    const NUMBERED: [u16; 8] = [72, 64, 56, 48, 24, 16, 8, 0];
    let digits = name.strip_prefix('r')?.trim_end_matches(['d', 'w', 'b']);
    let index = digits.parse::<usize>().ok()?.checked_sub(8)?;
    NUMBERED.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let parsed = |text| parse(text).map(|a| (a.place, a.offset, a.register, a.size));
        assert_eq!(parsed("-4@%edi"), Some((Place::Register, 0, 112, -4)));
        assert_eq!(parsed("8@-8(%rbp)"), Some((Place::Memory, -8, 32, 8)));
        assert_eq!(parsed("8@(%rsp)"), Some((Place::Memory, 0, 152, 8)));
        assert_eq!(parsed("4@$71"), Some((Place::Constant, 71, 0, 4)));
        assert_eq!(parsed("4@$-1"), Some((Place::Constant, -1, 0, 4)));
        assert_eq!(
            parsed("1@-96(%rbp,%rax,8)"),
            Some((Place::Indexed { index: 80, shift: 3 }, -96, 32, 1))
        );
        assert_eq!(parsed("8@%r15"), Some((Place::Register, 0, 0, 8)));
        assert_eq!(parsed("2@%r8w"), Some((Place::Register, 0, 72, 2)));
        for wrong in ["", "3@%rax", "8@%xmm0", "8@", "@%rax", "8@(%rax", "8@4(%rax,%rbx,3)"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!(split("-4@%edi 8@-8( %rbp )  4@$71"), ["-4@%edi", "8@-8(%rbp)", "4@$71"]);
    }

    #[test]
    fn layouts() {
        let bytes = description("-4@8(%rbp) 8@$7", 208, 5).unwrap();
        assert_eq!(bytes.len(), 208);
        assert_eq!(bytes[..16], [8, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 32, 0, 1, 32]);
        assert_eq!(bytes[16..32], [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[192..], [5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);

        let bytes = description("-4@8(%rbp,%rax,4) 8@$7", 304, 5).unwrap();
        assert_eq!(bytes.len(), 304);
        let indexed = [8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 80, 0x20, 0, 0, 32, 0, 1, 32];
        assert_eq!(bytes[..18], indexed);
        assert_eq!(bytes[24..33], [7, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[288..], [5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);

        assert!(description("8@%rax", 100, 0).is_err());
        assert!(description("8@(%rax,%rbx)", 208, 0).is_err());
        assert!(description(&"8@%rax ".repeat(13), 208, 0).is_err());
    }
}
