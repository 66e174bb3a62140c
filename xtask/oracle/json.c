/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "oracle.h"

void json_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; text && *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c == '\n')
			fputs("\\n", out);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

void json_hex(FILE *out, const void *bytes, size_t size)
{
	const unsigned char *byte = bytes;

	fputc('"', out);
	for (size_t i = 0; i < size; i++)
		fprintf(out, "%02x", byte[i]);
	fputc('"', out);
}
