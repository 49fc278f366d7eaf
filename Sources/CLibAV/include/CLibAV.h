// Writing and reading video files through libav. Every function returns a status and, on failure, leaves a line of
// text in `message`. Nothing is printed: libav's own messages are kept and appended to that line.
#ifndef CLIBAV_H
#define CLIBAV_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUYI_AV_OK = 0,
    RUYI_AV_END = 1,          // no more frames
    RUYI_AV_BAD = 2,          // the file is not a video that can be read
    RUYI_AV_IO = 3,           // reading or writing failed
    RUYI_AV_CREATE = 4,       // the file cannot be created
    RUYI_AV_OPEN = 5,         // the file cannot be opened
    RUYI_AV_UNAVAILABLE = 6,  // this libav lacks the encoder, container or pixel format
    RUYI_AV_MEMORY = 7,
    RUYI_AV_INTERNAL = 8,  // calls in the wrong order, or a setting that the encoder refuses
};

typedef struct ruyi_av_writer ruyi_av_writer;
typedef struct ruyi_av_reader ruyi_av_reader;

typedef struct {
    const char *path;
    const char *container;     // libav's name: mp4, mov, matroska, webm, gif, webp
    const char *encoder;       // libav's name: libx264
    const char *pixel_format;  // libav's name: yuv420p
    const char *settings;      // the encoder's own options, key=value:key=value
    const char *filter;        // a libavfilter graph that the RGB frames go through as a whole, or NULL
    int width, height;
    int rate_num, rate_den;  // frames a second
    int threads;
    int lossless;  // for libraries that are told in their own options
    int loop;      // how often a GIF or WebP plays, 0 for ever
    int tags;
    const char *const *keys;
    const char *const *values;
} ruyi_av_plan;

// Whether the container can be written with the encoder; the message lists what could be used instead.
int ruyi_av_check(const char *container, const char *encoder, const char *pixel_format, char *message, size_t room);

// Whether the encoder takes the plan's size, pixel format and settings; no file is made.
int ruyi_av_try(const ruyi_av_plan *plan, char *message, size_t room);

// Creates the file. After any failure of any of these, only ruyi_av_writer_free is of use; it is always allowed.
int ruyi_av_writer_open(ruyi_av_writer **writer, const ruyi_av_plan *plan, char *message, size_t room);
int ruyi_av_writer_append(ruyi_av_writer *writer, const uint8_t *rgb, char *message, size_t room);
int ruyi_av_writer_finish(ruyi_av_writer *writer, char *message, size_t room);
void ruyi_av_writer_free(ruyi_av_writer *writer);

typedef struct {
    int width, height;
    int rate_num, rate_den;
    int64_t duration_us;
    char codec[32], pixel_format[32], container[64];
    char primaries[32], transfer[32], matrix[32], range[32];
} ruyi_av_facts;

int ruyi_av_reader_open(
    ruyi_av_reader **reader, const char *path, int64_t max_pixels, ruyi_av_facts *facts, char *message, size_t room);
// Fills `rgb`, width * height * 3 bytes; RUYI_AV_END after the last frame.
int ruyi_av_reader_next(ruyi_av_reader *reader, uint8_t *rgb, char *message, size_t room);
// The tag at an index, or 0 if there are not so many.
int ruyi_av_reader_tag(ruyi_av_reader *reader, int index, const char **key, const char **value);
void ruyi_av_reader_free(ruyi_av_reader *reader);

// Counts the video packets of a file without decoding them, and their total duration in units of 1/rate.
int ruyi_av_count(
    const char *path, int rate_num, int rate_den, int64_t *packets, int64_t *duration, char *message, size_t room);

// Decodes a BMP, or the first frame of a GIF, whose header states this size, into `rgba`, width * height * 4 bytes.
int ruyi_av_still(
    const uint8_t *data, size_t length, int is_gif, int width, int height, uint8_t *rgba, char *message, size_t room);

// The versions of the libraries that are loaded, as one line.
void ruyi_av_versions(char *text, size_t room);

#endif
