//! What bytes mean by their type, as `map dump` shows it.

use bombus_btf::{Btf, Enumeration, Int, Member, Type, TypeId};

use crate::notation::Node;

/// Types that contain each other more deeply than this are not C.
const DEPTH: usize = 64;

/// How values are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// For people: addresses and bit fields are bare hexadecimal numbers.
    Plain,
    /// Valid JSON.
    Json,
}

/// The value of this type that `data` starts with; what cannot be read ends it early.
pub fn value(btf: &Btf, id: u32, data: &[u8], style: Style) -> Node {
    Printer { btf, style, programs: None }.value(TypeId(id), 0, data, DEPTH).0
}

/// Names of programs, by id.
pub type ProgramNames<'a> = &'a dyn Fn(u32) -> Option<String>;

/// The same of a structure of kernel callbacks: what points to a function is a program's id, 0 for
/// none.
pub fn callbacks(
    btf: &Btf,
    id: u32,
    data: &[u8],
    style: Style,
    programs: ProgramNames<'_>,
) -> Node {
    Printer { btf, style, programs: Some(programs) }.value(TypeId(id), 0, data, DEPTH).0
}

/// A node, and whether the rest can be read, too.
type Printed = (Node, bool);

struct Printer<'a> {
    btf: &'a Btf,
    style: Style,
    programs: Option<ProgramNames<'a>>,
}

/// A little-endian number of at most 16 bytes.
fn number(data: &[u8], bytes: usize) -> Option<u128> {
    let mut number = [0; 16];
    number.get_mut(..bytes)?.copy_from_slice(data.get(..bytes)?);
    Some(u128::from_le_bytes(number))
}

fn signed(number: u128, bytes: usize) -> i128 {
    let shift = 128 - 8 * bytes as u32;
    (number << shift) as i128 >> shift
}

fn raw(value: impl ToString) -> Printed {
    (Node::Raw(value.to_string()), true)
}

/// What is there in place of what cannot be shown.
fn refused(why: &str) -> Printed {
    (Node::Raw(why.to_owned()), false)
}

