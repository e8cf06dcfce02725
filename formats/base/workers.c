/* workers.c - starts threads, works too, waits. */
#include "formats/base/workers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

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

/* ---- item by item --------------------------------------------------------------- */

typedef struct items {
    int (*item)(void *user, size_t i, lvlm_error *err);
    void *user;
    size_t n;
    atomic_size_t next;
    atomic_bool failed;
    pthread_mutex_t lock; /* guards rc, at and err */
    int rc;
    size_t at; /* the first item that failed; every earlier one has been run */
    lvlm_error *err;
} items;

static void keep_failure(items *w, size_t i, int rc, const lvlm_error *err)
{
    pthread_mutex_lock(&w->lock);
    if (w->rc == 0 || i < w->at) {
        w->rc = rc;
        w->at = i;
        if (w->err != NULL) *w->err = *err;
    }
    pthread_mutex_unlock(&w->lock);
    atomic_store(&w->failed, true);
}

static void run_items(void *user)
{
    items *const w = user;
    lvlm_error err;
    while (!atomic_load(&w->failed)) {
        const size_t i = atomic_fetch_add(&w->next, 1);
        if (i >= w->n) break;
        const int rc = w->item(w->user, i, &err);
        if (rc < 0) keep_failure(w, i, rc, &err);
    }
}

int lvlm_workers_each(size_t n_threads, size_t n,
                      int (*item)(void *user, size_t i, lvlm_error *err), void *user,
                      lvlm_error *err)
{
    items w = { .item = item, .user = user, .n = n, .err = err };
    pthread_mutex_init(&w.lock, NULL);
    lvlm_workers_run(n_threads, run_items, &w);
    pthread_mutex_destroy(&w.lock);
    return w.rc;
}
