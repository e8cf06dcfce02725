/* adapter_folder.h - other files in an adapter's folder. */
#ifndef LVLM_FORMATS_ADAPTER_ADAPTER_FOLDER_H
#define LVLM_FORMATS_ADAPTER_ADAPTER_FOLDER_H

#include "formats/base/notes.h"

LVLM_BEGIN_DECLS

/* Note every file in `dir` that may hold weights trained together with the adapter:
 * trainers save connectors, embeddings and heads next to it. */
LVLM_MUST_CHECK int lvlm_adapter_note_folder(const char *dir, lvlm_notes *notes,
                                             lvlm_error *err);

LVLM_END_DECLS

#endif