impl Printer<'_> {
    fn value(&self, id: TypeId, bit: u32, data: &[u8], depth: usize) -> Printed {
        let Some(depth) = depth.checked_sub(1) else { return refused("(too deep)") };
        let Some(ty) = self.btf.ty(id) else { return refused("(unknown)") };
        match ty {
            Type::Int(int) => self.int(int, bit, data),
            Type::Struct(composite) | Type::Union(composite) => {
                let mut fields = Vec::new();
                for member in composite.members.iter() {
                    let (node, more) = self.member(member, data, depth);
                    fields.push((member.name.to_owned(), node));
                    if !more {
                        return (Node::Object(fields), false);
                    }
                }
                (Node::Object(fields), true)
            }
            Type::Array { element, len, .. } => self.array(element, len, data, depth),
            Type::Enum(enumeration) | Type::Enum64(enumeration) => {
                self.enumerator(enumeration, data)
            }
            Type::Ptr(to) => self.pointer(to, data),
            Type::Typedef(_, to)
            | Type::Volatile(to)
            | Type::Const(to)
            | Type::Restrict(to)
            | Type::TypeTag(_, to) => self.value(to, bit, data, depth),
            Type::Var { name, ty, .. } => {
                let (node, more) = self.value(ty, bit, data, depth);
                (Node::Object(vec![(name.to_owned(), node)]), more)
            }
            Type::Datasec { name, vars, .. } => {
                let mut values = Vec::new();
                let mut more = true;
                for var in vars {
                    let data = data.get(var.offset as usize..).unwrap_or_default();
                    let (node, goes_on) = self.value(var.ty, 0, data, depth);
                    values.push(node);
                    more = goes_on;
                    if !more {
                        break;
                    }
                }
                (Node::Object(vec![(name.to_owned(), Node::List(values))]), more)
            }
            Type::Fwd { .. } => refused("(fwd-kind-invalid)"),
            _ => refused("(unsupported-kind)"),
        }
    }

    fn member(&self, member: Member<'_>, data: &[u8], depth: usize) -> Printed {
        let data = data.get(member.bit_offset as usize / 8..).unwrap_or_default();
        let bit = member.bit_offset % 8;
        match member.bit_size {
            0 => self.value(member.ty, bit, data, depth),
            size => self.bits(data, bit, size.into()),
        }
    }

    fn array(&self, element: TypeId, len: u32, data: &[u8], depth: usize) -> Printed {
        if self.is_text(element)
            && let Some(text) = text(data.get(..len as usize).unwrap_or(data))
        {
            return (Node::Text(text), true);
        }
        let Some(size) = self.btf.size_of(element) else { return refused("(unsupported-kind)") };
        let mut values = Vec::new();
        // Elements without a size say nothing, however many there are.
        let len = if size == 0 { 0 } else { len };
        for index in 0..len as usize {
            let data = index.checked_mul(size as usize).and_then(|at| data.get(at..));
            let (node, more) = match data {
                Some(data) if !data.is_empty() => self.value(element, 0, data, depth),
                _ => return (Node::List(values), false),
            };
            values.push(node);
            if !more {
                return (Node::List(values), false);
            }
        }
        (Node::List(values), true)
    }

    /// Whether an array of these may be a text. A `typedef` of `char` does not count.
    fn is_text(&self, element: TypeId) -> bool {
        let mut id = element;
        for _ in 0..DEPTH {
            match self.btf.ty(id) {
                Some(Type::Volatile(to) | Type::Const(to) | Type::Restrict(to)) => id = to,
                Some(Type::Int(int)) => {
                    return int.size == 1 && (int.encoding == Int::CHAR || int.name == "char");
                }
                _ => return false,
            }
        }
        false
    }

    fn enumerator(&self, enumeration: Enumeration<'_>, data: &[u8]) -> Printed {
        let bytes = enumeration.size as usize;
        let Some(number) = number(data, bytes).filter(|_| matches!(bytes, 1 | 2 | 4 | 8)) else {
            return refused("(unsupported-kind)");
        };
        // bpftool takes all of them for signed.
        let value = signed(number, bytes) as i64;
        let same = |each: i64| match bytes {
            8 => each == value,
            _ => each as i32 == value as i32,
        };
        match enumeration.values.iter().find(|each| same(each.value)) {
            Some(found) => (Node::Text(found.name.to_owned()), true),
            None => raw(value),
        }
    }

    /// `Some` where it stands for a program: the function's type, and which one.
    fn program(&self, to: TypeId, address: u128) -> Option<String> {
        let (names, id) = (self.programs?, u32::try_from(address).ok()?);
        let function = self.btf.resolve(to)?;
        let Some(Type::FuncProto { .. }) = self.btf.ty(function) else { return None };
        let prototype = crate::prototype(self.btf, function.0);
        Some(match (id, names(id)) {
            (0, _) => format!("{prototype} 0"),
            (id, Some(name)) => format!("{prototype} {name}/prog_id:{id}"),
            (id, None) => format!("{prototype} <unknown_prog_name>/prog_id:{id}"),
        })
    }

    fn pointer(&self, to: TypeId, data: &[u8]) -> Printed {
        let Some(address) = number(data, 8) else { return refused("(unreadable)") };
        if let Some(program) = self.program(to, address) {
            return (Node::Text(program), true);
        }
        match (self.style, address) {
            (Style::Json, address) => raw(address),
            (Style::Plain, 0) => raw("\"(nil)\""),
            (Style::Plain, address) => raw(format!("\"{address:#x}\"")),
        }
    }

    fn hexadecimal(&self, number: u128) -> Printed {
        match self.style {
            Style::Plain => raw(format!("{number:#x}")),
            Style::Json => raw(format!("\"{number:#x}\"")),
        }
    }

    fn bits(&self, data: &[u8], bit: u32, count: u32) -> Printed {
        let bytes = (bit + count).div_ceil(8) as usize;
        let Some(number) = number(data, bytes) else { return refused("(unreadable)") };
        let mask = if count >= 128 { u128::MAX } else { (1 << count) - 1 };
        self.hexadecimal(number >> bit & mask)
    }

    fn int(&self, int: Int<'_>, bit: u32, data: &[u8]) -> Printed {
        let bits = u32::from(int.bits);
        if bit != 0 || int.bit_offset != 0 || bits % 8 != 0 {
            let first = bit + u32::from(int.bit_offset);
            let data = data.get(first as usize / 8..).unwrap_or_default();
            return self.bits(data, first % 8, bits);
        }
        let bytes = bits as usize / 8;
        let Some(number) = number(data, bytes) else { return refused("(unreadable)") };
        if bytes == 16 {
            return self.hexadecimal(number);
        }
        match int.encoding {
            0 if matches!(bytes, 1 | 2 | 4 | 8) => raw(number),
            Int::SIGNED if matches!(bytes, 1 | 2 | 4 | 8) => raw(signed(number, bytes)),
            0 | Int::SIGNED => self.hexadecimal(number),
            Int::CHAR => {
                let byte = number as u8;
                match (self.style, byte) {
                    (Style::Plain, b' '..=b'~') => raw(format!("\"{}\"", char::from(byte))),
                    (Style::Plain, byte) => raw(format!("{byte:#x}")),
                    (Style::Json, byte) => (Node::Text(char::from(byte).to_string()), true),
                }
            }
            Int::BOOL => raw(number as u8 != 0),
            _ => refused("(unsupported-kind)"),
        }
    }
}

/// Printable bytes up to a zero.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let text = &bytes[..end];
    let printable = text.iter().all(|byte| (b' '..0x7f).contains(byte));
    printable.then(|| String::from_utf8_lossy(text).into_owned())
}
