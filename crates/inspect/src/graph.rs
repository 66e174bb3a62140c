//! A program's control flow as a graph in the DOT language: `prog dump xlated ... visual`.

use std::collections::BTreeSet;

use bombus_isa::Insn;

use crate::code::{is_goto, is_local_call, is_wide, jump};
use crate::source::Line;
use crate::{Listing, Shown};

/// Numbers of the boxes that every function has; its blocks come after them.
const ENTRY: usize = 0;
const EXIT: usize = 1;
const FIRST_BLOCK: usize = 2;

impl Listing<'_> {
    /// The graph of every function.
    pub fn graph(&self, shown: Shown) -> String {
        let insns = self.insns();
        let mut text = String::from("digraph \"DOT graph for eBPF program\" {\n");
        for (index, (start, end)) in functions(&insns) {
            text += &format!(
                "subgraph \"cluster_{index}\" {{\n\tstyle=\"dashed\";\n\tcolor=\"black\";\n\
                 \tlabel=\"func_{index} ()\";\n"
            );
            text += &self.function(&insns, index, start, end, shown);
            text += "}\n";
        }
        text + "}\n"
    }

    fn function(
        &self,
        insns: &[Insn],
        index: usize,
        start: usize,
        end: usize,
        shown: Shown,
    ) -> String {
        let heads = heads(insns, start, end);
        let blocks: Vec<(usize, usize)> = heads
            .iter()
            .enumerate()
            .map(|(block, &head)| (head, heads.get(block + 1).copied().unwrap_or(end)))
            .collect();
        let node = |number: usize, shape: &str, label: &str| {
            format!("\tfn_{index}_bb_{number} [shape={shape},style=filled,label=\"{label}\"];\n\n")
        };
        let mut text = node(ENTRY, "Mdiamond", "ENTRY");
        for (block, &(head, tail)) in blocks.iter().enumerate() {
            let label = self.label(insns, start, head, tail, shown);
            text += &node(FIRST_BLOCK + block, "record", &format!("{{\\\n{label}}}"));
        }
        text += &node(EXIT, "Mdiamond", "EXIT");
        let mut edge = |from: usize, to: usize, style: &str| {
            text += &format!("\tfn_{index}_bb_{from}:s -> fn_{index}_bb_{to}:n [{style}];\n");
        };
        let solid = "style=\"solid,bold\", color=black, weight=10, constraint=true";
        edge(ENTRY, FIRST_BLOCK, solid);
        for (block, &(head, tail)) in blocks.iter().enumerate() {
            let next = if block + 1 < blocks.len() { FIRST_BLOCK + block + 1 } else { EXIT };
            let Some(&last) = insns.get(tail.wrapping_sub(1)).filter(|_| tail > head) else {
                continue;
            };
            let target = jump(last)
                .and_then(|off| usize::try_from(tail as i64 + off).ok())
                .and_then(|slot| heads.binary_search(&slot).ok());
            if jump(last).is_none() || !is_goto(last) {
                edge(FIRST_BLOCK + block, next, solid);
            }
            if let Some(target) = target {
                edge(FIRST_BLOCK + block, FIRST_BLOCK + target, solid);
            }
        }
        edge(ENTRY, EXIT, "style=\"invis\", constraint=true");
        text
    }

    /// The instructions of a block. They are numbered from the start of their function.
    fn label(
        &self,
        insns: &[Insn],
        start: usize,
        head: usize,
        tail: usize,
        shown: Shown,
    ) -> String {
        let mut label = String::new();
        let mut line_before = None;
        let mut slot = head;
        while slot < tail {
            let number = slot - start;
            if slot != head {
                label += "| ";
            }
            // bpftool asks with the number inside the function, whichever function it is.
            if let Some(prototype) = self.function_at(number).filter(|_| slot == head) {
                label += &format!("; {prototype}:\\l\\\n");
            }
            let line = self.line_of(number);
            if line.is_some() && line != line_before {
                line_before = line;
                if let Some(line) = self.btf.zip(line).and_then(|(btf, line)| Line::new(btf, line))
                {
                    label += &line.to_label(shown.linum);
                }
            }
            let row = self.row(insns, slot);
            label += &format!("{number}: {}\\l\\\n", escaped(&row.text));
            if shown.opcodes {
                label += &format!("\\ \\ \\ \\ {}\\l\\\n", row.bytes());
            }
            slot += if is_wide(insns[slot]) { 2 } else { 1 };
        }
        label
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '<' | '>' | '|' | '&') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The functions: their numbers in the order in which calls name them, with first slot and the slot
/// after the last, in the order of their code.
fn functions(insns: &[Insn]) -> Vec<(usize, (usize, usize))> {
    let mut starts = vec![0];
    for (slot, &insn) in insns.iter().enumerate() {
        if is_local_call(insn)
            && let Ok(start) = usize::try_from(slot as i64 + 1 + i64::from(insn.off))
            && start < insns.len()
            && !starts.contains(&start)
        {
            starts.push(start);
        }
    }
    let mut functions: Vec<(usize, usize)> = starts.into_iter().enumerate().collect();
    functions.sort_by_key(|&(_, start)| start);
    let ends: Vec<usize> =
        functions.iter().skip(1).map(|&(_, start)| start).chain([insns.len()]).collect();
    functions.into_iter().zip(ends).map(|((index, start), end)| (index, (start, end))).collect()
}

/// Where the blocks of a function start.
fn heads(insns: &[Insn], start: usize, end: usize) -> Vec<usize> {
    let mut heads = BTreeSet::from([start]);
    for (slot, &insn) in insns.iter().enumerate().take(end).skip(start) {
        let Some(off) = jump(insn) else { continue };
        if let Ok(target) = usize::try_from(slot as i64 + 1 + off) {
            heads.insert(target);
        }
        if !is_goto(insn) {
            heads.insert(slot + 1);
        }
    }
    heads.into_iter().filter(|head| (start..end).contains(head)).collect()
}
