/* error.c - one message per failure, prefixed with context. */
#include "formats/base/error.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void describe(lvlm_error *err, lvlm_code code, const char *fmt, va_list args)
{
    err->code = code;
    vsnprintf(err->text, sizeof err->text, fmt, args);
}

int lvlm_fail(lvlm_error *err, lvlm_code code, const char *fmt, ...)
{
    assert(code < 0);
    va_list args;
    if (err == NULL) return code;
    va_start(args, fmt);
    describe(err, code, fmt, args);
    va_end(args);
    return code;
}

int lvlm_fail_errno(lvlm_error *err, const char *fmt, ...)
{
    char buffer[128];
    va_list args;
    if (err == NULL) return LVLM_EIO;
    /* GNU's version returns the text, which may not be in the buffer */
    const char *reason = strerror_r(errno, buffer, sizeof buffer);
    va_start(args, fmt);
    describe(err, LVLM_EIO, fmt, args);
    va_end(args);
    const size_t used = strlen(err->text);
    snprintf(err->text + used, sizeof err->text - used, ": %s", reason);
    return LVLM_EIO;
}

int lvlm_fail_memory(lvlm_error *err)
{
    return lvlm_fail(err, LVLM_ENOMEM, "out of memory");
}

static void prepend(lvlm_error *err, const char *fmt, va_list args)
{
    char text[LVLM_ERROR_BYTES];
    vsnprintf(text, sizeof text, fmt, args);
    const size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "%s", err->text);
    memcpy(err->text, text, sizeof text);
}

void lvlm_prefix(lvlm_error *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (err != NULL) prepend(err, fmt, args);
    va_end(args);
}

int lvlm_within(int rc, lvlm_error *err, const char *fmt, ...)
{
    assert(rc <= 0);
    va_list args;
    va_start(args, fmt);
    if (rc < 0 && err != NULL) prepend(err, fmt, args);
    va_end(args);
    return rc;
}
