/* workers.c - start, work along, wait. */
#include "formats/base/workers.h"

#include <pthread.h>

enum { MAX_THREADS = 64 };

typedef struct job {
    void (*work)(void *user);
    void *user;
} job;

static void *start(void *argument)
{
    const job *j = argument;
    j->work(j->user);
    return NULL;
}

void lvlm_workers_run(size_t n_threads, void (*work)(void *user), void *user)
{
    pthread_t threads[MAX_THREADS];
    job j = { work, user };
    size_t n = 0;
    if (n_threads > MAX_THREADS) n_threads = MAX_THREADS;
    while (n + 1 < n_threads && pthread_create(&threads[n], NULL, start, &j) == 0) n++;
    work(user);
    while (n > 0) pthread_join(threads[--n], NULL);
}
