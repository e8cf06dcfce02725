/* amounts.h - the text of sizes and durations. Distinct buffers may be used from
 * distinct threads. */
#ifndef LVLM_FORMATS_CLI_AMOUNTS_H
#define LVLM_FORMATS_CLI_AMOUNTS_H

#include <cjson/cJSON.h>
#include <stddef.h>

enum { LVLM_AMOUNT_TEXT = 32, LVLM_PACE_TEXT = 128 };

/* "1.5 GB", "442.7 kB": powers of 1000. */
const char *lvlm_bytes_text(char text[LVLM_AMOUNT_TEXT], double n_bytes);
/* "0.8 of 1.3 GB": both in the unit of `total`. */
const char *lvlm_bytes_of_text(char text[2 * LVLM_AMOUNT_TEXT], double n_bytes,
                               double total);
/* "60 us", "1.5 ms", "850 ms", "4.5 s", "45 s", "3 min", "2 h 10 min". */
const char *lvlm_time_text(char text[LVLM_AMOUNT_TEXT], double seconds);
/* "12 tokens in 840 ms (70 ms per token)", "1 token in 70 ms". */
const char *lvlm_pace_text(char text[LVLM_PACE_TEXT], size_t n, const char *unit,
                           double seconds);
/* A duration as a member of a JSON object, rounded to microseconds. */
void lvlm_add_seconds(cJSON *json, const char *key, double seconds);

#endif
