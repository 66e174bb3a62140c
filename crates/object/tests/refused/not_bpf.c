/* clang: -target x86_64-linux-gnu */
int f(void)
{
	return 0;
}
