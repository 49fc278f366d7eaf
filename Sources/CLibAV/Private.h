// What the writer and the reader share.
#ifndef RUYI_CLIBAV_PRIVATE_H
#define RUYI_CLIBAV_PRIVATE_H

#include "include/CLibAV.h"

#include <libavcodec/avcodec.h>
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
#include <libavformat/avformat.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

// Silences libav and forgets the line and the error number that this thread kept.
void ruyi_av_begin(void);

// Writes `what`, libav's text for `error` (0 for none) and the kept line into `message`; returns `status`.
int ruyi_av_fail(int status, const char *what, int error, char *message, size_t room);

// RUYI_AV_MEMORY or RUYI_AV_IO where the error number, or the system's since `ruyi_av_begin`, says so, else `otherwise`.
int ruyi_av_status(int error, int otherwise);

// The path as a libav address, so that a colon in it names no protocol; NULL when memory is short.
char *ruyi_av_address(const char *path);

// The functions of libavfilter that the writer calls.
struct ruyi_av_filters {
    AVFilterGraph *(*alloc)(void);
    void (*free)(AVFilterGraph **);
    AVFilterInOut *(*inout_alloc)(void);
    void (*inout_free)(AVFilterInOut **);
    const AVFilter *(*by_name)(const char *);
    int (*create)(AVFilterContext **, const AVFilter *, const char *, const char *, void *, AVFilterGraph *);
    int (*parse)(AVFilterGraph *, const char *, AVFilterInOut **, AVFilterInOut **, void *);
    int (*configure)(AVFilterGraph *, void *);
    int (*add_frame)(AVFilterContext *, AVFrame *);
    int (*get_frame)(AVFilterContext *, AVFrame *);
    int (*format)(const AVFilterContext *);
    AVRational (*time_base)(const AVFilterContext *);
};

// libavfilter, opened when it is first asked for: it brings a hundred libraries with it, which would make every start of
// the program three times as long, and only GIF needs it. NULL when it is not installed.
const struct ruyi_av_filters *ruyi_av_filters(void);

// Slow and exact conversion, the same on every processor.
#define RUYI_AV_SCALING \
    (SWS_LANCZOS | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP | SWS_BITEXACT)

#endif
