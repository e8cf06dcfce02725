/* units.c - which kernels the processor has, and which is used. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/kernel/kernel.h"

#if defined __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Registers of cpuid. */
typedef struct registers {
    unsigned a, b, c, d;
} registers;

static registers ask(unsigned leaf, unsigned part)
{
    registers r = { 0 };
    (void)__get_cpuid_count(leaf, part, &r.a, &r.b, &r.c, &r.d);
    return r;
}

/* Does the system save these parts of the processor's state (bits of XCR0)? */
static bool saves(unsigned parts)
{
    unsigned low, high;
    if ((ask(1, 0).c >> 27 & 1) == 0) return false; /* OSXSAVE */
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & parts) == parts;
}

bool lvlm_has_avx512_bf16(void)
{
    const unsigned f = ask(7, 0).b, needed = 1u << 16 | 1u << 30 | 1u << 31;
    return (f & needed) == needed && (ask(7, 1).a >> 5 & 1) != 0 && saves(0xe6);
}

/* Linux lends the tiles' state to processes that ask for it. */
static bool may_use_tiles(void)
{
    enum { REQUEST = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
}

bool lvlm_has_amx(void)
{
    const unsigned needed = 1u << 22 | 1u << 24;
    return lvlm_has_avx512_bf16() && (ask(7, 0).d & needed) == needed &&
           saves(0x60000) && may_use_tiles();
}

#else

bool lvlm_has_avx512_bf16(void)
{
    return false;
}

bool lvlm_has_amx(void)
{
    return false;
}

#endif

/* ---- units ----------------------------------------------------------------------- */

static bool always(void)
{
    return true;
}

#if LVLM_COMPILES_AMX && LVLM_COMPILES_AVX512_BF16
static const lvlm_unit amx = { "amx", &lvlm_amx_terms, &lvlm_avx512_floats, 5,
                               lvlm_has_amx };
#endif
#if LVLM_COMPILES_AVX512_BF16
static const lvlm_unit avx512_bf16 = { "avx512_bf16", &lvlm_avx512_terms,
                                       &lvlm_avx512_floats, 1, lvlm_has_avx512_bf16 };
#endif
static const lvlm_unit openblas = { "openblas", NULL, NULL, 0, always };

const lvlm_unit *const lvlm_units[] = {
#if LVLM_COMPILES_AMX && LVLM_COMPILES_AVX512_BF16
    &amx,
#endif
#if LVLM_COMPILES_AVX512_BF16
    &avx512_bf16,
#endif
    &openblas,
    NULL,
};

/* ---- choice ---------------------------------------------------------------------- */

static const lvlm_unit *chosen;
static const char *wanted;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
    wanted = getenv("LVLM_KERNEL"); // lint: allow getenv
    if (wanted != NULL && wanted[0] == '\0') wanted = NULL;
    for (size_t i = 0; lvlm_units[i] != NULL && chosen == NULL; i++)
        if ((wanted == NULL || strcmp(wanted, lvlm_units[i]->name) == 0) &&
            lvlm_units[i]->is_here())
            chosen = lvlm_units[i];
}

const lvlm_unit *lvlm_unit_chosen(void)
{
    pthread_once(&once, choose);
    return chosen != NULL ? chosen : &openblas;
}

int lvlm_unit_check(lvlm_error *err)
{
    static const char *const names[] = { "openblas", "amx", "avx512_bf16" };
    bool exists = false;
    pthread_once(&once, choose);
    for (size_t i = 0; wanted != NULL && i < sizeof names / sizeof *names; i++)
        exists = exists || strcmp(wanted, names[i]) == 0;
    FAIL_IF(chosen == NULL && !exists, err, LVLM_EUSAGE,
            "LVLM_KERNEL is '%.64s': expected openblas, amx or avx512_bf16", wanted);
    FAIL_IF(chosen == NULL, err, LVLM_EUSAGE,
            "LVLM_KERNEL is '%.64s': this processor or this build does not have it",
            wanted);
    return 0;
}
