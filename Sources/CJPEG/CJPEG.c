#define _GNU_SOURCE
#include "include/CJPEG.h"

#include <dlfcn.h>
#include <limits.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

// More passes than this over one picture are an attack on time, not a picture.
enum { SCAN_LIMIT = 100 };

// What a decode in progress needs; it lives outside the frame that longjmp returns to.
struct jpeg_job {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_source_mgr source;
    int is_scanning;  // the header is read
    int lacks_end;    // the end marker was made up
    int status;
    char *message;
    size_t room;
    jmp_buf escape;
};

static void leave(j_common_ptr codec, int status, const char *text) {
    struct jpeg_job *job = (struct jpeg_job *)codec->err;
    job->status = status;
    snprintf(job->message, job->room, "%s", text);
    longjmp(job->escape, 1);
}

static void fail(j_common_ptr codec) {
    char text[JMSG_LENGTH_MAX];
    codec->err->format_message(codec, text);
    switch (codec->err->msg_code) {
    case JERR_OUT_OF_MEMORY: leave(codec, RUYI_JPEG_MEMORY, text); break;
    // The limit set below was reached, which a picture of the stated size does not need.
    case JERR_NO_BACKING_STORE: leave(codec, RUYI_JPEG_BAD, "decoding takes too much memory for its size"); break;
    default: leave(codec, RUYI_JPEG_BAD, text);
    }
}

// A negative level is damage that the library papers over. Only oddities outside the picture data are let pass.
static void judge_message(j_common_ptr codec, int level) {
    if (level >= 0) return;
    int code = codec->err->msg_code;
    if (code == JWRN_ADOBE_XFORM || code == JWRN_JFIF_MAJOR) return;
    if (((struct jpeg_job *)codec->err)->lacks_end) leave(codec, RUYI_JPEG_SHORT, "the file ends early");
    fail(codec);
}

static void drop_output(j_common_ptr codec) { (void)codec; }

static void count_scans(j_common_ptr codec) {
    if (codec->is_decompressor && ((j_decompress_ptr)codec)->input_scan_number > SCAN_LIMIT) {
        leave(codec, RUYI_JPEG_BAD, "more than 100 progressive scans");
    }
}

static void source_begin(j_decompress_ptr codec) { (void)codec; }
static void source_end(j_decompress_ptr codec) { (void)codec; }

// Where the bytes end, an end marker is tried once: it does no harm when all rows are there, and a decoder that still
// needs bits complains of it.
static boolean source_refill(j_decompress_ptr codec) {
    static const JOCTET end[2] = {0xFF, JPEG_EOI};
    struct jpeg_job *job = (struct jpeg_job *)codec->err;
    if (!job->is_scanning || job->lacks_end) leave((j_common_ptr)codec, RUYI_JPEG_SHORT, "the file ends early");
    job->lacks_end = 1;
    codec->src->next_input_byte = end;
    codec->src->bytes_in_buffer = sizeof(end);
    return TRUE;
}

static void source_skip(j_decompress_ptr codec, long count) {
    if (count <= 0) return;
    if ((size_t)count > codec->src->bytes_in_buffer) {
        leave((j_common_ptr)codec, RUYI_JPEG_SHORT, "the file ends early");
    }
    codec->src->next_input_byte += count;
    codec->src->bytes_in_buffer -= (size_t)count;
}

static void prepare(struct jpeg_decompress_struct *codec, struct jpeg_job *job, char *message, size_t room) {
    memset(codec, 0, sizeof(*codec));
    memset(job, 0, sizeof(*job));
    message[0] = 0;
    job->message = message;
    job->room = room;
    codec->err = jpeg_std_error(&job->errors);
    job->errors.error_exit = fail;
    job->errors.emit_message = judge_message;
    job->errors.output_message = drop_output;
    job->progress.progress_monitor = count_scans;
}

static void read_header(
    struct jpeg_decompress_struct *codec, struct jpeg_job *job, const uint8_t *data, size_t length) {
    codec->progress = &job->progress;
    job->source.next_input_byte = data;
    job->source.bytes_in_buffer = length;
    job->source.init_source = source_begin;
    job->source.fill_input_buffer = source_refill;
    job->source.skip_input_data = source_skip;
    job->source.resync_to_restart = jpeg_resync_to_restart;
    job->source.term_source = source_end;
    codec->src = &job->source;
    jpeg_read_header(codec, TRUE);
}

