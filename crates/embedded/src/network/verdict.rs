//! What a program's value means for a packet.

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It goes on its way.
    Pass,
    /// It is no more.
    Drop,
    /// Back to where it came from.
    Send,
    /// To where the program said.
    Redirect,
}

/// Of XDP (`enum xdp_action`): what is no verdict counts as `XDP_ABORTED`, and so does a run that was
/// stopped.
pub(super) fn of_xdp(value: Option<u32>) -> Fate {
    match value {
        Some(2) => Fate::Pass,
        Some(3) => Fate::Send,
        Some(4) => Fate::Redirect,
        _ => Fate::Drop,
    }
}

/// Of a program by link (`tcx_action_code`, `include/net/tcx.h`); `None`: the next program decides.
pub(super) fn of_tcx(value: Option<u32>) -> Option<Fate> {
    match value {
        Some(0) => Some(Fate::Pass),
        Some(7) => Some(Fate::Redirect),
        Some(2) | None => Some(Fate::Drop),
        Some(_) => None,
    }
}

/// Of a filter (`cls_bpf_exec_opcode`, `net/sched/cls_bpf.c`): `TC_ACT_OK`, `_SHOT`, `_STOLEN`,
/// `_TRAP`, `_REDIRECT`; with all others the next filter decides.
pub(super) fn of_filter(value: Option<u32>) -> Option<Fate> {
    match value {
        Some(0) => Some(Fate::Pass),
        Some(7) => Some(Fate::Redirect),
        Some(2 | 4 | 8) | None => Some(Fate::Drop),
        Some(_) => None,
    }
}
