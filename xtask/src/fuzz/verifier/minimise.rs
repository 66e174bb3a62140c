//! Programs that show what is wrong with less.

use bombus_isa::Insn;

use super::generate::Case;

/// Takes instructions out as long as something is wrong.
pub(super) fn minimise(
    mut case: Case,
    mut violation: String,
    mut examine: impl FnMut(&Case) -> Option<String>,
) -> (Case, String) {
    let nothing = Insn::ja(0);
    loop {
        let mut changed = false;
        for slot in (0..case.code.len()).rev() {
            if case.code[slot] == nothing || case.code[slot].code == 0 {
                continue;
            }
            let mut less = case.clone();
            let slots = if case.code[slot].is_wide() { 2 } else { 1 };
            for code in [&mut less.code, &mut less.run] {
                code[slot..slot + slots].fill(nothing);
            }
            if let Some(found) = examine(&less) {
                (case, violation, changed) = (less, found, true);
            }
        }
        if !changed {
            return (case, violation);
        }
    }
}

/// The program without what does nothing.
pub(super) fn shown(case: &Case) -> String {
    let text = bombus_isa::disasm(&case.code, &());
    let lines = text.lines().filter(|line| !line.ends_with("goto pc+0"));
    lines.map(|line| format!("{line}\n")).collect()
}
