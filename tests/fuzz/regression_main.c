/* regression_main.c - replaces libFuzzer: runs a fuzz target over its corpus.
 *
 *   fuzz_x FILE_OR_FOLDER...
 *
 * Each file's bytes are fed to LLVMFuzzerTestOneInput once, in order of name. Exit 0 if
 * nothing crashed; 1 if something could not be read or there was nothing to run, so
 * that a missing corpus does not look like a passed test. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATH_BYTES = 4096 };

/* Number of files run (1), or -1. The block is exactly as long as the file, so that
 * sanitizers detect a read after its end. */
static int run_file(const char *path)
{
    FILE *const file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    int rc = -1;

    if (file == NULL || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 ||
        fseek(file, 0, SEEK_SET) != 0)
        goto done;
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) goto done;
    (void)LLVMFuzzerTestOneInput(data, (size_t)size);
    rc = 1;
done:
    if (rc < 0) perror(path);
    free(data);
    if (file != NULL) fclose(file);
    return rc;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Number of files run, or -1. */
static int run_path(const char *path)
{
    struct dirent **entries = NULL;
    char name[PATH_BYTES];
    int n_run = 0;
    const int n_entries = scandir(path, &entries, is_visible, alphasort);

    if (n_entries < 0) return run_file(path);
    for (int i = 0; i < n_entries; i++) {
        const int n = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        const int rc =
            n > 0 && (size_t)n < sizeof name && n_run >= 0 ? run_file(name) : -1;
        n_run = rc < 0 ? -1 : n_run + rc;
        free(entries[i]);
    }
    free(entries);
    return n_run;
}

int main(int argc, char *argv[])
{
    int n_run = 0;
    for (int i = 1; i < argc; i++) {
        const int rc = run_path(argv[i]);
        if (rc < 0) return 1;
        n_run += rc;
    }
    printf("%d inputs\n", n_run);
    return n_run > 0 ? 0 : 1;
}
