// Requests over HTTP through libcurl, which is opened when it is first needed: a program that never speaks to another
// machine neither loads nor needs it.
#ifndef CCURL_H
#define CCURL_H

#include <stddef.h>
#include <stdint.h>

enum {
    RUYI_CURL_OK = 0,
    // A callback asked for the end.
    RUYI_CURL_STOPPED = 1,
    // The name of the host is not known.
    RUYI_CURL_HOST = 2,
    // The host's certificate is not to be trusted.
    RUYI_CURL_TRUST = 3,
    // Nothing came for the time allowed.
    RUYI_CURL_STALLED = 4,
    // Anything else on the way, which may go better the next time.
    RUYI_CURL_BROKEN = 5,
    // The request cannot be made: its address, or this libcurl.
    RUYI_CURL_UNUSABLE = 6
};

// A connection that is kept from one request to the next; one thread at a time uses it.
typedef struct RuyiCurl RuyiCurl;

typedef struct {
    const char *url;
    // NULL is GET.
    const char *method;
    // What is sent with it; NULL for nothing.
    const uint8_t *sent;
    size_t sent_count;
    const char *const *headers;
    size_t header_count;
    long connect_seconds;
    // The longest time in which not a single byte comes.
    long stall_seconds;
    // Bytes a second at most; 0 is no limit.
    int64_t rate;
    void *context;
    // Each returns 0 to go on. `header` gets lines with their ends, `poll` is called at least once a second.
    int (*header)(void *context, const char *line, size_t length);
    int (*body)(void *context, const uint8_t *bytes, size_t length);
    int (*poll)(void *context);
} RuyiCurlRequest;

typedef struct {
    int status;
    // The status code of HTTP; 0 when none came.
    long code;
    // Where the answer leads on to, absolute; NULL if nowhere. Both texts are valid until the next request.
    const char *redirect;
    const char *message;
} RuyiCurlAnswer;

// NULL with a line of text in `message` when there is no libcurl.
RuyiCurl *ruyi_curl_open(char *message, size_t room);

// One request over http or https; redirects are not followed, certificates are checked.
void ruyi_curl_perform(RuyiCurl *curl, const RuyiCurlRequest *request, RuyiCurlAnswer *answer);

void ruyi_curl_close(RuyiCurl *curl);

#endif
