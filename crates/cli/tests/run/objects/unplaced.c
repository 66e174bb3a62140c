/* Programs whose sections do not say where they attach. */
#define SEC(name) __attribute__((section(name), used))

SEC("xdp")
int pass(void *context)
{
	return 2;
}

SEC("uprobe")
int on_call(void *context)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
