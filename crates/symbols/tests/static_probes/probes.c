/* Static probes as <sys/sdt.h> makes them, without it. */

#include <stdio.h>

/* One place: the instruction, and the note about it. The operands are %0 and so on. */
#define PROBE(provider, name, semaphore, arguments, ...)                                         \
	__asm__ volatile(                                                                         \
		"990: nop\n"                                                                      \
		".pushsection .note.stapsdt, \"?\", \"note\"\n"                                   \
		".balign 4\n"                                                                     \
		".4byte 992f-991f, 994f-993f, 3\n"                                                \
		"991: .asciz \"stapsdt\"\n"                                                       \
		"992: .balign 4\n"                                                                \
		"993: .8byte 990b, _.stapsdt.base, " semaphore "\n"                               \
		".asciz \"" provider "\", \"" name "\", \"" arguments "\"\n"                      \
		"994: .balign 4\n"                                                                \
		".popsection\n"                                                                   \
		".ifndef _.stapsdt.base\n"                                                        \
		".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"       \
		".weak _.stapsdt.base\n"                                                          \
		".hidden _.stapsdt.base\n"                                                        \
		"_.stapsdt.base: .space 1\n"                                                      \
		".size _.stapsdt.base, 1\n"                                                       \
		".popsection\n"                                                                   \
		".endif\n" ::__VA_ARGS__)

__attribute__((used, section(".probes"))) unsigned short watched_semaphore;

static long table[] = {10, 20, 30, 40, 50};

int main(int argc, char **argv)
{
	long number = argc, negative = -260 - argc;

	/* With arguments it waits until its input ends. */
	while (argc > 1 && getchar() != EOF)
		;
	PROBE("demo", "plain", "0", "");
	PROBE("demo", "watched", "watched_semaphore", "8@%0 -4@$7", "r"(number));
	PROBE("demo", "watched", "watched_semaphore", "8@%0 -4@$8", "m"(number));
	PROBE("demo", "sizes", "0", "-4@%k0 1@%b0 -2@%w0 2@%w0", "r"(negative));
	PROBE("demo", "indexed", "0", "8@8(%0,%1,8)", "r"(table), "r"(number));
	PROBE("other", "watched", "0", "");
	return watched_semaphore;
}
