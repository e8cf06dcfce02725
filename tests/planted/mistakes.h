/* mistakes.h - a checkpoint of Hugging Face with one mistake in it.
 *
 *   plant_open      the right checkpoint, its tensors copied
 *   plant_read ...  values of a native tensor, wherever the source has them
 *   plant_set       a setting of config.json
 *   plant_save      the wrong checkpoint: one file of weights and config.json
 *
 * All functions fail the test on an error. */
#ifndef LVLM_TESTS_PLANTED_MISTAKES_H
#define LVLM_TESTS_PLANTED_MISTAKES_H

#include <stdbool.h>
#include <stddef.h>

#include "formats/base/arena.h"
#include "formats/checkpoint/manifest.h"

typedef struct plant {
    lvlm_checkpoint *source;
    lvlm_manifest manifest;
    /* (n) first those of the source, in its order; one without a name is left out */
    lvlm_tensor *tensors;
    size_t n;
    cJSON *right, *config; /* config.json as it is, and with the mistake */
    lvlm_arena arena;
} plant;

void plant_open(plant *p, const char *folder);
void plant_close(plant *p);

/* Does it differ from the right checkpoint? */
bool plant_is_wrong(const plant *p);
/* Write it to a folder that exists. */
void plant_save(plant *p, const char *folder);

/* The stored tensor that has the values of `target`. */
lvlm_tensor *plant_tensor(plant *p, const lvlm_target *target);
/* The same tensor of block `block`, or NULL. */
const lvlm_target *plant_of_block(const plant *p, const lvlm_target *target,
                                  uint64_t block);
/* A whole number of the canonical configuration; 0: it has none. */
size_t plant_count(const plant *p, const char *path);

/* The values of a native tensor. */
typedef struct plant_values {
    const plant *p;
    const lvlm_target *target;
    lvlm_tensor *tensor; /* that has them, perhaps besides others */
    uint64_t *places;    /* (n) where in it each of them is */
    double *x;           /* (n) = (rows, columns) */
    size_t n, rows, columns;
} plant_values;

plant_values plant_read(plant *p, const lvlm_target *target);
void plant_write(const plant_values *values);

/* Change settings: "text.norm_eps=1e-5;text.heads*2". Each is a canonical path, one of
 * = (JSON in the words of config.json), * / + (a number, or each of a list), < (the
 * list rotated) and ! (removed), and a value. "$a.b=1" is a path of config.json. False:
 * the family has no such setting. */
bool plant_set(plant *p, const char *changes);

#endif
