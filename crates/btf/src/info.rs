//! What `BPF_PROG_LOAD` takes beside the types: which function starts where, and from which
//! source line each instruction came (`include/uapi/linux/bpf.h`).

use crate::TypeId;

/// The start of a function (`struct bpf_func_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FuncInfo {
    /// Slot of its first instruction.
    pub insn: u32,
    /// Its type, a [`crate::Kind::Func`].
    pub func: TypeId,
}

impl FuncInfo {
    /// The record as the kernel reads it.
    pub fn to_bytes(self) -> [u8; 8] {
        words([self.insn, self.func.0])
    }
}

/// The source of an instruction and of those after it (`struct bpf_line_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineInfo {
    /// Slot of the first instruction.
    pub insn: u32,
    /// The file's name, from [`crate::Builder::string`].
    pub file: u32,
    /// The line's text, from [`crate::Builder::string`].
    pub text: u32,
    /// Line number, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

impl LineInfo {
    /// The record as the kernel reads it. Numbers that do not fit become the largest that do:
    /// there are 22 bits for lines and 10 for columns.
    pub fn to_bytes(self) -> [u8; 16] {
        words([self.insn, self.file, self.text, self.line_column()])
    }

    /// Line and column in one word.
    pub(crate) fn line_column(&self) -> u32 {
        (self.line.min(0x3f_ffff) << 10) | self.column.min(0x3ff)
    }
}

fn words<const WORDS: usize, const BYTES: usize>(words: [u32; WORDS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}
