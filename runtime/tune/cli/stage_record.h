/* stage_record.h - what is known of a stage that was begun or finished: one JSON file
 * beside its output, with its options, and digests of data and models. From it follows
 * whether the stage has to be trained, again or further. */
#ifndef LVLM_RUNTIME_TUNE_CLI_STAGE_RECORD_H
#define LVLM_RUNTIME_TUNE_CLI_STAGE_RECORD_H

#include <cjson/cJSON.h>

#include "formats/base/digest.h"
#include "formats/base/error.h"

/* What a stage depends on, and what came of it. */
typedef struct stage_facts {
    const cJSON *options; /* of the recipe; those that change no byte do not count */
    lvlm_hex_digest data; /* lvlm_batch_source.id */
    lvlm_hex_digest
        input; /* weights digest of the model it starts from; "": not known */
    lvlm_hex_digest output; /* of the one it wrote; "": it is not finished */
} stage_facts;

typedef struct stage_record {
    bool exists;
    stage_facts facts; /* options are borrowed from json */
    cJSON *json;
} stage_record;

/* Read the file at `path`, if it exists. LVLM_EFORMAT if it is not such a record. Free
 * with stage_record_free, also after a failure. */
LVLM_MUST_CHECK int stage_record_read(stage_record *out, const char *path,
                                      lvlm_error *err);
void stage_record_free(stage_record *record);
LVLM_MUST_CHECK int stage_record_write(const char *path, const stage_facts *facts,
                                       lvlm_error *err);

/* LVLM_EUSAGE if the record is of a stage with other options, data or input: names the
 * first. */
LVLM_MUST_CHECK int stage_record_compare(const stage_record *record,
                                         const stage_facts *now, lvlm_error *err);

#endif
