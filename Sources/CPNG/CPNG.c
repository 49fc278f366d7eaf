#include "include/CPNG.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

// What a read or write in progress needs; it lives outside the frame that longjmp returns to.
struct png_job {
    const uint8_t *data;
    size_t length;
    size_t position;
    uint8_t *out;
    size_t capacity;
    int has_rows;
    int status;
    char *message;
    size_t room;
    jmp_buf escape;
};

static void fail(png_structp png, png_const_charp text) {
    struct png_job *job = png_get_error_ptr(png);
    if (job->status == RUYI_PNG_OK) {
        job->status = strstr(text, "emory") != NULL ? RUYI_PNG_MEMORY : RUYI_PNG_BAD;
        snprintf(job->message, job->room, "%s", text);
    }
    longjmp(job->escape, 1);
}

static void ignore_warning(png_structp png, png_const_charp text) {
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep target, size_t count) {
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->length - job->position) {
        job->status = RUYI_PNG_SHORT;
        snprintf(job->message, job->room, "the file ends early");
        png_error(png, "the file ends early");
    }
    memcpy(target, job->data + job->position, count);
    job->position += count;
}

static void write_bytes(png_structp png, png_bytep source, size_t count) {
    struct png_job *job = png_get_io_ptr(png);
    if (count > job->capacity - job->length) {
        size_t wanted = job->capacity * 2 > job->length + count ? job->capacity * 2 : job->length + count;
        uint8_t *larger = realloc(job->out, wanted);
        if (larger == NULL) png_error(png, "Out of memory");
        job->out = larger;
        job->capacity = wanted;
    }
    memcpy(job->out + job->length, source, count);
    job->length += count;
}

static void flush_bytes(png_structp png) { (void)png; }

// Chunks that say nothing about the stored samples; they are checked for their sum and skipped. The last of them tells
// which colours are transparent.
static const png_byte skipped[] =
    "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0tEXt\0tIME\0zTXt\0tRNS";

static png_structp open_reader(struct png_job *job, png_infop *info) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, job, fail, ignore_warning);
    if (png == NULL) return NULL;
    *info = png_create_info_struct(png);
    if (*info == NULL) {
        png_destroy_read_struct(&png, NULL, NULL);
        return NULL;
    }
    return png;
}

static void read_header(png_structp png, png_infop info, struct png_job *job, int with_alpha) {
    png_set_read_fn(png, job, read_bytes);
    png_set_user_limits(png, 65535, 65535);
    png_set_chunk_cache_max(png, 64);
    png_set_chunk_malloc_max(png, 1 << 20);
    png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
    // Palette indices past the palette are black, as other readers have it.
    png_set_check_for_invalid_index(png, 0);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, 0);
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, skipped, (int)(sizeof(skipped) / 5) - (with_alpha != 0));
    png_read_info(png, info);
}

int ruyi_png_size(const uint8_t *data, size_t length, uint32_t *width, uint32_t *height, char *message, size_t room) {
    // Signature, then a chunk that must be IHDR: length 13, name, width, height.
    static const uint8_t start[16] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R'};
    size_t known = length < sizeof(start) ? length : sizeof(start);
    if (memcmp(data, start, known) != 0) {
        snprintf(message, room, "the PNG header is missing");
        return RUYI_PNG_BAD;
    }
    if (length < 24) {
        snprintf(message, room, "the file ends early");
        return RUYI_PNG_SHORT;
    }
    *width = (uint32_t)data[16] << 24 | (uint32_t)data[17] << 16 | (uint32_t)data[18] << 8 | data[19];
    *height = (uint32_t)data[20] << 24 | (uint32_t)data[21] << 16 | (uint32_t)data[22] << 8 | data[23];
    return RUYI_PNG_OK;
}