// Whether nothing is missing of a picture whose bytes end without a marker: every component was in a scan, and
// progressive ones have all their bits. Arithmetic coding leaves out zeros at the end, so there it cannot be told.
static int is_whole(const struct jpeg_decompress_struct *codec) {
    if (codec->arith_code) return 0;
    for (int component = 0; component < codec->num_components; component++) {
        if (codec->comp_info[component].quant_table == NULL) return 0;
        for (int index = 0; codec->coef_bits != NULL && index < DCTSIZE2; index++) {
            if (codec->coef_bits[component][index] != 0) return 0;
        }
    }
    return 1;
}

int ruyi_jpeg_size(
    const uint8_t *data, size_t length, uint32_t *width, uint32_t *height, int *components, char *message, size_t room) {
    struct jpeg_decompress_struct codec;
    struct jpeg_job job;
    prepare(&codec, &job, message, room);
    if (setjmp(job.escape) != 0) {
        jpeg_destroy_decompress(&codec);
        return job.status;
    }
    jpeg_create_decompress(&codec);
    read_header(&codec, &job, data, length);
    *width = codec.image_width;
    *height = codec.image_height;
    *components = codec.num_components;
    jpeg_destroy_decompress(&codec);
    return RUYI_JPEG_OK;
}

int ruyi_jpeg_decode(
    const uint8_t *data, size_t length, uint8_t *samples, uint32_t width, uint32_t height, int *lacks_end, char *message,
    size_t room) {
    struct jpeg_decompress_struct codec;
    struct jpeg_job job;
    prepare(&codec, &job, message, room);
    if (setjmp(job.escape) != 0) {
        jpeg_destroy_decompress(&codec);
        return job.status;
    }
    jpeg_create_decompress(&codec);
    // Coefficients of a progressive picture are 2 bytes for each sample of at most four components.
    codec.mem->max_memory_to_use = (64L << 20) + 10L * (long)width * (long)height;
    read_header(&codec, &job, data, length);
    j_common_ptr common = (j_common_ptr)&codec;
    if (codec.image_width != width || codec.image_height != height) {
        leave(common, RUYI_JPEG_BAD, "the size changed between two readings");
    }
    job.is_scanning = 1;
    if (codec.data_precision != 8) leave(common, RUYI_JPEG_BAD, "only 8 bits a sample are supported");
    int inks = codec.num_components == 4;
    if (codec.num_components != 1 && codec.num_components != 3 && codec.num_components != 4) {
        leave(common, RUYI_JPEG_BAD, "only 1, 3 or 4 colour components are supported");
    }
    codec.out_color_space = inks ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&codec);
    if (codec.output_width != width || codec.output_height != height || codec.output_components != (inks ? 4 : 3)) {
        leave(common, RUYI_JPEG_BAD, "unexpected row size");
    }
    size_t stride = (size_t)width * (inks ? 4 : 3);
    while (codec.output_scanline < height) {
        JSAMPROW row = samples + stride * codec.output_scanline;
        if (jpeg_read_scanlines(&codec, &row, 1) != 1) leave(common, RUYI_JPEG_SHORT, "the file ends early");
        // Four inks are stored inverted, as Adobe writes them: a sample of 255 is no ink.
        for (size_t index = 0; inks && index < stride; index++) row[index] = (JSAMPLE)(255 - row[index]);
    }
    if (job.lacks_end && !is_whole(&codec)) leave(common, RUYI_JPEG_SHORT, "the file ends early");
    jpeg_finish_decompress(&codec);
    *lacks_end = job.lacks_end;
    jpeg_destroy_decompress(&codec);
    return RUYI_JPEG_OK;
}

int ruyi_jpeg_version(void) { return JPEG_LIB_VERSION; }

void ruyi_jpeg_library_file(char *text, size_t room) {
    Dl_info where;
    char path[PATH_MAX];
    text[0] = 0;
    // The library says nowhere which version it is; the name of its file does.
    if (!dladdr((const void *)jpeg_std_error, &where) || !where.dli_fname || !realpath(where.dli_fname, path)) return;
    const char *slash = strrchr(path, '/');
    snprintf(text, room, "%s", slash ? slash + 1 : path);
}
