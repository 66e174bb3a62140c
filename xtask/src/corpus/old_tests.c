/* Has the kernel's test_verifier load its tests into a libbpf that only takes them down, one object
 * of JSON a test. It is compiled with the kernel's source beside it, and never kept. */

#define main test_verifier_main
#include "test_verifier.c"
#undef main

/* Handles that nothing else has. */
#define FIRST_HANDLE 100000
/* Numbers that stand for kernel functions. */
#define FIRST_FUNCTION 0x60000000

struct taken {
	int type, key_size, value_size, max_entries, flags, inner, btf, key, value;
};

static struct taken maps[64];
static int map_count, updated, btf_count, function_count;
static const char *functions[64];
static const char *target;
static char *btfs[64];

static struct {
	int type, attach_type, flags, btf;
	char *insns, *func_info;
} program;

static char *hexadecimal(const void *bytes, size_t size)
{
	char *text = malloc(size * 2 + 1);
	size_t i;

	for (i = 0; i < size; i++)
		sprintf(text + 2 * i, "%02x", ((const unsigned char *)bytes)[i]);
	text[size * 2] = 0;
	return text;
}

int bpf_map_create(enum bpf_map_type type, const char *name, __u32 key_size, __u32 value_size,
		   __u32 max_entries, const struct bpf_map_create_opts *opts)
{
	struct taken *map = &maps[map_count];

	*map = (struct taken){ type, key_size, value_size, max_entries };
	if (opts) {
		map->flags = opts->map_flags;
		map->inner = opts->inner_map_fd;
		map->btf = opts->btf_fd;
		map->key = opts->btf_key_type_id;
		map->value = opts->btf_value_type_id;
	}
	return FIRST_HANDLE + map_count++;
}

int bpf_map_update_elem(int fd, const void *key, const void *value, __u64 flags)
{
	return 0;
}

int bpf_btf_load(const void *data, size_t size, struct bpf_btf_load_opts *opts)
{
	btfs[btf_count] = hexadecimal(data, size);
	return FIRST_HANDLE + btf_count++;
}

int bpf_prog_load(enum bpf_prog_type type, const char *name, const char *license,
		  const struct bpf_insn *insns, size_t count, struct bpf_prog_load_opts *opts)
{
	program.type = type;
	program.insns = hexadecimal(insns, count * sizeof(*insns));
	program.attach_type = opts ? opts->expected_attach_type : 0;
	program.flags = opts ? opts->prog_flags : 0;
	program.btf = opts ? opts->prog_btf_fd : 0;
	program.func_info = opts && opts->func_info_cnt ?
		hexadecimal(opts->func_info, opts->func_info_cnt * opts->func_info_rec_size) : "";
	return FIRST_HANDLE;
}

int bpf_prog_test_run_opts(int fd, struct bpf_test_run_opts *opts)
{
	return 0;
}

struct btf *btf__load_vmlinux_btf(void)
{
	return (struct btf *)functions;
}

__s32 btf__find_by_name_kind(const struct btf *btf, const char *name, __u32 kind)
{
	functions[function_count] = name;
	return FIRST_FUNCTION + function_count++;
}

int libbpf_find_vmlinux_btf_id(const char *name, enum bpf_attach_type type)
{
	target = name;
	return 1;
}

int libbpf_probe_bpf_prog_type(enum bpf_prog_type type, const void *opts)
{
	return 1;
}

int get_xlated_program(int fd, struct bpf_insn **buffer, __u32 *count)
{
	return -1;
}

int testing_prog_flags(void)
{
	return 0;
}

static void text(FILE *out, const char *key, const char *value)
{
	fprintf(out, ",\"%s\":\"", key);
	for (; value && *value; value++)
		switch (*value) {
		case '"': case '\\': fprintf(out, "\\%c", *value); break;
		case '\t': fprintf(out, "\\t"); break;
		case '\n': fprintf(out, "\\n"); break;
		default: fputc(*value, out);
		}
	fputc('"', out);
}

int main(int argc, char **argv)
{
	FILE *out = fopen(argv[1], "w");
	int i, j, passes, errors;

	for (i = 0; out && i < (int)ARRAY_SIZE(tests); i++) {
		struct bpf_test *test = &tests[i];

		map_count = btf_count = function_count = 0;
		target = NULL;
		do_test_single(test, false, &passes, &errors);
		fprintf(out, "{\"accepted\":%s", test->result == REJECT ? "false" : "true");
		text(out, "name", test->descr);
		text(out, "message", test->errstr);
		text(out, "target", target);
		text(out, "insns", program.insns);
		text(out, "func_info", program.func_info);
		fprintf(out, ",\"verbose\":%s", test->result == VERBOSE_ACCEPT ? "true" : "false");
		fprintf(out, ",\"type\":%d,\"attach_type\":%d,\"flags\":%d", program.type,
			program.attach_type, program.flags);
		fprintf(out, ",\"btf\":%d,\"retval\":%u,\"maps\":[", program.btf, test->retval);
		for (j = 0; j < map_count; j++)
			fprintf(out, "%s[%d,%d,%d,%d,%d,%d,%d,%d,%d]", j ? "," : "", maps[j].type,
				maps[j].key_size, maps[j].value_size, maps[j].max_entries,
				maps[j].flags, maps[j].inner, maps[j].btf, maps[j].key,
				maps[j].value);
		fprintf(out, "],\"btfs\":[");
		for (j = 0; j < btf_count; j++)
			fprintf(out, "%s\"%s\"", j ? "," : "", btfs[j]);
		fprintf(out, "],\"functions\":[");
		for (j = 0; j < function_count; j++)
			fprintf(out, "%s\"%s\"", j ? "," : "", functions[j]);
		fprintf(out, "]}\n");
	}
	return out && !fclose(out) ? 0 : 1;
}
