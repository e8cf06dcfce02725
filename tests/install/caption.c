/* caption.c - a program that uses only what is installed; valid C and C++.
 *
 *   caption SOURCE MODEL IMAGE PROMPT
 *
 * Converts the checkpoint SOURCE to the native file MODEL, asks PROMPT about IMAGE, and
 * prints the answer as it is made. Exit status 2 when the call can be corrected, else
 * 3. */
#include <stdio.h>
#include <string.h>

#include <lvlm.h>

#if LVLM_VERSION_NUMBER < 100
#error "the preprocessor does not know the version"
#endif

static void note(void *user, const char *sentence)
{
    (void)user;
    fprintf(stderr, "note: %s\n", sentence);
}

/* A result that is not 0 would end the answer. */
static int print(void *user, const char *text, size_t n_bytes)
{
    return fwrite(text, 1, n_bytes, (FILE *)user) != n_bytes;
}

static int caption(const char *source, const char *path, const char *image,
                   const char *prompt, lvlm_error *err)
{
    lvlm_convert_options convert = { 0 };
    lvlm_handle_options handle = { 0 };
    lvlm_ask_options ask = { 0 };
    lvlm *model = NULL;
    char *answer = NULL;
    int rc;

    convert.overwrite = true;
    convert.note = handle.note = note;
    ask.max_new_tokens = 8;
    ask.take = print;
    ask.user = stdout;
    rc = lvlm_convert(source, path, &convert, err);
    if (rc == 0) rc = lvlm_open(&model, path, &handle, err);
    if (rc == 0) {
        fprintf(stderr, "lvlm %s, %s\n", lvlm_version(), lvlm_family_of(model));
        rc = lvlm_ask(model, &answer, prompt, &image, 1, &ask, err);
    }
    if (rc == 0) printf("\n%u characters\n", (unsigned)strlen(answer));
    lvlm_free(answer);
    lvlm_close(model);
    return rc;
}

int main(int argc, char *argv[])
{
    lvlm_error err;
    if (argc != 5) return 2;
    if (caption(argv[1], argv[2], argv[3], argv[4], &err) == 0) return 0;
    fprintf(stderr, "caption: %s\n", err.text);
    return err.code == LVLM_EUSAGE ? 2 : 3;
}
