/* threads.c - trial mappings, trial threads, then the real ones; see threads.h. */
#include "runtime/threads.h"

#include <omp.h>
#include <pthread.h>
#include <sys/mman.h>

/* What OpenBLAS allocates for a thread that multiplies, rounded up. */
#define BUFFER_BYTES (((size_t)128 << 20) + ((size_t)1 << 16))

enum {
    MAX_MAPPINGS = 2048,
    MAX_BUFFERS = 64, /* OpenBLAS complains about many more; they are made when used */
};

/* ---- OpenBLAS ------------------------------------------------------------------- */

/* OpenBLAS asks this function of its own, when it is loaded, how many threads it is to
 * start. Its answer is replaced: products run inside of our teams, each on one thread,
 * and threads that it starts can end neither their wait for memory nor the process. */
__attribute__((visibility("default"))) int openblas_num_threads_env(void);

int openblas_num_threads_env(void)
{
    return 1;
}

/* Its allocator. A freed buffer is kept for the next product. */
__attribute__((weak)) void *blas_memory_alloc(int position);
__attribute__((weak)) void blas_memory_free(void *buffer);

static void reserve_buffers(size_t n)
{
    void *buffers[MAX_BUFFERS];
    if (blas_memory_alloc == NULL || blas_memory_free == NULL) return;
    if (n > MAX_BUFFERS) n = MAX_BUFFERS;
    for (size_t i = 0; i < n; i++) buffers[i] = blas_memory_alloc(0);
    for (size_t i = 0; i < n; i++) blas_memory_free(buffers[i]);
}

/* ---- trials --------------------------------------------------------------------- */

static size_t stack_bytes(void)
{
    pthread_attr_t attributes;
    size_t n_bytes = 0;
    if (pthread_attr_init(&attributes) != 0) return 0;
    (void)pthread_attr_getstacksize(&attributes, &n_bytes);
    pthread_attr_destroy(&attributes);
    return n_bytes;
}

/* How many blocks of memory can be mapped at once, at most `most`. */
static size_t count_mappings(size_t n_bytes, size_t most)
{
    void *blocks[MAX_MAPPINGS];
    size_t n = 0;
    if (most > MAX_MAPPINGS) most = MAX_MAPPINGS;
    while (n < most &&
           (blocks[n] = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED)
        n++;
    for (size_t i = 0; i < n; i++) (void)munmap(blocks[i], n_bytes);
    return n;
}

static void *wait_for(void *lock)
{
    pthread_mutex_lock(lock);
    pthread_mutex_unlock(lock);
    return NULL;
}

/* How many threads can run at once, at most `most`, the calling one left out. */
static size_t count_threads(size_t most)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[MAX_MAPPINGS];
    size_t n = 0;
    pthread_mutex_lock(&lock);
    while (n < most && n < MAX_MAPPINGS &&
           pthread_create(&threads[n], NULL, wait_for, &lock) == 0)
        n++;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&lock);
    return n;
}

/* ---- public --------------------------------------------------------------------- */

/* Of the room for threads half is left to the model and its activations, unless there
 * is room for one only. */
int lvlm_threads_reserve(size_t *n_threads, lvlm_notes *notes, lvlm_error *err)
{
    const size_t wanted = *n_threads, n_bytes = BUFFER_BYTES + stack_bytes();
    const size_t room = count_mappings(n_bytes, 2 * wanted);
    FAIL_IF(room == 0, err, LVLM_ENOMEM,
            "too little address space for matrix products, which need %zu MB (see "
            "ulimit -v)",
            n_bytes >> 20);
    size_t n = room == 1 ? 1 : room / 2;
    if (n > 1) { /* one more than needed, as a margin */
        const size_t others = count_threads(n);
        if (others < n) n = others > 0 ? others : 1;
    }
    omp_set_dynamic(0);
#pragma omp parallel num_threads((int)n)
    { /* the team is there from now on */
    }
    reserve_buffers(n);
    *n_threads = n;
    if (n == wanted || notes == NULL) return 0;
    return lvlm_notes_add(
        notes, err,
        "threads: %zu instead of %zu, since there is no room for more "
        "(see ulimit -v, ulimit -u)",
        n, wanted);
}
