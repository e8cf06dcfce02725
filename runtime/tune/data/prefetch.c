/* prefetch.c - a bounded queue with one maker and one taker; see prefetch.h. */
#include "runtime/tune/data/prefetch.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>

#include "formats/base/alloc.h"

struct lvlm_prefetch {
    lvlm_prefetch_work work;
    void **ring;  /* (depth) item i is at i % depth */
    size_t taken; /* items [taken, made) are in the ring */
    size_t made;
    int rc; /* result of making item `made` */
    lvlm_error error;
    bool stopped;
    bool threaded;
    pthread_t thread;
    pthread_mutex_t lock;   /* guards everything that changes */
    pthread_cond_t changed; /* signalled after each change */
};

/* Wait until there is room. False if there is nothing more to make. */
static bool wait_for_room(lvlm_prefetch *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->stopped && p->made - p->taken == p->work.depth)
        pthread_cond_wait(&p->changed, &p->lock);
    const bool go_on = !p->stopped && p->rc == 0 && p->made < p->work.end;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

static void *make_all(void *prefetch)
{
    lvlm_prefetch *const p = prefetch;
    while (wait_for_room(p)) {
        void *item = NULL;
        lvlm_error error;
        const int rc = p->work.make(&item, p->work.user, p->made, &error);
        pthread_mutex_lock(&p->lock);
        if (rc < 0) {
            p->rc = rc;
            p->error = error;
        } else {
            p->ring[p->made++ % p->work.depth] = item;
        }
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

int lvlm_prefetch_start(lvlm_prefetch **out, const lvlm_prefetch_work *work,
                        lvlm_error *err)
{
    lvlm_prefetch *const p = lvlm_calloc(1, sizeof *p);
    if (p == NULL) return lvlm_fail_memory(err);
    assert(work->make != NULL && work->drop != NULL && work->first <= work->end);
    p->work = *work;
    p->taken = p->made = work->first;
    p->ring = lvlm_calloc(work->depth + 1, sizeof *p->ring);
    if (p->ring == NULL) {
        lvlm_free(p);
        return lvlm_fail_memory(err);
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->threaded = work->depth > 0 && pthread_create(&p->thread, NULL, make_all, p) == 0;
    *out = p;
    return 0;
}

void lvlm_prefetch_stop(lvlm_prefetch *p)
{
    if (p == NULL) return;
    if (p->threaded) {
        pthread_mutex_lock(&p->lock);
        p->stopped = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    for (; p->taken < p->made; p->taken++)
        p->work.drop(p->ring[p->taken % p->work.depth]);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    lvlm_free(p->ring);
    lvlm_free(p);
}

static int take_from_thread(void **item, lvlm_prefetch *p, lvlm_error *err)
{
    pthread_mutex_lock(&p->lock);
    while (p->made == p->taken && p->rc == 0) pthread_cond_wait(&p->changed, &p->lock);
    const bool there = p->made > p->taken;
    assert(p->made - p->taken <= p->work.depth);
    if (there)
        *item = p->ring[p->taken++ % p->work.depth];
    else if (err != NULL)
        *err = p->error;
    const int rc = there ? 0 : p->rc;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int lvlm_prefetch_take(void **item, lvlm_prefetch *p, lvlm_error *err)
{
    assert(p->taken < p->work.end);
    *item = NULL;
    if (p->threaded) return take_from_thread(item, p, err);
    assert(p->made == p->taken);
    if (p->rc == 0) p->rc = p->work.make(item, p->work.user, p->taken, &p->error);
    if (p->rc < 0) {
        if (err != NULL) *err = p->error;
        return p->rc;
    }
    p->made = ++p->taken;
    return 0;
}
