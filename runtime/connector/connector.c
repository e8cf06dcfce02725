/* connector.c - which connector a word names; see connector.h. */
#include "runtime/connector/connector.h"

#include <assert.h>
#include <string.h>

static const vision_connector *const connectors[] = { &linear_connector, &mlp_connector,
                                                      &merger_connector,
                                                      &resampler_connector };

const vision_connector *connector_find(const char *word)
{
    const size_t n = sizeof connectors / sizeof *connectors;
    size_t i = 0;
    while (i < n && strcmp(connectors[i]->word, word) != 0) i++;
    assert(i < n);
    return connectors[i];
}
