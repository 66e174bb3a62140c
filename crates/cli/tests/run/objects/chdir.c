/* Tells of every chdir(2) to the directory that is wanted, in every way that there is. */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, type) typeof(type) *name

typedef unsigned int u32;
typedef unsigned long u64;

enum { HASH = 1, ARRAY = 2, PERF_EVENT_ARRAY = 4, PERCPU_ARRAY = 6, RINGBUF = 27 };

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 u64 flags) = (void *)2;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_probe_read_user_str)(void *to, u32 size, const void *from) = (void *)114;
static long (*const bpf_ringbuf_output)(void *map, void *data, u64 size, u64 flags) = (void *)130;

#ifdef LINUX_ONLY
static long (*const bpf_trace_printk)(const char *format, u32 size, ...) = (void *)6;
static long (*const bpf_perf_event_output)(void *context, void *map, u64 flags, void *data,
					   u64 size) = (void *)25;
#endif

enum kind { KIND_NONE, KIND_CHDIR = 3 };

struct place {
	u32 serial;
	enum kind kind : 8;
	u32 loud : 1;
	int depth : 4;
};

struct event {
	struct place place;
	union {
		u32 length;
		u32 size;
	};
	char path[24];
};

struct event *event_type_is_kept;

struct {
	__uint(type, RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

struct {
	__uint(type, HASH);
	__uint(max_entries, 16);
	__type(key, struct place);
	__type(value, u64);
} by_place SEC(".maps");

struct {
	__uint(type, ARRAY);
	__uint(max_entries, 8);
	__type(key, u32);
	__type(value, long);
} by_serial SEC(".maps");

#ifdef LINUX_ONLY
struct {
	__uint(type, PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} samples SEC(".maps");
#endif

const volatile char wanted[24] = "/nowhere";
const volatile enum kind kind = KIND_NONE;
const volatile int depths[4];
u32 serial;
long total = 40;

SEC("tracepoint/syscalls/sys_enter_chdir")
int on_chdir(u64 *context)
{
	struct event event = {};
	struct place key = {};
	u64 one = 1;

	event.length = bpf_probe_read_user_str(event.path, sizeof event.path, (void *)context[2]);
	for (int i = 0; i < sizeof event.path; i++) {
		if (event.path[i] != wanted[i])
			return 0;
		if (!wanted[i])
			break;
	}
	event.place.serial = ++serial;
	event.place.kind = kind;
	event.place.loud = 1;
	event.place.depth = depths[serial & 3];
	total += 1;
	bpf_ringbuf_output(&events, &event, sizeof event, 0);
	key.serial = serial;
	key.kind = kind;
	bpf_map_update_elem(&by_place, &key, &one, 0);
	u32 slot = serial % 8;
	long *value = bpf_map_lookup_elem(&by_serial, &slot);
	if (value)
		*value -= serial;
#ifdef LINUX_ONLY
	static const char format[] = "chdir %u to %s";
	bpf_trace_printk(format, sizeof format, serial, event.path);
	bpf_perf_event_output(context, &samples, 0xffffffff, &event, sizeof event);
#endif
	return 0;
}

char _license[] SEC("license") = "GPL";
