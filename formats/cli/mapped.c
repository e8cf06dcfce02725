/* mapped.c - the table of mapped files, and the handler that searches it; see mapped.h.
 *
 * The handler calls only async-signal-safe functions: the table has a fixed size, and
 * an entry is valid while its length is not 0. */
#include "formats/cli/mapped.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/infile.h"
#include "formats/base/utf8.h"
#include "formats/cli/cleanup.h"
#include "formats/cli/program.h"

/* Further ones are not named in the message. */
enum { MOST = 1024 };

static struct {
    uintptr_t at;
    const char *path;
    atomic_size_t n_bytes; /* 0: free */
} table[MOST];

static pthread_mutex_t writing = PTHREAD_MUTEX_INITIALIZER;
static const char *program_name;

static void add(const lvlm_infile *file)
{
    assert(file->path != NULL);
    pthread_mutex_lock(&writing);
    for (size_t i = 0; i < MOST; i++) {
        if (atomic_load(&table[i].n_bytes) != 0) continue;
        table[i].at = (uintptr_t)file->bytes;
        table[i].path = file->path;
        atomic_store(&table[i].n_bytes, (size_t)file->n_bytes);
        break;
    }
    pthread_mutex_unlock(&writing);
}

static void drop(const lvlm_infile *file)
{
    pthread_mutex_lock(&writing);
    for (size_t i = 0; i < MOST; i++)
        if (table[i].at == (uintptr_t)file->bytes) atomic_store(&table[i].n_bytes, 0);
    pthread_mutex_unlock(&writing);
}

static const char *find(uintptr_t address)
{
    for (size_t i = 0; i < MOST; i++)
        if (address - table[i].at < atomic_load(&table[i].n_bytes))
            return table[i].path;
    return NULL;
}

/* ---- the handler ---------------------------------------------------------------- */

typedef struct line {
    char text[8192];
    size_t n;
} line;

static void put(line *to, const char *text)
{
    const size_t n = strlen(text);
    if (n > sizeof to->text - to->n) return;
    memcpy(to->text + to->n, text, n);
    to->n += n;
}

static void put_quoted(line *to, const char *text)
{
    for (; *text != '\0'; text++) {
        const char c[] = { *text, '\0' };
        if (*text == '"' || *text == '\\') put(to, "\\");
        put(to, c);
    }
}

static void print(int fd, const line *l)
{
    size_t at = 0;
    while (at < l->n) {
        const ssize_t n = write(fd, l->text + at, l->n - at);
        if (n <= 0) return;
        at += (size_t)n;
    }
}

#define REASON ": became shorter while it was in use, or its disk failed"

static _Noreturn void end_by(const char *path)
{
    static line error, json; /* only one thread gets here */
    static char text[4096];
    const char *const name = lvlm_visible(text, sizeof text, path);
    put(&error, program_name);
    put(&error, ": ");
    put(&error, name);
    put(&error, REASON "\n");
    if (lvlm_json_pending()) {
        put(&json, "{\n  \"schema\": 1,\n  \"error\": {\n    \"code\": \"io\",\n"
                   "    \"text\": \"");
        put_quoted(&json, name);
        put(&json, REASON "\",\n    \"exit_status\": 3\n  }\n}\n");
        print(STDOUT_FILENO, &json);
    }
    print(STDERR_FILENO, &error);
    lvlm_cleanup_run();
    _exit(3);
}

static void handle(int number, siginfo_t *info, void *context)
{
    static atomic_flag ending = ATOMIC_FLAG_INIT;
    const char *const path = find((uintptr_t)info->si_addr);
    (void)context;
    if (path == NULL) { /* another bug: the access is repeated and ends the program */
        (void)signal(number, SIG_DFL);
        return;
    }
    while (atomic_flag_test_and_set(&ending))
        (void)pause(); /* another thread ends the program */
    end_by(path);
}

void lvlm_mapped_watch(const char *program)
{
    struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };
    program_name = program;
    lvlm_infile_watch(add, drop);
    assert(program != NULL);
    sigfillset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, NULL);
}
