//! Names as the kernel takes them.

/// Letters, digits, `_` and `.` stay; the rest becomes `_` (`bpf_obj_name_cpy`,
/// `kernel/bpf/syscall.c`). Cutting to 15 characters is the kernel command's job.
pub(super) fn sanitized(name: &str) -> String {
    let allowed = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
    name.chars().map(|char| if allowed(char) { char } else { '_' }).collect()
}
