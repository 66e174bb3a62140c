//! Values of `__kconfig` variables, from the kernel's version, features and configuration.

use std::collections::HashMap;

use bombus_btf::{Btf, Int, Type, TypeId};

use super::target::Target;
use crate::{Error, Feature, Result};

/// The options of a configuration file.
pub(crate) fn parse(text: &str) -> HashMap<String, String> {
    let options = text.lines().filter_map(|line| line.trim().split_once('='));
    options.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// A variable that is filled in.
pub(super) struct Variable<'a> {
    pub(super) name: &'a str,
    pub(super) type_id: u32,
    pub(super) size: u32,
    pub(super) weak: bool,
}

/// The kinds of variables that an option can be stored in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Storage {
    Bool,
    /// `enum libbpf_tristate`: no, yes, module.
    Tristate,
    Char,
    Integer {
        signed: bool,
    },
    Text,
}

/// The variable's bytes; zeros for a weak one whose option is not set.
pub(super) fn value(
    types: Option<&Btf>,
    variable: &Variable<'_>,
    target: &Target<'_>,
) -> Result<Vec<u8>> {
    let wrong =
        |why: String| Error::invalid(format!("__kconfig variable {}: {why}", variable.name));
    let storage = types
        .and_then(|types| storage(types, TypeId(variable.type_id), variable.size))
        .ok_or_else(|| {
        wrong("it has to be an integer, bool, char array or enum libbpf_tristate".into())
    })?;
    let number = |number: u64| store_number(storage, variable.size, number).map_err(wrong);
    let version = target.version();
    match variable.name {
        "LINUX_KERNEL_VERSION" => {
            // `KERNEL_VERSION` of `linux/version.h`.
            let patch = version.patch.min(255);
            number(((version.major << 16) + (version.minor << 8) + patch).into())
        }
        "LINUX_HAS_BPF_COOKIE" => number(target.supports(Feature::AttachCookie).into()),
        "LINUX_HAS_SYSCALL_WRAPPER" => number(target.supports(Feature::SyscallWrapper).into()),
        name if name.starts_with("CONFIG_") => match target.config()?.get(name) {
            Some(text) => store(storage, variable.size, text).map_err(wrong),
            None if variable.weak => Ok(vec![0; variable.size as usize]),
            None => Err(Error::Unsupported {
                what: format!("{} does not say what {name} is", target.name()),
                help: Some("declare the variable __weak to get 0 instead".into()),
            }),
        },
        name if name.starts_with("LINUX_") && variable.weak => Ok(vec![0; variable.size as usize]),
        _ => Err(wrong("there is no such variable; names start with CONFIG_ or LINUX_".into())),
    }
}

fn storage(types: &Btf, id: TypeId, size: u32) -> Option<Storage> {
    match types.resolved(id)? {
        Type::Int(Int { encoding, size: 1, .. }) if encoding & Int::BOOL != 0 => {
            Some(Storage::Bool)
        }
        Type::Int(int) if int.is_bool() => None,
        Type::Int(Int { size: 1, .. }) => Some(Storage::Char),
        Type::Int(int) if matches!(int.size, 2 | 4 | 8) => {
            Some(Storage::Integer { signed: int.is_signed() })
        }
        Type::Enum(list) | Type::Enum64(list) if list.name == "libbpf_tristate" => {
            Some(Storage::Tristate)
        }
        Type::Array { element, len, .. } if len > 0 && len == size => {
            (storage(types, element, 1)? == Storage::Char).then_some(Storage::Text)
        }
        _ => None,
    }
}

/// The bytes of the text that a configuration has for an option.
fn store(storage: Storage, size: u32, text: &str) -> std::result::Result<Vec<u8>, String> {
    let bytes = |value: u64| Ok(value.to_le_bytes()[..(size as usize).min(8)].to_vec());
    match (text, storage) {
        ("y" | "n" | "m", Storage::Tristate) => {
            bytes(["n", "y", "m"].iter().position(|&each| each == text).unwrap_or(0) as u64)
        }
        ("y" | "n", Storage::Bool) => bytes((text == "y").into()),
        ("y" | "n" | "m", Storage::Char) => bytes(text.as_bytes()[0].into()),
        ("y" | "n" | "m", _) => {
            Err(format!("its value {text} wants a bool, a char or an enum libbpf_tristate"))
        }
        (quoted, Storage::Text) if quoted.starts_with('"') => {
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            let inner = inner.ok_or_else(|| format!("the text {quoted} does not end"))?;
            // Cut to what fits, with its closing zero, as libbpf does.
            let kept = &inner.as_bytes()[..inner.len().min(size as usize - 1)];
            let mut bytes = vec![0; size as usize];
            bytes[..kept.len()].copy_from_slice(kept);
            Ok(bytes)
        }
        (quoted, _) if quoted.starts_with('"') => {
            Err(format!("its value {quoted} wants an array of char"))
        }
        (number, Storage::Integer { .. } | Storage::Char) => {
            let value = parse_number(number).ok_or_else(|| format!("{number} is not a number"))?;
            store_number(storage, size, value)
        }
        (number, _) => Err(format!("its value {number} wants an integer")),
    }
}

fn parse_number(text: &str) -> Option<u64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => u64::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    value.ok().map(|value| if negative { value.wrapping_neg() } else { value })
}

fn store_number(storage: Storage, size: u32, value: u64) -> std::result::Result<Vec<u8>, String> {
    let bits = size * 8;
    let fits = match storage {
        Storage::Bool => value <= 1,
        Storage::Integer { signed: true } if bits < 64 => {
            value.wrapping_add(1 << (bits - 1)) < 1 << bits
        }
        Storage::Integer { .. } | Storage::Char => bits >= 64 || value >> bits == 0,
        Storage::Tristate | Storage::Text => {
            return Err(format!("its value {value} wants an integer"));
        }
    };
    if !fits {
        return Err(format!("its value {value} does not fit {size} bytes"));
    }
    Ok(value.to_le_bytes()[..(size as usize).min(8)].to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let signed = Storage::Integer { signed: true };
        let unsigned = Storage::Integer { signed: false };
        assert_eq!(store(Storage::Bool, 1, "y"), Ok(vec![1]));
        assert!(store(Storage::Bool, 1, "m").is_err());
        assert_eq!(store(Storage::Tristate, 4, "m"), Ok(vec![2, 0, 0, 0]));
        assert_eq!(store(Storage::Char, 1, "m"), Ok(vec![b'm']));
        assert_eq!(store(unsigned, 4, "250"), Ok(vec![250, 0, 0, 0]));
        assert_eq!(store(unsigned, 2, "0x1ff"), Ok(vec![0xff, 1]));
        assert!(store(unsigned, 2, "0x10000").is_err());
        assert_eq!(store(signed, 2, "-1"), Ok(vec![0xff, 0xff]));
        assert!(store(signed, 2, "0x8000").is_err());
        assert_eq!(store(Storage::Text, 4, "\"abcdef\""), Ok(b"abc\0".to_vec()));
        assert!(store(Storage::Text, 4, "7").is_err());
        assert!(store(unsigned, 4, "\"text\"").is_err());
    }

    #[test]
    fn files() {
        let options = parse("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C=\"a=b\"\n");
        assert_eq!(options.get("CONFIG_A"), None);
        assert_eq!(options["CONFIG_B"], "y");
        assert_eq!(options["CONFIG_C"], "\"a=b\"");
    }
}
