/* amounts.c - the text of sizes and durations; see amounts.h. */
#include "formats/cli/amounts.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

static const char *const units[] = { "B", "kB", "MB", "GB", "TB" };

/* The index in `units` of the unit for n_bytes; *size is its number of bytes. */
static size_t unit_of(double *size, double n_bytes)
{
    size_t unit = 0;
    for (*size = 1; n_bytes / *size >= 1000 && unit + 1 < sizeof units / sizeof *units;
         unit++)
        *size *= 1000;
    return unit;
}

const char *lvlm_bytes_text(char text[LVLM_AMOUNT_TEXT], double n_bytes)
{
    double size;
    const size_t unit = unit_of(&size, n_bytes);
    (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.*f %s", unit > 0, n_bytes / size,
                   units[unit]);
    return text;
}

const char *lvlm_bytes_of_text(char text[2 * LVLM_AMOUNT_TEXT], double n_bytes,
                               double total)
{
    double size;
    const size_t unit = unit_of(&size, total);
    (void)snprintf(text, 2 * LVLM_AMOUNT_TEXT, "%.*f of %.*f %s", unit > 0,
                   n_bytes / size, unit > 0, total / size, units[unit]);
    return text;
}

/* Rounded up: an estimate should not be too short. */
static void put_minutes(char text[LVLM_AMOUNT_TEXT], double minutes)
{
    if (minutes < 120)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.0f min", minutes);
    else if (minutes < 1e9)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.0f h %.0f min", floor(minutes / 60),
                       fmod(minutes, 60));
    else
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "more than 1900 years");
}

const char *lvlm_time_text(char text[LVLM_AMOUNT_TEXT], double seconds)
{
    if (seconds < 0.0009995)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.0f us", seconds * 1e6);
    else if (seconds < 0.00995)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.1f ms", seconds * 1e3);
    else if (seconds < 0.9995)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.0f ms", seconds * 1e3);
    else if (seconds < 9.95)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.1f s", seconds);
    else if (seconds < 90)
        (void)snprintf(text, LVLM_AMOUNT_TEXT, "%.0f s", seconds);
    else
        put_minutes(text, ceil(seconds / 60));
    return text;
}

const char *lvlm_pace_text(char text[LVLM_PACE_TEXT], size_t n, const char *unit,
                           double seconds)
{
    char all[LVLM_AMOUNT_TEXT], each[LVLM_AMOUNT_TEXT];
    assert(seconds >= 0);
    lvlm_time_text(all, seconds);
    if (n == 1)
        (void)snprintf(text, LVLM_PACE_TEXT, "1 %s in %s", unit, all);
    else
        (void)snprintf(text, LVLM_PACE_TEXT, "%zu %ss in %s (%s per %s)", n, unit, all,
                       lvlm_time_text(each, seconds / (double)(n > 0 ? n : 1)), unit);
    return text;
}

void lvlm_add_seconds(cJSON *json, const char *key, double seconds)
{
    cJSON_AddNumberToObject(json, key, round(seconds * 1e6) / 1e6);
}
