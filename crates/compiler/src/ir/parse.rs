//! Reads the text form.

use bombus_platform::HELPERS;
use bombus_spec::SourceLine;

use super::{
    BinaryOp, Block, BlockData, Cond, FuncRef, Function, Inst, Line, LoadWidth, MapRef, Module, Op,
    SlotData, StackSlot, Target, Term, UnaryOp, Value,
};

/// Why a text is not a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseError {
    /// Line of the text, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for ParseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for ParseError {}

type Result<T> = std::result::Result<T, ParseError>;

/// Highest number that an entity may have: the tables are as long as the highest number.
const MAX_INDEX: u32 = 1 << 20;

/// Reads a module in text form. `;` starts a comment.
///
/// # Errors
///
/// Says the line and what was expected there. That the module keeps the rules is for
/// [`super::verify`] to say.
pub fn parse(text: &str) -> Result<Module> {
    let mut module = Module::default();
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    while let Some((number, line)) = lines.next() {
        let mut at = Cursor::new(number, line);
        if at.is_done() {
            continue;
        }
        if at.eat("function") {
            let name = at.word()?.to_owned();
            at.expect("{")?;
            at.end()?;
            module.functions.push(function(name, number, &mut lines)?);
        } else {
            module.lines.push(source_line(&mut at, module.lines.len())?);
        }
    }
    Ok(module)
}

fn source_line(at: &mut Cursor<'_>, index: usize) -> Result<SourceLine> {
    let number = at.entity("line")?;
    if number as usize != index {
        return at.error("`function`, or the next line by number");
    }
    at.expect("=")?;
    let file = at.string()?.into();
    let line = at.number()?;
    at.expect(":")?;
    let column = at.number()?;
    let text = at.string()?.into();
    at.end()?;
    Ok(SourceLine { file, line, column, text })
}

fn function<'a>(
    name: String,
    start: usize,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<Function> {
    let mut func = Function { name, ..Function::default() };
    for (number, line) in lines {
        let mut at = Cursor::new(number, line);
        if at.is_done() {
            continue;
        }
        if at.eat("}") {
            at.end()?;
            return Ok(func);
        }
        statement(&mut func, &mut at)?;
    }
    Err(ParseError { line: start, message: "the function has no `}`".into() })
}

