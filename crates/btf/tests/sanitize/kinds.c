// A type of each kind that some kernels do not know.

#define decl(tag) __attribute__((btf_decl_tag(tag)))
#define type(tag) __attribute__((btf_type_tag(tag)))

enum small { MINUS = -1, ZERO };
enum large { LARGE = 0x100000000ULL };

struct tagged {
	int type("user") * pointer;
	float number decl("member");
	double wide;
} decl("whole");

struct tagged variable;
enum small small;
enum large large;
int in_section __attribute__((section("?.optional.data")));

__attribute__((noinline)) static int helper(int argument)
{
	return argument * 3;
}

__attribute__((section("tc"))) int entry(struct tagged *context)
{
	return helper((int)(long)context);
}
