/* prompt_style.h - private to prompts: how a kind of model wants to be spoken to.
 *
 *   messages + style -> layout -> pieces of text, each with what it is
 *
 * A style is data: the strings around a turn and around an image, and the layout that
 * puts them together. Which one a model has follows from its canonical configuration
 * and the chat template that it ships (prompt_template.h). */
#ifndef LVLM_RUNTIME_INPUT_PROMPT_STYLE_H
#define LVLM_RUNTIME_INPUT_PROMPT_STYLE_H

#include "runtime/input/prompt.h"
#include "runtime/input/template_forms.h"

LVLM_BEGIN_DECLS

/* One stretch of text. */
typedef struct prompt_piece {
    const char *text;
    lvlm_span_kind kind;
    lvlm_role role;
    size_t message; /* or LVLM_NO_MESSAGE */
    bool apart;     /* tokenised apart from the piece in front of it */
    bool guarded;   /* of all special tokens only the style's tags count in it */
} prompt_piece;

typedef struct prompt_pieces {
    prompt_piece *at;
    size_t n, capacity;
    lvlm_arena *arena; /* texts and pieces live here */
} prompt_pieces;

typedef struct prompt_style prompt_style;

/* What a layout writes from. */
typedef struct prompt_source {
    const prompt_style *style;
    const lvlm_messages *messages;
    size_t
        first; /* messages behind the system's and in front of this one are left out */
    const lvlm_prompt_options *options;
    const char *bos, *eos; /* as the tokenizer writes them */
} prompt_source;

typedef int prompt_layout(prompt_pieces *out, const prompt_source *source,
                          lvlm_error *err);

struct prompt_style {
    const char *name;
    /* Whose it is: words of the canonical configuration. */
    const char *splice, *mask;
    /* How it is told from others of those: the model's chat template is one of these
     * forms, or generation_config.json names its format. The base form is what --raw
     * asks for, and what a model has that ships no template. */
    bool base;
    const template_form *forms; /* or NULL */
    const char *unturned; /* why a model has the base form; NULL: it has no other */
    const char *chat_format;
    prompt_layout *write;
    const char *place;         /* what stands for an image in a text */
    const char *image;         /* what is written for one ... */
    const char *image_close;   /* ... its file and this behind it; NULL: no file */
    bool numbered;             /* "Picture 1: " in front */
    const char *open, *opened; /* in front of a turn's role, and behind it */
    const char *close;         /* behind its content */
    const char *system;        /* said first unless the first message is a system's */
    /* Said first, with the date behind it, unless there are images: beside those a
     * system says nothing. */
    const char *knowledge;
    bool bos;      /* its texts have it in front, or behind images */
    bool affixed;  /* the tokenizer adds what it adds to any text (prompt_affix.h) */
    bool separate; /* role, content and what is around them are tokenised apart */
    lvlm_prompt_form form;   /* but its ids */
    const char *const *tags; /* of guarded pieces; ends with NULL */
    const char *const *kept; /* special tokens that say something in an answer, the
                                   same; NULL: none */
};

/* The style of a model. LVLM_EFORMAT: the template that it ships is none of those
 * known, or there is no style for such a model. */
LVLM_MUST_CHECK int prompt_style_choose(const prompt_style **out,
                                        const lvlm_manifest *manifest,
                                        const lvlm_prompt_options *options,
                                        lvlm_error *err);

/* Turns with a header each; a header of the assistant's at the end unless that has
 * spoken last. */
prompt_layout prompt_write_turns;
/* One text as it is. */
prompt_layout prompt_write_text;
/* Images, bos, a prefix, a new line; apart from it a suffix and eos. */
prompt_layout prompt_write_prefix;

/* Do the user's words say where images are? */
bool prompt_names_places(const prompt_source *source);

LVLM_END_DECLS

#endif