fn statement(func: &mut Function, at: &mut Cursor<'_>) -> Result<()> {
    let word = at.word()?;
    let is_entity = |prefix: &str| {
        word.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    if is_entity("block") {
        let block = Block(at.index_of(word, "block")?);
        let params = at.values_in_parens()?;
        at.expect(":")?;
        at.end()?;
        grow(func, &params, block);
        func.layout.push(block);
        func.blocks[block.index()].params = params;
        return Ok(());
    }
    if is_entity("ss") {
        let index = at.index_of(word, "ss")?;
        at.expect("=")?;
        at.expect("slot")?;
        let size = at.number()?;
        at.end()?;
        if index as usize != func.slots.len() {
            return at.error("the next stack slot by number");
        }
        func.slots.push(SlotData { size });
        return Ok(());
    }
    let Some(&block) = func.layout.last() else {
        return at.error("a block before instructions");
    };
    if let Some(term) = terminator(word, at)? {
        let term_line = at.place()?;
        at.end()?;
        for target in term.targets() {
            grow(func, &target.args, target.block);
        }
        let data = &mut func.blocks[block.index()];
        data.term = Some(term);
        data.term_line = term_line;
        return Ok(());
    }
    let (result, name) = if is_entity("v") {
        let result = Value(at.index_of(word, "v")?);
        at.expect("=")?;
        (Some(result), at.word()?)
    } else {
        (None, word)
    };
    let op = operation(name, at)?;
    let line = at.place()?;
    at.end()?;
    op.for_each_arg(|value| func.values = func.values.max(value.0 + 1));
    grow(func, result.as_slice(), block);
    func.blocks[block.index()].insts.push(Inst { result, op, line });
    Ok(())
}

/// Makes the tables long enough.
fn grow(func: &mut Function, values: &[Value], block: Block) {
    for value in values {
        func.values = func.values.max(value.0 + 1);
    }
    if func.blocks.len() <= block.index() {
        func.blocks.resize(block.index() + 1, BlockData::default());
    }
}

fn terminator(word: &str, at: &mut Cursor<'_>) -> Result<Option<Term>> {
    Ok(Some(match word {
        "jump" => Term::Jump(at.target()?),
        "branch" => {
            let test = at.value()?;
            at.expect(",")?;
            let then = at.target()?;
            at.expect(",")?;
            Term::Branch(test, then, at.target()?)
        }
        "return" => Term::Return(at.value()?),
        "unreachable" => Term::Unreachable,
        _ => return Ok(None),
    }))
}

fn operation(name: &str, at: &mut Cursor<'_>) -> Result<Op> {
    if let Some(op) = UnaryOp::from_name(name) {
        return Ok(Op::Unary(op, at.value()?));
    }
    if let Some(op) = BinaryOp::from_name(name) {
        let (a, b) = at.two_values()?;
        return Ok(Op::Binary(op, a, b));
    }
    if let Some(cond) = Cond::from_name(name) {
        let (a, b) = at.two_values()?;
        return Ok(Op::Compare(cond, a, b));
    }
    let (base_name, suffix) = name.split_once('.').unwrap_or((name, ""));
    Ok(match base_name {
        "const" => Op::Const(at.number()?),
        "select" => {
            let test = at.value()?;
            at.expect(",")?;
            let (a, b) = at.two_values()?;
            Op::Select(test, a, b)
        }
        "load" => {
            let Some(width) = LoadWidth::from_name(suffix) else {
                return at.error("a width, such as load.u32");
            };
            let (base, offset) = at.address()?;
            Op::Load { width, base, offset }
        }
        "store" | "atomic_add" => {
            let Ok(bytes) = suffix.parse() else {
                return at.error("a width in bytes, such as store.4");
            };
            let value = at.value()?;
            at.expect(",")?;
            let (base, offset) = at.address()?;
            if base_name == "store" {
                Op::Store { bytes, value, base, offset }
            } else {
                Op::AtomicAdd { bytes, value, base, offset }
            }
        }
        "zero" => {
            let (base, offset) = at.address()?;
            at.expect(",")?;
            Op::Zero { base, offset, size: at.number()? }
        }
        "copy" => {
            let (to, to_offset) = at.address()?;
            at.expect(",")?;
            let (from, from_offset) = at.address()?;
            at.expect(",")?;
            let size = at.number()?;
            at.expect(",")?;
            at.expect("align")?;
            Op::Copy { to, to_offset, from, from_offset, size, align: at.number()? }
        }
        "slot_addr" => Op::SlotAddr(StackSlot(at.entity("ss")?)),
        "map_addr" => Op::MapAddr(MapRef(at.entity("map")?)),
        "map_value_addr" => {
            let map = MapRef(at.entity("map")?);
            at.expect("+")?;
            Op::MapValueAddr(map, at.number()?)
        }
        "func_addr" => Op::FuncAddr(FuncRef(at.entity("fn")?)),
        "helper" => {
            let name = at.word()?;
            let Some(helper) = HELPERS.iter().find(|helper| helper.name() == name) else {
                return at.error("the name of a helper");
            };
            Op::CallHelper(*helper, at.values_in_parens()?)
        }
        "call" => {
            let func = FuncRef(at.entity("fn")?);
            Op::Call(func, at.values_in_parens()?)
        }
        _ => return at.error("an operation"),
    })
}

/// A place in one line.
struct Cursor<'a> {
    number: usize,
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn new(number: usize, line: &'a str) -> Cursor<'a> {
        Cursor { number, rest: line.trim() }
    }

    fn error<T>(&self, expected: &str) -> Result<T> {
        let found = if self.rest.is_empty() { "the end of the line" } else { self.rest };
        let message = format!("expected {expected} before `{found}`");
        Err(ParseError { line: self.number, message })
    }

    fn is_done(&self) -> bool {
        self.rest.is_empty() || self.rest.starts_with(';')
    }

    fn end(&self) -> Result<()> {
        if self.is_done() { Ok(()) } else { self.error("the end of the line") }
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.eat(text) { Ok(()) } else { self.error(&format!("`{text}`")) }
    }

    fn word(&mut self) -> Result<&'a str> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return self.error("a word");
        }
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        Ok(word)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Result<T> {
        let sign = usize::from(self.rest.starts_with(['-', '+']));
        let digits = self.rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = self.rest.split_at(sign + digits);
        let Ok(number) = number.parse() else {
            return self.error("a number in range");
        };
        self.rest = rest.trim_start();
        Ok(number)
    }

    /// Text in double quotes with Rust's escapes, as `{:?}` prints it.
    fn string(&mut self) -> Result<String> {
        self.expect_quote()?;
        let mut text = String::new();
        let mut chars = self.rest.char_indices();
        while let Some((i, c)) = chars.next() {
            let c = match c {
                '"' => {
                    self.rest = self.rest[i + 1..].trim_start();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, 't')) => '\t',
                    Some((_, 'r')) => '\r',
                    Some((_, '0')) => '\0',
                    Some((_, 'u')) => {
                        let hex: String =
                            chars.by_ref().map(|(_, c)| c).take_while(|&c| c != '}').collect();
                        let code = u32::from_str_radix(hex.trim_start_matches('{'), 16);
                        match code.ok().and_then(char::from_u32) {
                            Some(c) => c,
                            None => return self.error("a character's code"),
                        }
                    }
                    Some((_, c)) => c,
                    None => break,
                },
                c => c,
            };
            text.push(c);
        }
        self.error("a closing quote")
    }

    fn expect_quote(&mut self) -> Result<()> {
        match self.rest.strip_prefix('"') {
            Some(rest) => {
                self.rest = rest;
                Ok(())
            }
            None => self.error("text in quotes"),
        }
    }

    fn index_of(&self, word: &str, prefix: &str) -> Result<u32> {
        match word.strip_prefix(prefix).and_then(|digits| digits.parse().ok()) {
            Some(index) if index <= MAX_INDEX => Ok(index),
            _ => self.error(&format!("{prefix} and a number")),
        }
    }

    fn entity(&mut self, prefix: &str) -> Result<u32> {
        let word = self.word()?;
        self.index_of(word, prefix)
    }

    fn value(&mut self) -> Result<Value> {
        self.entity("v").map(Value)
    }

    fn two_values(&mut self) -> Result<(Value, Value)> {
        let a = self.value()?;
        self.expect(",")?;
        Ok((a, self.value()?))
    }

    fn values_in_parens(&mut self) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        if !self.eat("(") || self.eat(")") {
            return Ok(values);
        }
        loop {
            values.push(self.value()?);
            if self.eat(")") {
                return Ok(values);
            }
            self.expect(",")?;
        }
    }

    fn address(&mut self) -> Result<(Value, i32)> {
        Ok((self.value()?, self.number()?))
    }

    fn target(&mut self) -> Result<Target> {
        let block = Block(self.entity("block")?);
        Ok(Target { block, args: self.values_in_parens()? })
    }

    fn place(&mut self) -> Result<Option<Line>> {
        if self.eat("@") { self.entity("line").map(|line| Some(Line(line))) } else { Ok(None) }
    }
}
