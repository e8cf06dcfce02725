/* test_read_ahead.c - a file that is not in memory is read by another thread. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "formats/base/read_ahead.h"
#include "tests/support/scratch.h"

enum { FILE_BYTES = 9 << 20, TICKS = 1000 };

/* Pages of the file that are in memory. */
static size_t resident(const lvlm_infile *file)
{
    static unsigned char pages[FILE_BYTES / 4096];
    size_t n = 0;
    assert_int_equal(sysconf(_SC_PAGESIZE), 4096);
    assert_int_equal(
        mincore((void *)(uintptr_t)file->bytes, (size_t)file->n_bytes, pages), 0);
    for (size_t i = 0; i < sizeof pages; i++) n += pages[i] & 1;
    return n;
}

/* Mapped, and no longer in memory; NULL where that cannot be had, as in a tmpfs. */
static lvlm_infile *map_cold(scratch *s)
{
    static unsigned char bytes[FILE_BYTES];
    lvlm_infile *file = NULL;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)(i * 7);
    const char *const path = scratch_write(s, "f", bytes, sizeof bytes);
    const int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fsync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    assert_int_equal(lvlm_infile_map(&file, path, NULL), 0);
    if (resident(file) == 0) return file;
    lvlm_infile_close(file);
    return NULL;
}

static void all_of_it_is_read(void **state)
{
    const struct timespec tick = { 0, 10000000 };
    scratch s;
    (void)state;
    scratch_make(&s);
    lvlm_infile *const file = map_cold(&s);
    if (file == NULL) {
        scratch_remove(&s);
        skip();
    }
    lvlm_read_ahead *const ahead = lvlm_read_ahead_start(file);
    if (ahead == NULL) skip(); /* the kernel cannot, or has no memory to spare */
    for (int i = 0; i < TICKS && resident(file) < FILE_BYTES / 4096; i++)
        (void)nanosleep(&tick, NULL);
    assert_int_equal(resident(file), FILE_BYTES / 4096);
    assert_null(lvlm_read_ahead_start(file)); /* not once more */
    lvlm_read_ahead_stop(ahead);
    assert_int_equal(file->bytes[FILE_BYTES - 1],
                     (unsigned char)((FILE_BYTES - 1) * 7));
    lvlm_infile_close(file);
    scratch_remove(&s);
}

static void it_can_be_stopped_at_once(void **state)
{
    scratch s;
    (void)state;
    lvlm_read_ahead_stop(NULL);
    scratch_make(&s);
    lvlm_infile *const file = map_cold(&s);
    if (file != NULL) {
        lvlm_read_ahead_stop(lvlm_read_ahead_start(file));
        lvlm_infile_close(file);
    }
    scratch_remove(&s);
    if (file == NULL) skip();
}

/* Its pages are gone: the thread must not get a signal. */
static void a_file_that_was_cut_ends_it(void **state)
{
    scratch s;
    (void)state;
    scratch_make(&s);
    lvlm_infile *const file = map_cold(&s);
    if (file != NULL) {
        assert_int_equal(truncate(scratch_path(&s, "f"), 0), 0);
        lvlm_read_ahead_stop(lvlm_read_ahead_start(file));
        lvlm_infile_close(file);
    }
    scratch_remove(&s);
    if (file == NULL) skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_read),
        cmocka_unit_test(it_can_be_stopped_at_once),
        cmocka_unit_test(a_file_that_was_cut_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
