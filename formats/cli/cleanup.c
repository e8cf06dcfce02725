/* cleanup.c - a table of names and the handler that removes them; see cleanup.h. */
#include "formats/cli/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "formats/base/temporary.h"

enum { MOST = 16 };

static struct {
    char name[PATH_MAX];
    volatile sig_atomic_t listed;
} table[MOST];

void lvlm_cleanup_run(void)
{
    for (size_t i = 0; i < MOST; i++)
        if (table[i].listed) lvlm_temporary_remove(table[i].name, -1);
}

static void end_by(int number)
{
    lvlm_cleanup_run();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* `waiting` is the delayed signal, 0 if there is none. Handler and release may run in
 * different threads; whichever is second ends the program. */
static atomic_int held, waiting;

/* ---- work that stops cleanly ---------------------------------------------------- */

static atomic_int catching, caught;
static const char *volatile stop_notice;

void lvlm_stop_catch(const char *notice)
{
    stop_notice = notice;
    atomic_store(&catching, 1);
}

int lvlm_stop_requested(void)
{
    return atomic_load(&caught);
}

/* Is this the first signal of those that are caught? */
static bool is_caught(int number)
{
    const int before = errno;
    int none = 0;
    if (number != SIGINT && number != SIGTERM && number != SIGHUP) return false;
    if (!atomic_load(&catching) ||
        !atomic_compare_exchange_strong(&caught, &none, number))
        return false;
    if (stop_notice != NULL &&
        write(STDERR_FILENO, stop_notice, strlen(stop_notice)) < 0)
        errno = before; /* stderr is closed */
    errno = before;
    return true;
}

/* ---- signals -------------------------------------------------------------------- */

static void handle(int number)
{
    if (is_caught(number)) return;
    atomic_store(&waiting, number);
    if (!atomic_load(&held)) end_by(number);
}

void lvlm_cleanup_hold(void)
{
    assert(!atomic_load(&held));
    atomic_store(&held, 1);
}

void lvlm_cleanup_release(void)
{
    assert(atomic_load(&held));
    atomic_store(&held, 0);
    const int number = atomic_load(&waiting);
    if (number != 0) end_by(number);
}

void lvlm_cleanup_install(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXCPU };
    struct sigaction action = { .sa_handler = handle, .sa_flags = SA_RESTART }, old;
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            (void)sigaction(numbers[i], &action, NULL); /* nohup stays nohup */
    (void)signal(SIGXFSZ, SIG_IGN);
}

int lvlm_cleanup_add(const char *temporary)
{
    assert(*temporary != '\0');
    const size_t n = strlen(temporary) + 1;
    for (int i = 0; i < MOST; i++) {
        if (table[i].listed || n > sizeof table[i].name) continue;
        memcpy(table[i].name, temporary, n);
        table[i].listed = 1;
        return i;
    }
    return -1;
}

void lvlm_cleanup_drop(int handle)
{
    assert(handle < MOST);
    if (handle >= 0) table[handle].listed = 0;
}
