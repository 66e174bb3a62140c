/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * libbpf-oracle [--live] [--btf FILE] [--kallsyms FILE] [--config FILE] [--release X.Y.Z]
 *               [--settings FILE] [--socket-filters] OBJECT
 *
 * Prints one line of JSON for the object, one for each map and one for each program: what libbpf
 * sends to the kernel, with every map's descriptor replaced by the map's name. All programs are
 * loaded, also those that the object leaves out by default. When the object does not load as a
 * whole, its programs are loaded one by one. --socket-filters is for objects whose sections do not
 * say what their programs are: all are socket filters then. --settings is for objects that leave
 * something to their tools; in each line: OBJECT map NAME max_entries|value_size NUMBER, or
 * OBJECT program NAME attach_to FUNCTION.
 */
#include "oracle.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))

static struct bpf_object *object; /* The one being loaded. */
static char **programs;           /* What is known of each of its programs, as JSON. */
static bool socket_filters;
static const char *settings;
static bool reached;              /* One of its programs got as far as the kernel. */
static char *warnings;            /* What libbpf complained of in this attempt. */
static size_t warnings_size;
static FILE *warnings_out;

static int on_print(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level == LIBBPF_WARN && warnings_out)
		vfprintf(warnings_out, format, args);
	return 0;
}

static void warnings_restart(void)
{
	if (warnings_out)
		fclose(warnings_out);
	free(warnings);
	warnings = NULL;
	warnings_out = open_memstream(&warnings, &warnings_size);
}

/* The last part of a text: the reason comes at the end. */
static const char *tail(const char *text, size_t size)
{
	size_t length = text ? strlen(text) : 0;

	return length > size ? text + length - size : text;
}

/* Data sections are named for the section, without libbpf's prefix: a user's name has no dot. */
static const char *map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	const char *dot = strchr(name, '.');

	return dot ? dot : name;
}

static const struct bpf_map *map_by_fd(int fd)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		if (bpf_map__fd(map) == fd)
			return map;
	return NULL;
}

static const struct bpf_program *program_by_fd(int fd)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object)
		if (fd > 0 && bpf_program__fd(program) == fd)
			return program;
	return NULL;
}

static const char *map_by_identity(unsigned long wanted)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
		if (wanted && bpf_map__fd(map) >= 0 && identity(bpf_map__fd(map)) == wanted)
			return map_name(map);
	return NULL;
}

/* The map behind a descriptor: the object's, or else one that libbpf made beside (jump tables). */
static const char *name_by_fd(int fd)
{
	const struct bpf_map *map = map_by_fd(fd);
	const struct created_map *created = map ? NULL : created_map(fd);

	return map ? map_name(map) : created ? created->attr.map_name : "?";
}

