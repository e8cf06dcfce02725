/* kinds_blind.c - mistakes that no recording shows, and why; see kinds.h. */
#include <stddef.h>

#include "tests/planted/kinds.h"

#define SOFTMAX                                                                        \
    "a bias of keys that are not rotated adds the same to every score of a query, "    \
    "and softmax takes it out"
#define ROWS "the rows of the table decide, not config.json"
#define TIES                                                                           \
    "a head that is stored counts, and without one the embedding: the key is not read"
#define NO_SUCH_ID "no text of the recordings has that id, and the head is not tied"

const blind_pair blind_pairs[] = {
    { "tower: bias of k dropped", "qwen_vl|paligemma*|llava|composed", SOFTMAX },
    { "resampler: bias of k dropped", NULL, SOFTMAX },
    { "embedding: the first row zero", "qwen_vl|mllama", NO_SUCH_ID },
    { "embedding: the last row zero", "qwen_vl|mllama", NO_SUCH_ID },
    { "vocabulary: one larger", NULL, ROWS },
    { "rows of the embedding", NULL, ROWS },
    { "head: said to be tied", NULL, TIES },
    { "head: said not to be tied", NULL, TIES },
    { "softcap of logits: *", "llava",
      "transformers' class of LLaVA has been without the cap since 4.52, and so are "
      "its recordings" },
    { "text activation: gelu", "paligemma*",
      "Gemma's gelu is the one by tanh, whichever of the two config.json names" },
    { "image token: *", "mllama",
      "the recording's mask says which rows see an image: the id is for prompts" },
    { "padding token: another id", NULL,
      "the recording's mask says which rows are padding: the id is for prompts" },
    { "image size: twice", "qwen_vl",
      "positions are resampled to the grid of the recorded pixels: the size is for "
      "images" },
    { "tiles: aspects in another order", "mllama",
      "the recording has the ids of aspects: their list is for images" },
    { NULL, NULL, NULL },
};
