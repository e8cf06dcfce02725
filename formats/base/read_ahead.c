/* read_ahead.c - one thread that asks for a mapped file piece by piece. */
#include "formats/base/read_ahead.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "formats/base/alloc.h"
#include "formats/base/memory.h"

/* A large page. */
#define PIECE ((uint64_t)2 << 20)

struct lvlm_read_ahead {
    const lvlm_infile *file;
    pthread_t thread;
    atomic_bool stop;
};

#ifdef MADV_POPULATE_READ

/* mincore and madvise take pointers to writable memory, which this never is. */
static void *piece_at(const lvlm_infile *file, uint64_t at)
{
    return (void *)(uintptr_t)(file->bytes + at);
}

/* By the first page of each piece. */
static bool is_resident(const lvlm_infile *file)
{
    unsigned char resident = 1;
    for (uint64_t at = 0; at < file->n_bytes && (resident & 1) != 0; at += PIECE)
        if (mincore(piece_at(file, at), 1, &resident) < 0) return true;
    return (resident & 1) != 0;
}

/* A piece of a file that was truncated is an error here, not a signal. */
static bool read_piece(const lvlm_infile *file, uint64_t at)
{
    const uint64_t left = file->n_bytes - at;
    return madvise(piece_at(file, at), (size_t)(left < PIECE ? left : PIECE),
                   MADV_POPULATE_READ) == 0;
}

static void *read_all(void *user)
{
    lvlm_read_ahead *const ahead = user;
    const lvlm_infile *const file = ahead->file;
    /* every piece, also one that is there: touching it starts the read of the next */
    for (uint64_t at = 0; at < file->n_bytes && !ahead->stop; at += PIECE)
        if (!read_piece(file, at)) break;
    return NULL;
}

/* Would it be of use, and leave memory for everything else? */
static bool is_wanted(const lvlm_infile *file)
{
    lvlm_memory memory;
    return file->mapped && lvlm_memory_read(&memory, "") &&
           (double)file->n_bytes <= memory.free / 2 && !is_resident(file);
}

lvlm_read_ahead *lvlm_read_ahead_start(const lvlm_infile *file)
{
    if (!is_wanted(file)) return NULL;
    lvlm_read_ahead *const ahead = lvlm_calloc(1, sizeof *ahead);
    if (ahead == NULL) return NULL;
    ahead->file = file;
    if (pthread_create(&ahead->thread, NULL, read_all, ahead) == 0) return ahead;
    lvlm_free(ahead);
    return NULL;
}

#else

lvlm_read_ahead *lvlm_read_ahead_start(const lvlm_infile *file)
{
    (void)file;
    return NULL;
}

#endif

void lvlm_read_ahead_stop(lvlm_read_ahead *ahead)
{
    if (ahead == NULL) return;
    ahead->stop = true;
    (void)pthread_join(ahead->thread, NULL);
    lvlm_free(ahead);
}
