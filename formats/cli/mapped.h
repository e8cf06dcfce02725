/* mapped.h - handles a mapped file that is truncated.
 *
 * Reading beyond its new end raises SIGBUS. The program then ends with one line that
 * names the file, and exit status 3. */
#ifndef LVLM_FORMATS_CLI_MAPPED_H
#define LVLM_FORMATS_CLI_MAPPED_H

/* Watch the files that infile.h maps from now on, and handle SIGBUS. Once, at the start
 * of a program. */
void lvlm_mapped_watch(const char *program);

#endif
