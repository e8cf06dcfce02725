/* card.h - an evidence card: what a native file is, where it came from, and what was
 * proved of it, as one JSON document that can be checked again.
 *
 *   audit -> lvlm_card_make -> FILE.json, and lvlm_card_markdown for people
 *   FILE.json + a new audit -> lvlm_card_compare -> what does not agree
 *
 * CARD.md describes its members. The same audit gives the same bytes. */
#ifndef LVLM_VERIFY_REPORT_CARD_H
#define LVLM_VERIFY_REPORT_CARD_H

#include <cjson/cJSON.h>

#include "formats/base/strbuf.h"
#include "verify/audit.h"

LVLM_BEGIN_DECLS

#define LVLM_CARD_FORMAT "lvlm-card-1"

/* *out is owned: lvlm_json_free, also after a failure. */
LVLM_MUST_CHECK int lvlm_card_make(cJSON **out, const lvlm_audit *audit,
                                   lvlm_error *err);

/* A card that was made or read, as a page of Markdown. What it lacks is left out. */
void lvlm_card_markdown(lvlm_strbuf *out, const cJSON *card);

/* Read a card. LVLM_EFORMAT if the file is anything else. Owned as above. */
LVLM_MUST_CHECK int lvlm_card_read(cJSON **out, const char *path, lvlm_error *err);

/* A recording of a card: the name of its file and its SHA-256; false: there is no
 * number `i`. */
bool lvlm_card_golden(const char **name, const char **sha256, const cJSON *card,
                      size_t i);

/* Report each fact in which a card and the card of a new audit differ, in a sentence.
 * Names of files, sentences and versions are not compared; a recording that the new
 * audit does not have is not, either. Returns the number of sentences. */
size_t lvlm_card_compare(const cJSON *card, const cJSON *now,
                         void (*sentence)(void *user, const char *text), void *user);

LVLM_END_DECLS

#endif
