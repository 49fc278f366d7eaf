#include "Private.h"

#include <dlfcn.h>
#include <pthread.h>

#define TEXT(value) #value
#define NAME(version) "libavfilter.so." TEXT(version)

static struct ruyi_av_filters table;
static int is_loaded;

// Finds one function; the sum of what is missing stays in `missing`.
static void *find(void *library, const char *name, int *missing) {
    void *symbol = dlsym(library, name);
    if (symbol == NULL) *missing += 1;
    return symbol;
}

static void load(void) {
    void *library = dlopen(NAME(LIBAVFILTER_VERSION_MAJOR), RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return;
    int missing = 0;
#define FIND(field, name) table.field = (__typeof__(table.field))find(library, #name, &missing)
    FIND(alloc, avfilter_graph_alloc);
    FIND(free, avfilter_graph_free);
    FIND(inout_alloc, avfilter_inout_alloc);
    FIND(inout_free, avfilter_inout_free);
    FIND(by_name, avfilter_get_by_name);
    FIND(create, avfilter_graph_create_filter);
    FIND(parse, avfilter_graph_parse_ptr);
    FIND(configure, avfilter_graph_config);
    FIND(add_frame, av_buffersrc_add_frame);
    FIND(get_frame, av_buffersink_get_frame);
    FIND(format, av_buffersink_get_format);
    FIND(time_base, av_buffersink_get_time_base);
#undef FIND
    is_loaded = missing == 0;
}

const struct ruyi_av_filters *ruyi_av_filters(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return is_loaded ? &table : NULL;
}
