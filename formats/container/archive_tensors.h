/* archive_tensors.h - the tensors of an .npz or a file of torch.save: the result of
 * their readers (npz.h, torchfile.h). Distinct objects may be used from distinct
 * threads. */
#ifndef LVLM_FORMATS_CONTAINER_ARCHIVE_TENSORS_H
#define LVLM_FORMATS_CONTAINER_ARCHIVE_TENSORS_H

#include "formats/container/tensor.h"
#include "formats/container/zip.h"

LVLM_BEGIN_DECLS

typedef struct lvlm_archive {
    /* in the reader's arena, in the order of lvlm_tensor_span_order; `file` is 0 */
    lvlm_tensor *tensors;
    size_t n_tensors;
    /* its members; of stored ones the CRC-32 is not yet checked (lvlm_zip_check). Empty
     * in the legacy form of torch.save */
    lvlm_zip zip;
    bool compressed;       /* a tensor's member is deflated */
    unsigned char *copies; /* values of detached tensors, or NULL; owned: lvlm_free */
} lvlm_archive;

LVLM_END_DECLS

#endif