int ruyi_png_decode(
    const uint8_t *data, size_t length, int channels, uint8_t *samples, uint32_t width, uint32_t height, int *lacks_end,
    char *message, size_t room) {
    struct png_job job = {.data = data, .length = length, .message = message, .room = room};
    png_infop info = NULL;
    message[0] = 0;
    *lacks_end = 0;
    if (setjmp(job.escape) != 0) {
        // png_create_read_struct itself may fail this way, and then it has released what it made.
        return job.status;
    }
    png_structp volatile png = open_reader(&job, &info);
    if (png == NULL) {
        snprintf(message, room, "not enough memory to read the picture");
        return RUYI_PNG_MEMORY;
    }
    if (setjmp(job.escape) != 0) {
        png_structp dead = png;
        png_destroy_read_struct(&dead, &info, NULL);
        // Only what follows the samples is missing.
        *lacks_end = job.has_rows && job.status == RUYI_PNG_SHORT;
        return *lacks_end ? RUYI_PNG_OK : job.status;
    }
    read_header(png, info, &job, channels == 4);
    int colour = png_get_color_type(png, info);
    int depth = png_get_bit_depth(png, info);
    if (png_get_image_width(png, info) != width || png_get_image_height(png, info) != height) {
        png_error(png, "the size changed between two readings");
    }
    if (colour == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png);
    } else {
        if (depth == 16) png_set_strip_16(png);
        if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
        if ((colour & PNG_COLOR_MASK_COLOR) == 0) png_set_gray_to_rgb(png);
    }
    if (channels == 3) {
        if ((colour & PNG_COLOR_MASK_ALPHA) != 0) png_set_strip_alpha(png);
    } else if (png_get_valid(png, info, PNG_INFO_tRNS)) {
        png_set_tRNS_to_alpha(png);
    } else {
        // For pictures without alpha; those with it keep their own.
        png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
    }
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    size_t stride = (size_t)width * (size_t)channels;
    if (png_get_rowbytes(png, info) != stride) png_error(png, "unexpected row size");
    for (int pass = 0; pass < passes; pass++) {
        for (uint32_t y = 0; y < height; y++) png_read_row(png, samples + stride * y, NULL);
    }
    job.has_rows = 1;
    png_read_end(png, NULL);
    png_structp done = png;
    png_destroy_read_struct(&done, &info, NULL);
    return RUYI_PNG_OK;
}

int ruyi_png_encode(
    const uint8_t *rgb, uint32_t width, uint32_t height, const char *const *keys, const char *const *texts, int tags,
    uint8_t **data, size_t *length, char *message, size_t room) {
    struct png_job job = {.message = message, .room = room};
    png_infop info = NULL;
    message[0] = 0;
    job.capacity = 4096 + (size_t)width * height;
    job.out = malloc(job.capacity);
    if (job.out == NULL) {
        snprintf(message, room, "not enough memory to write the picture");
        return RUYI_PNG_MEMORY;
    }
    if (setjmp(job.escape) != 0) {
        free(job.out);
        return job.status;
    }
    png_structp volatile png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, fail, ignore_warning);
    png_structp made = png;
    if (made != NULL) info = png_create_info_struct(made);
    if (info == NULL) {
        if (made != NULL) png_destroy_write_struct(&made, NULL);
        free(job.out);
        snprintf(message, room, "not enough memory to write the picture");
        return RUYI_PNG_MEMORY;
    }
    if (setjmp(job.escape) != 0) {
        png_structp dead = png;
        png_destroy_write_struct(&dead, &info);
        free(job.out);
        return job.status;
    }
    png_set_write_fn(png, &job, write_bytes, flush_bytes);
    png_set_user_limits(png, 65535, 65535);
    png_set_IHDR(
        png, info, width, height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
        PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 6);
    for (int tag = 0; tag < tags; tag++) {
        png_text text = {0};
        text.compression = PNG_ITXT_COMPRESSION_NONE;
        text.key = (png_charp)keys[tag];
        text.text = (png_charp)texts[tag];
        text.lang = (png_charp) "";
        text.lang_key = (png_charp) "";
        png_set_text(png, info, &text, 1);
    }
    png_write_info(png, info);
    for (uint32_t y = 0; y < height; y++) png_write_row(png, rgb + (size_t)width * 3 * y);
    png_write_end(png, info);
    png_structp done = png;
    png_destroy_write_struct(&done, &info);
    *data = job.out;
    *length = job.length;
    return RUYI_PNG_OK;
}

int ruyi_png_inflate(const uint8_t *data, size_t length, uint8_t *target, size_t capacity, size_t *written) {
    z_stream stream = {0};
    if (length > UINT32_MAX || capacity > UINT32_MAX || inflateInit(&stream) != Z_OK) return RUYI_PNG_MEMORY;
    stream.next_in = (z_const Bytef *)data;
    stream.avail_in = (uInt)length;
    stream.next_out = target;
    stream.avail_out = (uInt)capacity;
    int state = inflate(&stream, Z_FINISH);
    *written = stream.total_out;
    inflateEnd(&stream);
    return state == Z_STREAM_END ? RUYI_PNG_OK : RUYI_PNG_BAD;
}

void ruyi_png_free(uint8_t *data) { free(data); }

const char *ruyi_png_version(void) { return png_get_libpng_ver(NULL); }
