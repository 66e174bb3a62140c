//! Helpers of programs that trace, of security hooks and iterators, and of programs that make system
//! calls.

use super::row::protos;

protos! {
    TRACING:
    PROBE_READ = probe_read(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    TRACE_PRINTK = trace_printk(IN, SIZE) -> INTEGER, GPL_ONLY;
    GET_CURRENT_PID_TGID = get_current_pid_tgid() -> INTEGER;
    GET_CURRENT_UID_GID = get_current_uid_gid() -> INTEGER;
    GET_CURRENT_COMM = get_current_comm(OUT, SIZE) -> INTEGER;
    PERF_EVENT_READ = perf_event_read(MAP, ANY) -> INTEGER, GPL_ONLY;
    PERF_EVENT_OUTPUT = perf_event_output(CTX, MAP, ANY, IN, SIZE0) -> INTEGER, GPL_ONLY;
    GET_STACKID = get_stackid(CTX, MAP, ANY) -> INTEGER, GPL_ONLY;
    GET_STACKID_PERF = get_stackid(CTX, MAP, ANY) -> INTEGER;
    GET_CURRENT_TASK = get_current_task() -> INTEGER, GPL_ONLY;
    PROBE_WRITE_USER = probe_write_user(ANY, IN, SIZE) -> INTEGER, GPL_ONLY;
    CURRENT_TASK_UNDER_CGROUP = current_task_under_cgroup(MAP, ANY) -> INTEGER;
    PROBE_READ_STR = probe_read_str(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    PERF_EVENT_READ_VALUE = perf_event_read_value(MAP, ANY, OUT, SIZE) -> INTEGER, GPL_ONLY;
    PERF_PROG_READ_VALUE = perf_prog_read_value(CTX, OUT, SIZE) -> INTEGER, GPL_ONLY;
    OVERRIDE_RETURN = override_return(CTX, ANY) -> INTEGER, GPL_ONLY;
    GET_STACK = get_stack(CTX, OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    GET_STACK_SLEEPABLE = get_stack(CTX, OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY | MIGHT_SLEEP;
    GET_CURRENT_CGROUP_ID = get_current_cgroup_id() -> INTEGER;
    SEND_SIGNAL = send_signal(ANY) -> INTEGER;
    PROBE_READ_USER = probe_read_user(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    PROBE_READ_KERNEL = probe_read_kernel(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    PROBE_READ_USER_STR = probe_read_user_str(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    PROBE_READ_KERNEL_STR = probe_read_kernel_str(OUT, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    SEND_SIGNAL_THREAD = send_signal_thread(ANY) -> INTEGER;
    READ_BRANCH_RECORDS = read_branch_records(CTX, IN_OUT_OR_NULL, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    GET_NS_CURRENT_PID_TGID = get_ns_current_pid_tgid(ANY, ANY, OUT, SIZE) -> INTEGER;
    GET_CURRENT_ANCESTOR_CGROUP_ID = get_current_ancestor_cgroup_id(ANY) -> INTEGER;
    SEQ_PRINTF = seq_printf(btf("seq_file"), IN, SIZE, IN_OR_NULL, SIZE0) -> INTEGER, GPL_ONLY;
    SEQ_WRITE = seq_write(btf("seq_file"), IN, SIZE0) -> INTEGER, GPL_ONLY;
    GET_TASK_STACK = get_task_stack(btf("task_struct"), OUT, SIZE0, ANY) -> INTEGER;
    GET_TASK_STACK_SLEEPABLE = get_task_stack(btf("task_struct"), OUT, SIZE0, ANY)
        -> INTEGER, MIGHT_SLEEP;
    INODE_STORAGE_GET = inode_storage_get(MAP, btf_or_null("inode"), VALUE_OR_NULL, ANY)
        -> VALUE_OR_NULL;
    INODE_STORAGE_DELETE = inode_storage_delete(MAP, btf_or_null("inode")) -> INTEGER;
    D_PATH = d_path(btf("path"), IN_OUT, SIZE0) -> INTEGER, D_PATH_ONLY;
    COPY_FROM_USER = copy_from_user(OUT, SIZE0, ANY) -> INTEGER, MIGHT_SLEEP;
    SNPRINTF_BTF = snprintf_btf(IN_OUT, SIZE, IN, SIZE, ANY) -> INTEGER;
    SEQ_PRINTF_BTF = seq_printf_btf(btf("seq_file"), IN, SIZE0, ANY) -> INTEGER, GPL_ONLY;
    GET_CURRENT_TASK_BTF = get_current_task_btf() -> btf_trusted("task_struct"), GPL_ONLY;
    BPRM_OPTS_SET = bprm_opts_set(btf("linux_binprm"), ANY) -> INTEGER;
    IMA_INODE_HASH = ima_inode_hash(btf("inode"), OUT, SIZE)
        -> INTEGER, MIGHT_SLEEP | SLEEPABLE_HOOKS_ONLY;
    SYS_BPF = sys_bpf(ANY, IN, SIZE) -> INTEGER, MIGHT_SLEEP;
    BTF_FIND_BY_NAME_KIND = btf_find_by_name_kind(IN, SIZE, ANY, ANY) -> INTEGER, MIGHT_SLEEP;
    SYS_CLOSE = sys_close(ANY) -> INTEGER, MIGHT_SLEEP;
    GET_FUNC_IP = get_func_ip(CTX) -> INTEGER, GPL_ONLY;
    GET_FUNC_IP_MULTI = get_func_ip(CTX) -> INTEGER;
    GET_ATTACH_COOKIE = get_attach_cookie(CTX) -> INTEGER;
    TASK_PT_REGS = task_pt_regs(btf("task_struct")) -> btf("pt_regs"), GPL_ONLY;
    GET_BRANCH_SNAPSHOT = get_branch_snapshot(OUT, SIZE0) -> INTEGER, GPL_ONLY;
    TRACE_VPRINTK = trace_vprintk(IN, SIZE, IN_OR_NULL, SIZE0) -> INTEGER, GPL_ONLY;
    KALLSYMS_LOOKUP_NAME = kallsyms_lookup_name(IN, SIZE0, ANY, fixed_out(8)) -> INTEGER;
    FIND_VMA = find_vma(btf("task_struct"), ANY, FUNC, STACK_OR_NULL, ANY) -> INTEGER, CALLS_BACK;
    GET_FUNC_ARG = get_func_arg(CTX, ANY, fixed_out(8)) -> INTEGER;
    GET_FUNC_RET = get_func_ret(CTX, fixed_out(8)) -> INTEGER;
    GET_FUNC_ARG_CNT = get_func_arg_cnt(CTX) -> INTEGER;
    COPY_FROM_USER_TASK = copy_from_user_task(OUT, SIZE0, ANY, btf("task_struct"), ANY)
        -> INTEGER, GPL_ONLY | MIGHT_SLEEP;
    IMA_FILE_HASH = ima_file_hash(btf("file"), OUT, SIZE)
        -> INTEGER, MIGHT_SLEEP | SLEEPABLE_HOOKS_ONLY;
}
