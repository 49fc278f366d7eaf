#include "Private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libavutil/mem.h>

enum stage { STAGE_OPEN, STAGE_FINISHED, STAGE_FAILED };

struct ruyi_av_writer {
    enum stage stage;
    AVFormatContext *format;
    AVCodecContext *encoder;
    struct SwsContext *scaler;
    AVFilterGraph *graph;
    AVFilterContext *graph_source, *graph_sink;
    AVFrame *source;
    AVFrame *frame;
    AVPacket *packet;
    AVStream *stream;
    char *path;
    AVRational rate;
    int64_t frames;
    int64_t packets;
};

static int failed(ruyi_av_writer *writer, int status, const char *what, int error, char *message, size_t room) {
    writer->stage = STAGE_FAILED;
    return ruyi_av_fail(status, what, error, message, room);
}

static AVFrame *new_frame(enum AVPixelFormat pixels, int width, int height) {
    AVFrame *frame = av_frame_alloc();
    if (frame == NULL) return NULL;
    frame->format = pixels;
    frame->width = width;
    frame->height = height;
    if (av_frame_get_buffer(frame, 0) < 0) av_frame_free(&frame);
    return frame;
}

static int is_rgb(enum AVPixelFormat pixels) {
    const AVPixFmtDescriptor *descriptor = av_pix_fmt_desc_get(pixels);
    return descriptor != NULL && (descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
}

// Options that the encoders' own libraries need.
static int settle_library(AVDictionary **options, const ruyi_av_plan *plan) {
    const char *encoder = plan->encoder;
#if defined(__x86_64__)
    // x264's AVX-512 code for macroblock trees uses memory that nothing has written, so that its bytes differ from run
    // to run; up to AVX2 it does not. What the processor lacks must not be asked for.
    if (strncmp(encoder, "libx264", 7) == 0 && __builtin_cpu_supports("avx512f")) {
        return av_dict_set(options, "x264-params", "asm=AVX2", 0);
    }
#endif
    // x265 writes to standard error by itself, and its name and settings into every file.
    if (strcmp(encoder, "libx265") != 0) return 0;
    // x265's vector code for coding unit trees writes past its tables when a row has fewer than four units of 16 pixels.
    char settings[80];
    snprintf(
        settings, sizeof(settings), "log-level=none:info=0%s%s", plan->width < 64 ? ":cutree=0" : "",
        plan->lossless ? ":lossless=1" : "");
    return av_dict_set(options, "x265-params", settings, 0);
}

static int open_encoder(ruyi_av_writer *writer, const ruyi_av_plan *plan, enum AVPixelFormat pixels) {
    const AVCodec *codec = avcodec_find_encoder_by_name(plan->encoder);
    AVCodecContext *encoder = writer->encoder = avcodec_alloc_context3(codec);
    if (encoder == NULL) return AVERROR(ENOMEM);
    encoder->width = plan->width;
    encoder->height = plan->height;
    encoder->pix_fmt = pixels;
    encoder->framerate = writer->rate;
    encoder->time_base = av_inv_q(writer->rate);
    encoder->sample_aspect_ratio = (AVRational){1, 1};
    // Bytes depend on the number of threads, so it is part of the plan and not of the machine.
    encoder->thread_count = plan->threads;
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    encoder->color_primaries = AVCOL_PRI_BT709;
    encoder->color_trc = AVCOL_TRC_BT709;
    encoder->colorspace = is_rgb(pixels) ? AVCOL_SPC_RGB : AVCOL_SPC_BT709;
    encoder->color_range = is_rgb(pixels) ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    encoder->chroma_sample_location = is_rgb(pixels) ? AVCHROMA_LOC_UNSPECIFIED : AVCHROMA_LOC_LEFT;
    if ((writer->format->oformat->flags & AVFMT_GLOBALHEADER) != 0) encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    AVDictionary *options = NULL;
    int error = av_dict_parse_string(&options, plan->settings, "=", ":", 0);
    if (error >= 0) error = settle_library(&options, plan);
    if (error >= 0) error = avcodec_open2(encoder, codec, &options);
    if (error >= 0 && av_dict_count(options) > 0) error = AVERROR_OPTION_NOT_FOUND;
    av_dict_free(&options);
    return error;
}

// A graph from RGB frames to the encoder's, which sees the whole clip before it gives the first frame.
static int open_graph(ruyi_av_writer *writer, const ruyi_av_plan *plan) {
    const struct ruyi_av_filters *filters = ruyi_av_filters();
    if (filters == NULL) return AVERROR_FILTER_NOT_FOUND;
    char source[160];
    snprintf(
        source, sizeof(source), "video_size=%dx%d:pix_fmt=rgb24:time_base=%d/%d:pixel_aspect=1/1", plan->width,
        plan->height, plan->rate_den, plan->rate_num);
    AVFilterGraph *graph = writer->graph = filters->alloc();
    AVFilterInOut *first = filters->inout_alloc();
    AVFilterInOut *last = filters->inout_alloc();
    int error = graph == NULL || first == NULL || last == NULL ? AVERROR(ENOMEM) : 0;
    if (error >= 0) {
        graph->nb_threads = 1;
        error = filters->create(
            &writer->graph_source, filters->by_name("buffer"), "in", source, NULL, graph);
    }
    if (error >= 0) {
        error = filters->create(
            &writer->graph_sink, filters->by_name("buffersink"), "out", NULL, NULL, graph);
    }
    if (error >= 0) {
        first->name = av_strdup("in");
        first->filter_ctx = writer->graph_source;
        last->name = av_strdup("out");
        last->filter_ctx = writer->graph_sink;
        error = filters->parse(graph, plan->filter, &last, &first, NULL);
    }
    if (error >= 0) error = filters->configure(graph, NULL);
    if (error >= 0 && filters->format(writer->graph_sink) != writer->encoder->pix_fmt) error = AVERROR(EINVAL);
    filters->inout_free(&first);
    filters->inout_free(&last);
    return error;
}

static int open_scaler(ruyi_av_writer *writer, int width, int height, enum AVPixelFormat pixels) {
    writer->source = new_frame(AV_PIX_FMT_RGB24, width, height);
    writer->frame = new_frame(pixels, width, height);
    writer->scaler = sws_getContext(
        width, height, AV_PIX_FMT_RGB24, width, height, pixels, RUYI_AV_SCALING, NULL, NULL, NULL);
    if (writer->source == NULL || writer->frame == NULL || writer->scaler == NULL) return AVERROR(ENOMEM);
    const int *bt709 = sws_getCoefficients(SWS_CS_ITU709);
    int full = is_rgb(pixels);
    // From full-range RGB to limited-range luma and chroma. Not every pair of formats takes these details.
    int error = sws_setColorspaceDetails(writer->scaler, bt709, 1, bt709, full, 0, 1 << 16, 1 << 16);
    if (error < 0 && !full) return error;
    writer->frame->color_primaries = writer->encoder->color_primaries;
    writer->frame->color_trc = writer->encoder->color_trc;
    writer->frame->colorspace = writer->encoder->colorspace;
    writer->frame->color_range = writer->encoder->color_range;
    writer->frame->chroma_location = writer->encoder->chroma_sample_location;
    return 0;
}

// What frames are converted in and packets are taken from.
static int open_frames(ruyi_av_writer *writer, const ruyi_av_plan *plan, enum AVPixelFormat pixels) {
    writer->packet = av_packet_alloc();
    if (writer->packet == NULL) return AVERROR(ENOMEM);
    if (writer->graph == NULL) return open_scaler(writer, plan->width, plan->height, pixels);
    writer->frame = av_frame_alloc();
    return writer->frame == NULL ? AVERROR(ENOMEM) : 0;
}

static int open_stream(ruyi_av_writer *writer) {
    AVStream *stream = writer->stream = avformat_new_stream(writer->format, NULL);
    if (stream == NULL) return AVERROR(ENOMEM);
    int error = avcodec_parameters_from_context(stream->codecpar, writer->encoder);
    // Apple's players take HEVC under this name only.
    if (stream->codecpar->codec_id == AV_CODEC_ID_HEVC && writer->format->oformat->codec_tag != NULL &&
        strcmp(writer->format->oformat->name, "matroska") != 0) {
        stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1');
    }
    stream->time_base = writer->encoder->time_base;
    stream->avg_frame_rate = stream->r_frame_rate = writer->rate;
    stream->sample_aspect_ratio = writer->encoder->sample_aspect_ratio;
    return error;
}

// The muxer's options; `custom` asks for free tag names.
static int container_options(AVDictionary **options, const ruyi_av_plan *plan, int custom) {
    if (strcmp(plan->container, "webp") == 0) return av_dict_set_int(options, "loop", plan->loop, 0);
    // GIF counts the times that a clip is played again, and -1 leaves the count out.
    int again = plan->loop == 0 ? 0 : plan->loop == 1 ? -1 : plan->loop - 1;
    if (strcmp(plan->container, "gif") == 0) return av_dict_set_int(options, "loop", again, 0);
    if (strcmp(plan->container, "mp4") != 0 && strcmp(plan->container, "mov") != 0) return 0;
    int scale = plan->rate_num;
    while (scale < 10000) scale *= 2;
    int error = av_dict_set(
        options, "movflags", custom ? "+faststart+write_colr+use_metadata_tags" : "+faststart+write_colr", 0);
    // One scale for the track and the file, in which every frame's length is a whole number.
    if (error >= 0) error = av_dict_set_int(options, "video_track_timescale", scale, 0);
    if (error >= 0) error = av_dict_set_int(options, "movie_timescale", scale, 0);
    return error;
}

static int is_common_tag(const char *key) {
    static const char *const common[] = {"title", "comment", "artist", "copyright", "description", "date"};
    for (size_t at = 0; at < sizeof(common) / sizeof(common[0]); at++) {
        if (strcmp(common[at], key) == 0) return 1;
    }
    return 0;
}

static int write_header(ruyi_av_writer *writer, const ruyi_av_plan *plan) {
    int custom = 0;
    for (int tag = 0; tag < plan->tags; tag++) {
        int error = av_dict_set(&writer->format->metadata, plan->keys[tag], plan->values[tag], 0);
        if (error < 0) return error;
        custom = custom || !is_common_tag(plan->keys[tag]);
    }
    AVDictionary *options = NULL;
    int error = container_options(&options, plan, custom);
    if (error >= 0) error = avformat_write_header(writer->format, &options);
    av_dict_free(&options);
    if (error >= 0 && writer->format->pb->error < 0) error = writer->format->pb->error;
    return error;
}

// Sets up everything but the file.
static int open_parts(ruyi_av_writer *writer, const ruyi_av_plan *plan, char *message, size_t room) {
    int error = avformat_alloc_output_context2(&writer->format, NULL, plan->container, NULL);
    if (error < 0) {
        return failed(
            writer, ruyi_av_status(error, RUYI_AV_UNAVAILABLE), "the container is not available", error, message, room);
    }
    writer->format->flags |= AVFMT_FLAG_BITEXACT;
    enum AVPixelFormat pixels = av_get_pix_fmt(plan->pixel_format);
    error = open_encoder(writer, plan, pixels);
    if (error >= 0 && plan->filter != NULL) error = open_graph(writer, plan);
    if (error >= 0) error = open_frames(writer, plan, pixels);
    if (error >= 0) error = open_stream(writer);
    if (error >= 0) return RUYI_AV_OK;
    if (error == AVERROR_FILTER_NOT_FOUND) {
        return failed(writer, RUYI_AV_UNAVAILABLE, "libavfilter, which GIF needs, is not there", 0, message, room);
    }
    return failed(
        writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "the encoder cannot be set up", error, message, room);
}

static int open_file(ruyi_av_writer *writer, const ruyi_av_plan *plan, char *message, size_t room) {
    int status = open_parts(writer, plan, message, room);
    if (status != RUYI_AV_OK) return status;
    char *address = ruyi_av_address(plan->path);
    if (address == NULL) return failed(writer, RUYI_AV_MEMORY, "not enough memory", 0, message, room);
    // The muxer opens the file again to move its index to the front.
    av_free(writer->format->url);
    writer->format->url = address;
    int error = avio_open2(&writer->format->pb, address, AVIO_FLAG_WRITE, NULL, NULL);
    if (error < 0) return failed(writer, ruyi_av_status(error, RUYI_AV_CREATE), "cannot create", error, message, room);
    error = write_header(writer, plan);
    if (error < 0) {
        return failed(writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot begin the file", error, message, room);
    }
    return RUYI_AV_OK;
}

// An empty writer for a plan that this libav can carry out as far as names go.
static int new_writer(ruyi_av_writer **result, const ruyi_av_plan *plan, char *message, size_t room) {
    *result = NULL;
    int status = ruyi_av_check(plan->container, plan->encoder, plan->pixel_format, message, room);
    if (status != RUYI_AV_OK) return status;
    ruyi_av_writer *writer = av_mallocz(sizeof(*writer));
    if (writer != NULL) writer->path = av_strdup(plan->path);
    if (writer == NULL || writer->path == NULL) {
        av_free(writer);
        return ruyi_av_fail(RUYI_AV_MEMORY, "not enough memory", 0, message, room);
    }
    writer->rate = (AVRational){plan->rate_num, plan->rate_den};
    *result = writer;
    return RUYI_AV_OK;
}

int ruyi_av_try(const ruyi_av_plan *plan, char *message, size_t room) {
    ruyi_av_writer *writer = NULL;
    int status = new_writer(&writer, plan, message, room);
    if (status == RUYI_AV_OK) status = open_parts(writer, plan, message, room);
    ruyi_av_writer_free(writer);
    return status;
}

int ruyi_av_writer_open(ruyi_av_writer **result, const ruyi_av_plan *plan, char *message, size_t room) {
    int status = new_writer(result, plan, message, room);
    return status == RUYI_AV_OK ? open_file(*result, plan, message, room) : status;
}

// Sends a frame, or NULL for the end, and writes every packet that is ready.
static int encode(ruyi_av_writer *writer, AVFrame *frame, char *message, size_t room) {
    int error = avcodec_send_frame(writer->encoder, frame);
    if (error < 0) {
        return failed(writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot encode a frame", error, message, room);
    }
    for (;;) {
        error = avcodec_receive_packet(writer->encoder, writer->packet);
        if (error == AVERROR(EAGAIN) || error == AVERROR_EOF) return RUYI_AV_OK;
        if (error < 0) {
            return failed(
                writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot encode a frame", error, message, room);
        }
        // x265 leaves the decoding times of clips of one or two frames undefined; those of others are these, as its
        // pyramids of B-frames reorder by two.
        if (writer->encoder->codec_id == AV_CODEC_ID_HEVC) writer->packet->dts = writer->packets - 2;
        writer->packets++;
        writer->packet->duration = 1;
        writer->packet->stream_index = writer->stream->index;
        av_packet_rescale_ts(writer->packet, writer->encoder->time_base, writer->stream->time_base);
        error = av_interleaved_write_frame(writer->format, writer->packet);
        if (error >= 0) error = writer->format->pb->error;
        if (error < 0) return failed(writer, RUYI_AV_IO, "cannot write", error, message, room);
    }
}

// Copies rows of RGB samples into a frame, whose rows have padding that wide loads may touch.
static void fill(AVFrame *frame, const uint8_t *rgb) {
    size_t row = (size_t)frame->width * 3;
    for (int y = 0; y < frame->height; y++) {
        memcpy(frame->data[0] + (ptrdiff_t)y * frame->linesize[0], rgb + row * (size_t)y, row);
    }
}

// Hands a frame to the graph, which keeps it until the clip is complete.
static int give_graph(ruyi_av_writer *writer, const uint8_t *rgb) {
    AVFrame *frame = new_frame(AV_PIX_FMT_RGB24, writer->encoder->width, writer->encoder->height);
    if (frame == NULL) return AVERROR(ENOMEM);
    fill(frame, rgb);
    frame->pts = writer->frames++;
    int error = ruyi_av_filters()->add_frame(writer->graph_source, frame);
    av_frame_free(&frame);
    return error;
}

// Encodes what the graph makes of the whole clip.
static int drain_graph(ruyi_av_writer *writer, char *message, size_t room) {
    const struct ruyi_av_filters *filters = ruyi_av_filters();
    int error = filters->add_frame(writer->graph_source, NULL);
    while (error >= 0 && (error = filters->get_frame(writer->graph_sink, writer->frame)) >= 0) {
        AVRational base = filters->time_base(writer->graph_sink);
        writer->frame->pts = av_rescale_q(writer->frame->pts, base, writer->encoder->time_base);
        writer->frame->pict_type = AV_PICTURE_TYPE_NONE;
        int status = encode(writer, writer->frame, message, room);
        av_frame_unref(writer->frame);
        if (status != RUYI_AV_OK) return status;
    }
    if (error == AVERROR_EOF) return RUYI_AV_OK;
    return failed(writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot filter the frames", error, message, room);
}

int ruyi_av_writer_append(ruyi_av_writer *writer, const uint8_t *rgb, char *message, size_t room) {
    ruyi_av_begin();
    if (writer->stage != STAGE_OPEN) return ruyi_av_fail(RUYI_AV_INTERNAL, "the video is closed", 0, message, room);
    if (writer->graph != NULL) {
        int error = give_graph(writer, rgb);
        if (error >= 0) return RUYI_AV_OK;
        return failed(writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot keep a frame", error, message, room);
    }
    fill(writer->source, rgb);
    int error = av_frame_make_writable(writer->frame);
    if (error >= 0) {
        error = sws_scale(
            writer->scaler, (const uint8_t *const *)writer->source->data, writer->source->linesize, 0,
            writer->source->height, writer->frame->data, writer->frame->linesize);
    }
    if (error < 0) {
        return failed(writer, ruyi_av_status(error, RUYI_AV_INTERNAL), "cannot convert a frame", error, message, room);
    }
    writer->frame->pts = writer->frames++;
    return encode(writer, writer->frame, message, room);
}

int ruyi_av_writer_finish(ruyi_av_writer *writer, char *message, size_t room) {
    ruyi_av_begin();
    if (writer->stage != STAGE_OPEN) return ruyi_av_fail(RUYI_AV_INTERNAL, "the video is closed", 0, message, room);
    int status = writer->graph == NULL ? RUYI_AV_OK : drain_graph(writer, message, room);
    if (status == RUYI_AV_OK) status = encode(writer, NULL, message, room);
    if (status != RUYI_AV_OK) return status;
    int error = av_write_trailer(writer->format);
    if (error < 0) {
        return failed(writer, ruyi_av_status(error, RUYI_AV_IO), "cannot end the file", error, message, room);
    }
    avio_flush(writer->format->pb);
    error = writer->format->pb->error;
    int closing = avio_closep(&writer->format->pb);
    if (error >= 0) error = closing;
    if (error < 0) return failed(writer, RUYI_AV_IO, "cannot write", error, message, room);
    const char *container = writer->format->oformat->name;
    // libav cannot read animated WebP; whoever asked for it looks at the file's chunks.
    if (strcmp(container, "webp") == 0) {
        writer->stage = STAGE_FINISHED;
        return RUYI_AV_OK;
    }
    int64_t packets = 0;
    int64_t duration = 0;
    // GIF counts time in hundredths of a second.
    int64_t slack = strcmp(container, "gif") == 0 ? 1 : 0;
    status = ruyi_av_count(writer->path, writer->rate.num, writer->rate.den, &packets, &duration, message, room);
    if (status != RUYI_AV_OK) return failed(writer, RUYI_AV_IO, "the file cannot be read back", 0, message, room);
    if (packets != writer->frames || llabs(duration - writer->frames) > slack) {
        char text[120];
        snprintf(
            text, sizeof(text), "the file holds %lld frames of %lld, and lasts %lld", (long long)packets,
            (long long)writer->frames, (long long)duration);
        return failed(writer, RUYI_AV_IO, text, 0, message, room);
    }
    writer->stage = STAGE_FINISHED;
    return RUYI_AV_OK;
}

void ruyi_av_writer_free(ruyi_av_writer *writer) {
    if (writer == NULL) return;
    ruyi_av_begin();
    if (writer->format != NULL && writer->format->pb != NULL) avio_closep(&writer->format->pb);
    avcodec_free_context(&writer->encoder);
    avformat_free_context(writer->format);
    sws_freeContext(writer->scaler);
    if (writer->graph != NULL) ruyi_av_filters()->free(&writer->graph);
    av_frame_free(&writer->source);
    av_frame_free(&writer->frame);
    av_packet_free(&writer->packet);
    av_free(writer->path);
    av_free(writer);
}
