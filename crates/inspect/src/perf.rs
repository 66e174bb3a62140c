//! What processes trace: `perf show`.

use bombus_kernel::inspect::TaskFd;
use serde_json::{Value, json};

/// `enum bpf_task_fd_type`.
fn kind(fd_type: u32) -> Option<&'static str> {
    let names = ["raw_tracepoint", "tracepoint", "kprobe", "kretprobe", "uprobe", "uretprobe"];
    names.get(fd_type as usize).copied()
}

/// The text form.
pub fn text(traced: &TaskFd) -> String {
    let TaskFd { pid, fd, prog_id, name, offset, addr, .. } = traced;
    let head = format!("pid {pid}  fd {fd}: prog_id {prog_id}  ");
    match (kind(traced.fd_type), traced.fd_type) {
        (Some(kind), 0 | 1) => format!("{head}{kind}  {name}\n"),
        (Some(kind), 2 | 3) if name.is_empty() => format!("{head}{kind}  addr {addr}\n"),
        (Some(kind), 2 | 3) => format!("{head}{kind}  func {name}  offset {offset}\n"),
        (Some(kind), _) => format!("{head}{kind}  filename {name}  offset {offset}\n"),
        (None, _) => head,
    }
}

/// The JSON form.
pub fn json(traced: &TaskFd) -> Value {
    let TaskFd { pid, fd, prog_id, name, offset, addr, .. } = traced;
    let mut object = json!({ "pid": pid, "fd": fd, "prog_id": prog_id });
    let Some(kind) = kind(traced.fd_type) else { return object };
    object["fd_type"] = kind.into();
    match traced.fd_type {
        0 | 1 => object["tracepoint"] = name.as_str().into(),
        2 | 3 if name.is_empty() => object["addr"] = (*addr).into(),
        fd_type => {
            let what = if fd_type < 4 { "func" } else { "filename" };
            object[what] = name.as_str().into();
            object["offset"] = (*offset).into();
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let traced = |fd_type, name: &str| TaskFd {
            pid: 7,
            fd: 3,
            prog_id: 9,
            fd_type,
            name: name.into(),
            offset: 16,
            addr: 4096,
        };
        assert_eq!(
            text(&traced(1, "sys_enter")),
            "pid 7  fd 3: prog_id 9  tracepoint  sys_enter\n"
        );
        assert_eq!(text(&traced(2, "")), "pid 7  fd 3: prog_id 9  kprobe  addr 4096\n");
        assert_eq!(json(&traced(5, "/bin/sh"))["filename"], "/bin/sh");
        assert_eq!(json(&traced(3, ""))["addr"], 4096);
    }
}
