/* native_writer.c - header, data, header again; see native_writer.h.
 *
 * The header's length depends only on names, shapes and metadata, not on digests: it is
 * first composed with zeros, then the data is written in one pass, and last the header
 * with the digests of that data. */
#include "formats/native/native_writer.h"

#include <assert.h>

#include "formats/base/alloc.h"
#include "formats/base/size.h"
#include "formats/container/safetensors.h"

enum { MAX_HEADER = LVLM_SAFETENSORS_MAX_HEADER + 2 * LVLM_NATIVE_ALIGN_DATA };

static int lay_out(lvlm_native_writer *w, lvlm_error *err)
{
    uint64_t at = w->header_bytes;
    w->starts = lvlm_calloc(w->n_tensors + 1, sizeof *w->starts);
    w->digests = lvlm_calloc(w->n_tensors + 1, sizeof *w->digests);
    if (w->starts == NULL || w->digests == NULL) return lvlm_fail_memory(err);
    for (size_t i = 0; i < w->n_tensors; i++) {
        w->starts[i] = at;
        FAIL_IF(!lvlm_add_u64(&at, at, w->tensors[i].n_bytes), err, LVLM_EFORMAT,
                "tensor '%s': size overflows 64 bits", w->tensors[i].name);
    }
    return 0;
}

int lvlm_native_writer_open(lvlm_native_writer *out, const lvlm_native_meta *meta,
                            const lvlm_tensor *tensors, size_t n_tensors,
                            lvlm_outfile *file, lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(MAX_HEADER);
    lvlm_hex_digest root;
    *out = (lvlm_native_writer){
        .file = file, .meta = *meta, .tensors = tensors, .n_tensors = n_tensors
    };
    int rc = lvlm_native_header(&header, meta, tensors, n_tensors, NULL, root, err);
    out->header_bytes = header.length;
    if (rc == 0) rc = lvlm_native_check_header(header.text, header.length, err);
    if (rc == LVLM_EFORMAT)
        lvlm_prefix(err, "%s: would not be a native file: ", lvlm_outfile_path(file));
    lvlm_strbuf_free(&header);
    return rc < 0 ? rc : lay_out(out, err);
}

int lvlm_native_writer_finish(lvlm_native_writer *w, lvlm_hex_digest root,
                              lvlm_error *err)
{
    lvlm_strbuf header = LVLM_STRBUF_INIT(MAX_HEADER);
    int rc = lvlm_native_header(&header, &w->meta, w->tensors, w->n_tensors, w->digests,
                                root, err);
    if (rc == 0) {
        assert(header.length == w->header_bytes);
        lvlm_outfile_write_at(w->file, 0, header.text, header.length, NULL);
        rc = lvlm_outfile_commit(w->file, err);
    }
    lvlm_strbuf_free(&header);
    return rc;
}

void lvlm_native_writer_close(lvlm_native_writer *w)
{
    lvlm_free(w->starts);
    lvlm_free(w->digests);
    *w = (lvlm_native_writer){ 0 };
}
