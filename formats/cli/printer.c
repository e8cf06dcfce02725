/* printer.c - a command's result as text or JSON; see printer.h. */
#include "formats/cli/printer.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "formats/base/json.h"
#include "formats/cli/amounts.h"
#include "formats/cli/program.h"

void lvlm_printer_open(lvlm_printer *out, bool json, bool text)
{
    *out = (lvlm_printer){ .json = json, .text = text && !json };
    if (json) out->at[0] = lvlm_json_document();
}

void lvlm_printer_open_rows(lvlm_printer *out, bool json)
{
    *out = (lvlm_printer){ .json = json, .text = !json };
    if (json) out->at[0] = cJSON_CreateArray();
}

int lvlm_printer_close(lvlm_printer *p, const lvlm_notes *notes, lvlm_error *err)
{
    cJSON *const document = p->at[0];
    assert(p->depth == 0);
    p->at[0] = NULL;
    if (!p->json) return 0;
    if (document == NULL) return lvlm_fail_memory(err);
    if (notes != NULL) lvlm_add_notes(document, notes);
    return lvlm_print_json(document, err);
}

void lvlm_printer_drop(lvlm_printer *p)
{
    lvlm_json_free(p->at[0]);
    *p = (lvlm_printer){ 0 };
}

void lvlm_printer_line(const lvlm_printer *p, const char *fmt, ...)
{
    va_list args;
    if (!p->text) return;
    va_start(args, fmt);
    (void)vprintf(fmt, args);
    va_end(args);
}

/* ---- JSON ----------------------------------------------------------------------- */

/* Takes `item`. A lack of memory, here or before, is noticed when the document is
 * printed (lvlm_print_json). */
static bool add(lvlm_printer *p, const char *key, cJSON *item)
{
    assert(p->json && p->depth < LVLM_PRINTER_DEPTH);
    cJSON *const to = p->at[p->depth];
    assert(to == NULL || (key != NULL) == cJSON_IsObject(to));
    if (key != NULL ? cJSON_AddItemToObject(to, key, item)
                    : cJSON_AddItemToArray(to, item))
        return true;
    lvlm_json_free(item);
    return false;
}

void lvlm_printer_text(lvlm_printer *p, const char *key, const char *value)
{
    assert(value != NULL);
    if (p->json) (void)add(p, key, cJSON_CreateString(value));
}

void lvlm_printer_count(lvlm_printer *p, const char *key, uint64_t value)
{
    if (p->json) (void)add(p, key, cJSON_CreateNumber((double)value));
}

void lvlm_printer_number(lvlm_printer *p, const char *key, double value)
{
    if (!p->json) return;
    (void)add(p, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

void lvlm_printer_flag(lvlm_printer *p, const char *key, bool value)
{
    if (p->json) (void)add(p, key, cJSON_CreateBool(value));
}

void lvlm_printer_null(lvlm_printer *p, const char *key)
{
    if (p->json) (void)add(p, key, cJSON_CreateNull());
}

void lvlm_printer_seconds(lvlm_printer *p, const char *key, double value)
{
    if (p->json) lvlm_add_seconds(p->at[p->depth], key, value);
}

void lvlm_printer_shape(lvlm_printer *p, const char *key, const lvlm_shape *value)
{
    if (p->json) (void)add(p, key, lvlm_shape_json(value));
}

void lvlm_printer_texts(lvlm_printer *p, const char *key, const char *const *values,
                        size_t n)
{
    lvlm_printer_list(p, key);
    for (size_t i = 0; i < n; i++) lvlm_printer_text(p, NULL, values[i]);
    lvlm_printer_end(p);
}

void lvlm_printer_tensor(lvlm_printer *p, const lvlm_tensor *value)
{
    lvlm_printer_object(p, NULL);
    lvlm_printer_text(p, "name", value->name);
    lvlm_printer_text(p, "dtype", lvlm_dtype_name(value->dtype));
    lvlm_printer_shape(p, "shape", &value->shape);
    lvlm_printer_end(p);
}

void lvlm_printer_tree(lvlm_printer *p, const char *key, const cJSON *value)
{
    if (p->json && value != NULL) (void)add(p, key, cJSON_Duplicate(value, true));
}

static void begin(lvlm_printer *p, const char *key, cJSON *item)
{
    assert(p->depth + 1 < LVLM_PRINTER_DEPTH);
    cJSON *const inner = add(p, key, item) ? item : NULL;
    p->at[++p->depth] = inner;
}

void lvlm_printer_list(lvlm_printer *p, const char *key)
{
    if (p->json) begin(p, key, cJSON_CreateArray());
}

void lvlm_printer_object(lvlm_printer *p, const char *key)
{
    if (p->json) begin(p, key, cJSON_CreateObject());
}

void lvlm_printer_end(lvlm_printer *p)
{
    if (!p->json) return;
    assert(p->depth > 0);
    p->depth--;
}
