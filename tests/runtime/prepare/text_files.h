/* text_files.h - tokenizers from files in memory. */
#ifndef LVLM_TESTS_RUNTIME_PREPARE_TEXT_FILES_H
#define LVLM_TESTS_RUNTIME_PREPARE_TEXT_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "formats/base/json.h"
#include "formats/base/text.h"
#include "runtime/prepare/tokenizer/byte_level.h"
#include "runtime/prepare/tokenizer/tokenizer.h"

#define PALIGEMMA "{\"model_type\":\"paligemma\"}"

enum { TEXT_FILES = 4 };

typedef struct text_files {
    lvlm_side_file at[TEXT_FILES]; /* up to the first without a name */
    bool paligemma;
} text_files;

static inline void text_files_add_bytes(text_files *files, const char *name,
                                        const void *bytes, size_t n_bytes)
{
    size_t i = 0;
    while (files->at[i].name != NULL) i++;
    files->at[i] = (lvlm_side_file){ name, bytes, n_bytes };
}

static inline void text_files_add(text_files *files, const char *name, const char *text)
{
    text_files_add_bytes(files, name, text, strlen(text));
}

static inline int text_files_open(lvlm_tokenizer **out, text_files *files,
                                  lvlm_error *err)
{
    cJSON *config = NULL;
    lvlm_side_file sorted[TEXT_FILES];
    lvlm_checkpoint checkpoint = { .path = "model", .side_files = sorted };
    size_t n = 0;
    for (; n < TEXT_FILES && files->at[n].name != NULL; n++) sorted[n] = files->at[n];
    qsort(sorted, n, sizeof *sorted, lvlm_by_text);
    checkpoint.n_side_files = n;
    if (files->paligemma)
        TRY(lvlm_json_parse(&config, PALIGEMMA, strlen(PALIGEMMA), err));
    checkpoint.config = config;
    const int rc = lvlm_tokenizer_open(out, &checkpoint, err);
    lvlm_json_free(config);
    return rc;
}

/* Append the members of a vocabulary of bytes, each with its value as id. */
static inline void text_files_vocab(lvlm_strbuf *out)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        char spelled[2];
        const size_t n = byte_level_spell(spelled, (unsigned char)byte);
        lvlm_strbuf_puts(out, byte > 0 ? ",\"" : "\"");
        if (byte == '"' || byte == '\\') lvlm_strbuf_puts(out, "\\");
        lvlm_strbuf_append(out, spelled, n);
        lvlm_strbuf_printf(out, "\":%u", byte);
    }
}

/* The ids of a text, separated by spaces; "error: ..." when it is refused. */
static inline const char *text_ids(const lvlm_tokenizer *tokenizer, const char *text,
                                   const lvlm_special *special, char *out, size_t room)
{
    lvlm_ids ids = LVLM_IDS_INIT;
    lvlm_error err;
    size_t n = 0;
    out[0] = '\0';
    if (lvlm_tokenizer_encode(tokenizer, &ids, text, strlen(text), special, &err) < 0)
        snprintf(out, room, "error: %.200s", err.text);
    else
        for (size_t i = 0; i < ids.n; i++)
            n += (size_t)snprintf(out + n, room - n, "%s%d", i > 0 ? " " : "",
                                  (int)ids.at[i]);
    lvlm_ids_free(&ids);
    return out;
}

static inline lvlm_tokenizer *text_files_opened(text_files *files)
{
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { .text = "" };
    if (text_files_open(&tokenizer, files, &err) < 0) fail_msg("%s", err.text);
    return tokenizer;
}

static inline void text_files_refused(text_files *files, const char *message)
{
    lvlm_tokenizer *tokenizer = NULL;
    lvlm_error err = { .text = "" };
    assert_int_equal(text_files_open(&tokenizer, files, &err), LVLM_EFORMAT);
    if (strstr(err.text, message) == NULL) fail_msg("%s", err.text);
}

static inline void text_files_give(const lvlm_tokenizer *tokenizer, const char *text,
                                   const char *ids)
{
    char got[4096];
    assert_string_equal(text_ids(tokenizer, text, NULL, got, sizeof got), ids);
}

#endif
