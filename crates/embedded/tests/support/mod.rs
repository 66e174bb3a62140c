//! What the test suites of this crate share.

use bombus_isa::{AsmError, Insn, asm};
use bombus_kernel::MapFd;
use bombus_platform::HELPERS;

/// Assembles a program in which `map0` stands for the first map, and helpers have names.
pub(crate) fn assemble(text: &str, maps: &[MapFd]) -> Result<Vec<Insn>, AsmError> {
    let mut text = format!("{text}\n");
    for (index, map) in maps.iter().enumerate() {
        text = text.replace(&format!("map{index}"), &format!("map[fd:{}]", map.0));
    }
    for helper in HELPERS {
        let (name, number) = (format!("call {}\n", helper.name()), helper.id());
        text = text.replace(&name, &format!("call {number}\n"));
    }
    asm(&text)
}
