//! Helpers that programs of nearly every type have: maps, bounded pointers, timers, clocks, numbers and
//! strings.

use super::row::protos;

protos! {
    BASIC:
    MAP_LOOKUP_ELEM = map_lookup_elem(MAP, KEY) -> VALUE_OR_NULL, PKT_ACCESS;
    MAP_UPDATE_ELEM = map_update_elem(MAP, KEY, VALUE, ANY) -> INTEGER, PKT_ACCESS;
    MAP_DELETE_ELEM = map_delete_elem(MAP, KEY) -> INTEGER, PKT_ACCESS;
    KTIME_GET_NS = ktime_get_ns() -> INTEGER;
    GET_PRANDOM_U32 = get_prandom_u32() -> INTEGER;
    GET_SMP_PROCESSOR_ID = get_smp_processor_id() -> INTEGER, FASTCALL;
    GET_SMP_PROCESSOR_ID_RAW = get_smp_processor_id() -> INTEGER;
    TAIL_CALL = tail_call(CTX, MAP, ANY) -> VOID, CHANGES_PACKET;
    GET_NUMA_NODE_ID = get_numa_node_id() -> INTEGER;
    MAP_PUSH_ELEM = map_push_elem(MAP, VALUE, ANY) -> INTEGER, PKT_ACCESS;
    MAP_POP_ELEM = map_pop_elem(MAP, VALUE_OUT) -> INTEGER;
    MAP_PEEK_ELEM = map_peek_elem(MAP, VALUE_OUT) -> INTEGER;
    SPIN_LOCK = spin_lock(SPIN_LOCK) -> VOID;
    SPIN_UNLOCK = spin_unlock(SPIN_LOCK) -> VOID;
    STRTOL = strtol(IN, SIZE, ANY, fixed_out(8)) -> INTEGER;
    STRTOUL = strtoul(IN, SIZE, ANY, fixed_out(8)) -> INTEGER;
    JIFFIES64 = jiffies64() -> INTEGER;
    KTIME_GET_BOOT_NS = ktime_get_boot_ns() -> INTEGER;
    RINGBUF_OUTPUT = ringbuf_output(MAP, IN, SIZE0, ANY) -> INTEGER;
    RINGBUF_RESERVE = ringbuf_reserve(MAP, ALLOC_SIZE, ANY) -> RECORD_OR_NULL, ACQUIRES;
    RINGBUF_SUBMIT = ringbuf_submit(RECORD, ANY) -> VOID;
    RINGBUF_DISCARD = ringbuf_discard(RECORD, ANY) -> VOID;
    RINGBUF_QUERY = ringbuf_query(MAP, ANY) -> INTEGER;
    PER_CPU_PTR = per_cpu_ptr(PERCPU, ANY) -> PERCPU_OR_NULL;
    THIS_CPU_PTR = this_cpu_ptr(PERCPU) -> PERCPU;
    TASK_STORAGE_GET = task_storage_get(MAP, btf_or_null("task_struct"), VALUE_OR_NULL, ANY)
        -> VALUE_OR_NULL;
    TASK_STORAGE_DELETE = task_storage_delete(MAP, btf_or_null("task_struct")) -> INTEGER;
    KTIME_GET_COARSE_NS = ktime_get_coarse_ns() -> INTEGER;
    FOR_EACH_MAP_ELEM = for_each_map_elem(MAP, FUNC, STACK_OR_NULL, ANY) -> INTEGER, CALLS_BACK;
    SNPRINTF = snprintf(IN_OUT_OR_NULL, SIZE0, STR, IN_OR_NULL, SIZE0) -> INTEGER, GPL_ONLY;
    TIMER_INIT = timer_init(TIMER, MAP, ANY) -> INTEGER, GPL_ONLY;
    TIMER_SET_CALLBACK = timer_set_callback(TIMER, FUNC) -> INTEGER, GPL_ONLY | CALLS_BACK_LATER;
    TIMER_START = timer_start(TIMER, ANY, ANY) -> INTEGER, GPL_ONLY;
    TIMER_CANCEL = timer_cancel(TIMER) -> INTEGER, GPL_ONLY;
    LOOP = loop(SCALAR, FUNC, STACK_OR_NULL, ANY) -> INTEGER, CALLS_BACK;
    STRNCMP = strncmp(IN, SIZE, STR) -> INTEGER;
    KPTR_XCHG = kptr_xchg(KPTR_DEST, KPTR) -> KPTR_OR_NULL, ACQUIRES;
    MAP_LOOKUP_PERCPU_ELEM = map_lookup_percpu_elem(MAP, KEY, ANY) -> VALUE_OR_NULL, PKT_ACCESS;
    DYNPTR_FROM_MEM = dynptr_from_mem(OUT, SIZE0, ANY, DYNPTR_LOCAL_OUT) -> INTEGER;
    RINGBUF_RESERVE_DYNPTR = ringbuf_reserve_dynptr(MAP, ANY, ANY, DYNPTR_RINGBUF_OUT) -> INTEGER;
    RINGBUF_SUBMIT_DYNPTR = ringbuf_submit_dynptr(DYNPTR_RINGBUF_RELEASE, ANY) -> VOID;
    RINGBUF_DISCARD_DYNPTR = ringbuf_discard_dynptr(DYNPTR_RINGBUF_RELEASE, ANY) -> VOID;
    DYNPTR_READ = dynptr_read(OUT, SIZE0, DYNPTR, ANY, ANY) -> INTEGER;
    DYNPTR_WRITE = dynptr_write(DYNPTR, ANY, IN, SIZE0, ANY) -> INTEGER;
    DYNPTR_DATA = dynptr_data(DYNPTR, ANY, ALLOC_SIZE) -> MEM_OR_NULL;
    KTIME_GET_TAI_NS = ktime_get_tai_ns() -> INTEGER;
    USER_RINGBUF_DRAIN = user_ringbuf_drain(MAP, FUNC, STACK_OR_NULL, ANY) -> INTEGER, CALLS_BACK;
    CGRP_STORAGE_GET = cgrp_storage_get(MAP, btf_or_null("cgroup"), VALUE_OR_NULL, ANY)
        -> VALUE_OR_NULL;
    CGRP_STORAGE_DELETE = cgrp_storage_delete(MAP, btf_or_null("cgroup")) -> INTEGER;
}