/* The code; map descriptors are zeroed and named beside it. */
static void print_code(FILE *out, const struct bpf_insn *insns, size_t count)
{
	struct bpf_insn *code = malloc(count * sizeof(*code));
	const char *comma = "";

	memcpy(code, insns, count * sizeof(*code));
	fputs(",\"maps\":[", out);
	for (size_t i = 0; i < count; i++) {
		if (code[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (code[i].src_reg == BPF_PSEUDO_MAP_FD || code[i].src_reg == BPF_PSEUDO_MAP_VALUE) {
			fprintf(out, "%s[%zu,", comma, i);
			json_string(out, name_by_fd(code[i].imm));
			fputc(']', out);
			comma = ",";
			code[i].imm = 0;
		}
		i++;
	}
	fputs("],\"insns\":", out);
	json_hex(out, code, count * sizeof(*code));
	free(code);
}

static void print_program(FILE *out, const struct bpf_program *program,
			  const union bpf_attr *attr, long result)
{
	const struct bpf_insn *insns = (void *)(uintptr_t)attr->insns;
	const char *info = (void *)(uintptr_t)attr->func_info;

	fputs("{\"kind\":\"program\",\"name\":", out);
	json_string(out, bpf_program__name(program));
	fputs(",\"section\":", out);
	json_string(out, bpf_program__section_name(program));
	fprintf(out,
		",\"prog_type\":%u,\"expected_attach_type\":%u,\"flags\":%u,\"attach_btf_id\":%u"
		",\"attach_prog_fd\":%s,\"kern_version\":%u,\"ifindex\":%u,\"license\":",
		attr->prog_type, attr->expected_attach_type, attr->prog_flags, attr->attach_btf_id,
		attr->attach_prog_fd ? "true" : "false", attr->kern_version, attr->prog_ifindex);
	json_string(out, (const char *)(uintptr_t)attr->license);
	fputs(",\"functions\":[", out);
	for (unsigned i = 0; i < attr->func_info_cnt; i++) {
		const struct bpf_func_info *function = (void *)(info + i * attr->func_info_rec_size);

		fprintf(out, "%s[%u,%u]", i ? "," : "", function->insn_off, function->type_id);
	}
	fprintf(out, "],\"lines\":%u", attr->line_info_cnt);
	/* Of a live kernel only the verdict is of interest. */
	if (!kernel.live)
		print_code(out, insns, attr->insn_cnt);
	fprintf(out, ",\"result\":%ld", result < 0 ? result : 0);
	if (result < 0 && attr->log_buf && attr->log_level) {
		fputs(",\"log\":", out);
		json_string(out, tail((const char *)(uintptr_t)attr->log_buf, 600));
	}
	fputs("}\n", out);
}

void on_program(const union bpf_attr *attr, size_t size, long result)
{
	union bpf_attr whole = {};
	struct bpf_program *program;
	size_t index = 0, length;
	FILE *out;

	memcpy(&whole, attr, size < sizeof(whole) ? size : sizeof(whole));
	if (!object)
		return;
	bpf_object__for_each_program(program, object) {
		/* libbpf's probes of the kernel load programs, too. */
		if (bpf_program__insns(program) == (void *)(uintptr_t)whole.insns) {
			free(programs[index]);
			out = open_memstream(&programs[index], &length);
			print_program(out, program, &whole, result);
			fclose(out);
			reached = true;
			return;
		}
		index++;
	}
}

static void print_definition(FILE *out, const union bpf_attr *attr)
{
	fprintf(out,
		"\"map_type\":%u,\"key_size\":%u,\"value_size\":%u,\"max_entries\":%u,\"flags\":%u"
		",\"extra\":%llu,\"numa_node\":%u,\"key_type\":%u,\"value_type\":%u,\"kernel_type\":%u",
		attr->map_type, attr->key_size, attr->value_size, attr->max_entries, attr->map_flags,
		(unsigned long long)attr->map_extra, attr->numa_node, attr->btf_key_type_id,
		attr->btf_value_type_id, attr->btf_vmlinux_value_type_id);
}

/* Maps and programs that the map holds: [key, name]. */
static void print_slots(FILE *out, const struct created_map *created)
{
	const char *comma = "";

	fputs(",\"slots\":[", out);
	for (const struct update *update = created->updates; update; update = update->next) {
		const struct bpf_program *program;
		const char *name = NULL;
		uint32_t key = 0, value = 0;

		if (update->value_size != 4)
			continue;
		memcpy(&key, update->key, update->key_size < 4 ? update->key_size : 4);
		memcpy(&value, update->value, 4);
		if (created->attr.map_type == BPF_MAP_TYPE_PROG_ARRAY) {
			program = program_by_fd(value);
			name = program ? bpf_program__name(program) : NULL;
		} else if (created->inner) {
			name = map_by_identity(identity(value));
		}
		if (!name)
			continue;
		fprintf(out, "%s[%u,", comma, key);
		json_string(out, name);
		fputc(']', out);
		comma = ",";
	}
	fputc(']', out);
}

/* The first value of a map, without the zeroes at its end. */
static void print_data(FILE *out, const void *value, size_t size)
{
	while (size && !((const char *)value)[size - 1])
		size--;
	fputs(",\"data\":", out);
	json_hex(out, value, size);
}

/* What is registered with the kernel: in its own layout, with programs in place of functions. */
static void print_struct_ops(FILE *out, const struct bpf_map *map, const struct created_map *created)
{
	struct bpf_link *link = bpf_map__attach_struct_ops(map);
	const struct update *update = created->updates;
	const char *comma = "";

	fputs(",\"functions\":[", out);
	for (size_t offset = 0; update && offset + 8 <= update->value_size; offset += 8) {
		const struct bpf_program *program;
		uint64_t word;

		memcpy(&word, update->value + offset, 8);
		program = word < INT32_MAX ? program_by_fd(word) : NULL;
		if (!program)
			continue;
		memset(update->value + offset, 0, 8);
		fprintf(out, "%s[%zu,", comma, offset);
		json_string(out, bpf_program__name(program));
		fputc(']', out);
		comma = ",";
	}
	fputc(']', out);
	if (update)
		print_data(out, update->value, update->value_size);
	bpf_link__disconnect(link);
	bpf_link__destroy(link);
}

static char *print_maps(void)
{
	struct bpf_map *map;
	char *text;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	bpf_object__for_each_map(map, object) {
		int fd = bpf_map__fd(map);
		const struct created_map *created = fd < 0 ? NULL : created_map(fd);
		const struct created_map *inner;
		const char *pin = bpf_map__pin_path(map);
		const void *value;
		size_t size;

		fputs("{\"kind\":\"map\",\"name\":", out);
		json_string(out, map_name(map));
		if (!created) {
			fputs("}\n", out);
			continue;
		}
		fputc(',', out);
		print_definition(out, &created->attr);
		fprintf(out, ",\"frozen\":%s", created->frozen ? "true" : "false");
		if (pin) {
			fputs(",\"pin\":", out);
			json_string(out, pin);
		}
		inner = created_map_by_identity(created->inner);
		if (inner) {
			fputs(",\"inner\":{", out);
			print_definition(out, &inner->attr);
			fputc('}', out);
		}
		print_slots(out, created);
		value = bpf_map__initial_value(map, &size);
		if (created->attr.map_type == BPF_MAP_TYPE_STRUCT_OPS) {
			if (!kernel.live)
				print_struct_ops(out, map, created);
		} else if (value) {
			print_data(out, value, size);
		} else if (bpf_map__is_internal(map) && created->updates) {
			print_data(out, created->updates->value, created->updates->value_size);
		}
		fputs("}\n", out);
	}
	fclose(out);
	return text;
}

/* What the tool of this object would set before it loads it. */
static void apply_settings(const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *file = slash ? slash + 1 : path;
	size_t length = strcspn(file, ".");
	FILE *in = settings ? fopen(settings, "r") : NULL;
	char name[64], kind[16], part[64], field[32], value[64], line[512];

	while (in && fgets(line, sizeof(line), in)) {
		struct bpf_program *program;
		struct bpf_map *map;

		if (sscanf(line, "%63s %15s %63s %31s %63s", name, kind, part, field, value) != 5)
			continue;
		if (strlen(name) != length || strncmp(name, file, length))
			continue;
		map = strcmp(kind, "map") ? NULL : bpf_object__find_map_by_name(object, part);
		program = map ? NULL : bpf_object__find_program_by_name(object, part);
		if (map && !strcmp(field, "max_entries"))
			bpf_map__set_max_entries(map, strtoul(value, NULL, 0));
		else if (map && !strcmp(field, "value_size"))
			bpf_map__set_value_size(map, strtoul(value, NULL, 0));
		else if (program && !strcmp(field, "attach_to"))
			bpf_program__set_attach_target(program, 0, value);
		else
			fprintf(stderr, "%s: %s", settings, line);
	}
	if (in)
		fclose(in);
}

/* Opens the object to load only the program with that index; all: -1; none: -2. */
static int load(const char *path, int only, char **maps)
{
	struct bpf_program *program;
	struct bpf_map *map;
	int index = 0, error;

	warnings_restart();
	object = bpf_object__open_file(path, NULL);
	if (!object)
		return -errno;
	bpf_object__for_each_program(program, object) {
		bpf_program__set_autoload(program, only == -1 || only == index++);
		if (socket_filters) {
			bpf_program__set_type(program, BPF_PROG_TYPE_SOCKET_FILTER);
			bpf_program__set_expected_attach_type(program, 0);
		}
	}
	bpf_object__for_each_map(map, object)
		bpf_map__set_autocreate(map, true);
	apply_settings(path);
	error = bpf_object__load(object);
	if (!error && !*maps)
		*maps = print_maps();
	return error;
}

static void print_failure(const char *name, const char *section, int error)
{
	fflush(warnings_out);
	fputs("{\"kind\":\"program\",\"name\":", stdout);
	json_string(stdout, name);
	fputs(",\"section\":", stdout);
	json_string(stdout, section);
	printf(",\"result\":%d,\"log\":", error);
	json_string(stdout, tail(warnings, 600));
	puts("}");
}

static int run(const char *path)
{
	struct bpf_program *program;
	int count = 0, error, index = 0;
	char *maps = NULL;

	warnings_restart();
	object = bpf_object__open_file(path, NULL);
	error = object ? 0 : -errno;
	fflush(warnings_out);
	if (object)
		bpf_object__for_each_program(program, object)
			count++;
	bpf_object__close(object);
	object = NULL;
	programs = calloc(count + 1, sizeof(*programs));
	if (!error)
		error = load(path, -1, &maps);
	fflush(warnings_out);
	printf("{\"kind\":\"object\",\"opened\":%s,\"result\":%d,\"log\":", object ? "true" : "false",
	       error);
	json_string(stdout, tail(warnings, 600));
	puts("}");
	if (!object)
		return 0;
	bpf_object__for_each_program(program, object) {
		const char *name = bpf_program__name(program);
		const char *section = bpf_program__section_name(program);
		struct bpf_object *first = object;

		if (!programs[index] && error && (reached || strstr(warnings, "prog '"))) {
			int alone = load(path, index, &maps);

			if (!programs[index])
				print_failure(name, section, alone);
			bpf_object__close(object);
			object = first;
		} else if (!programs[index]) {
			print_failure(name, section, error);
		}
		if (programs[index])
			fputs(programs[index], stdout);
		index++;
	}
	bpf_object__close(object);
	object = NULL;
	if (!maps && !load(path, -2, &maps))
		bpf_object__close(object);
	if (maps)
		fputs(maps, stdout);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "live", no_argument, NULL, 'l' },
		{ "btf", required_argument, NULL, 'b' },
		{ "kallsyms", required_argument, NULL, 'k' },
		{ "config", required_argument, NULL, 'c' },
		{ "release", required_argument, NULL, 'r' },
		{ "settings", required_argument, NULL, 'e' },
		{ "socket-filters", no_argument, NULL, 's' },
		{},
	};
	struct rlimit files;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 'l': kernel.live = true; break;
		case 'b': kernel.btf = optarg; break;
		case 'k': kernel.kallsyms = optarg; break;
		case 'c': kernel.config = optarg; break;
		case 'r': kernel.release = optarg; break;
		case 'e': settings = optarg; break;
		case 's': socket_filters = true; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: %s [--live] [--btf FILE] [--kallsyms FILE] [--config FILE] "
				"[--release X.Y.Z] [--settings FILE] [--socket-filters] OBJECT\n", argv[0]);
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	libbpf_set_print(on_print);
	return run(argv[optind]);
}
