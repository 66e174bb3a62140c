/* Sums the numbers from 0 to 4 by the kernel's own iterator, at every chdir(2). */
#define SEC(name) __attribute__((section(name), used))
#define __ksym __attribute__((section(".ksyms")))

struct bpf_iter_num {
	unsigned long long __opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

int sum;

SEC("tracepoint/syscalls/sys_enter_chdir")
int on_chdir(void *ctx)
{
	struct bpf_iter_num it;
	int *number, total = 0;

	bpf_iter_num_new(&it, 0, 5);
	while ((number = bpf_iter_num_next(&it)))
		total += *number;
	bpf_iter_num_destroy(&it);
	sum = total;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
