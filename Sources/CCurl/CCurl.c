#define CURL_DISABLE_TYPECHECK
#include "include/CCurl.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The functions of the library, found by name.
static struct {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *init;
    CURLcode (*setopt)(CURL *, CURLoption, ...);
    __typeof__(curl_easy_perform) *perform;
    CURLcode (*getinfo)(CURL *, CURLINFO, ...);
    __typeof__(curl_easy_reset) *reset;
    __typeof__(curl_easy_cleanup) *cleanup;
    __typeof__(curl_easy_strerror) *strerror;
    __typeof__(curl_slist_append) *append;
    __typeof__(curl_slist_free_all) *free_all;
} library;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int is_loaded;
static char problem[200] = "libcurl lacks a function that is needed";

static void load(void) {
    static const char *const names[] = {
        "libcurl.so.4", "libcurl-gnutls.so.4", "libcurl.so", "libcurl.4.dylib", "libcurl.dylib",
    };
    void *handle = NULL;
    for (size_t index = 0; index < sizeof names / sizeof *names && !handle; index++) {
        handle = dlopen(names[index], RTLD_NOW | RTLD_LOCAL);
    }
    if (!handle) {
        const char *reason = dlerror();
        // Without descriptors or memory it cannot be opened although it is there.
        snprintf(problem, sizeof problem, "libcurl cannot be opened: %s", reason ? reason : "it is not installed");
        return;
    }
    struct {
        void **place;
        const char *name;
    } symbols[] = {
        {(void **)&library.global_init, "curl_global_init"}, {(void **)&library.init, "curl_easy_init"},
        {(void **)&library.setopt, "curl_easy_setopt"},      {(void **)&library.perform, "curl_easy_perform"},
        {(void **)&library.getinfo, "curl_easy_getinfo"},    {(void **)&library.reset, "curl_easy_reset"},
        {(void **)&library.cleanup, "curl_easy_cleanup"},    {(void **)&library.strerror, "curl_easy_strerror"},
        {(void **)&library.append, "curl_slist_append"},     {(void **)&library.free_all, "curl_slist_free_all"},
    };
    for (size_t index = 0; index < sizeof symbols / sizeof *symbols; index++) {
        *symbols[index].place = dlsym(handle, symbols[index].name);
        if (!*symbols[index].place) return;
    }
    is_loaded = library.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

struct RuyiCurl {
    CURL *handle;
    const RuyiCurlRequest *request;
    int is_stopped;
    char error[CURL_ERROR_SIZE];
};

RuyiCurl *ruyi_curl_open(char *message, size_t room) {
    pthread_once(&once, load);
    RuyiCurl *curl = is_loaded ? calloc(1, sizeof *curl) : NULL;
    if (curl) curl->handle = library.init();
    if (curl && curl->handle) return curl;
    free(curl);
    snprintf(message, room, "%s", is_loaded ? "libcurl cannot be started" : problem);
    return NULL;
}

void ruyi_curl_close(RuyiCurl *curl) {
    if (!curl) return;
    library.cleanup(curl->handle);
    free(curl);
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context) {
    RuyiCurl *curl = context;
    if (curl->request->header(curl->request->context, bytes, size * count) == 0) return size * count;
    curl->is_stopped = 1;
    return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context) {
    RuyiCurl *curl = context;
    if (curl->request->body(curl->request->context, (const uint8_t *)bytes, size * count) == 0) return size * count;
    curl->is_stopped = 1;
    return 0;
}

static int on_progress(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)a, (void)b, (void)c, (void)d;
    RuyiCurl *curl = context;
    if (curl->request->poll(curl->request->context) == 0) return 0;
    curl->is_stopped = 1;
    return 1;
}

static CURLcode prepare(RuyiCurl *curl, const RuyiCurlRequest *request, struct curl_slist *headers) {
    CURL *handle = curl->handle;
    CURLcode code;
#define SET(option, value) \
    if ((code = library.setopt(handle, option, value)) != CURLE_OK) return code
    SET(CURLOPT_URL, request->url);
    if (request->sent) {
        SET(CURLOPT_POSTFIELDS, (const char *)request->sent);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->sent_count);
    }
    if (request->method) SET(CURLOPT_CUSTOMREQUEST, request->method);
    SET(CURLOPT_HTTPHEADER, headers);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, request->connect_seconds);
    SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
    SET(CURLOPT_LOW_SPEED_TIME, request->stall_seconds);
    SET(CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)request->rate);
    SET(CURLOPT_BUFFERSIZE, 256L << 10);
    SET(CURLOPT_ERRORBUFFER, curl->error);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, curl);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, curl);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_XFERINFOFUNCTION, on_progress);
    SET(CURLOPT_XFERINFODATA, curl);
#undef SET
    return CURLE_OK;
}

static int status(CURLcode code, int is_stopped) {
    if (is_stopped) return RUYI_CURL_STOPPED;
    switch (code) {
    case CURLE_OK: return RUYI_CURL_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return RUYI_CURL_HOST;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE: return RUYI_CURL_TRUST;
    case CURLE_OPERATION_TIMEDOUT: return RUYI_CURL_STALLED;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNKNOWN_OPTION:
    case CURLE_NOT_BUILT_IN:
    case CURLE_OUT_OF_MEMORY: return RUYI_CURL_UNUSABLE;
    default: return RUYI_CURL_BROKEN;
    }
}

void ruyi_curl_perform(RuyiCurl *curl, const RuyiCurlRequest *request, RuyiCurlAnswer *answer) {
    memset(answer, 0, sizeof *answer);
    library.reset(curl->handle);
    curl->request = request;
    curl->is_stopped = 0;
    curl->error[0] = 0;
    struct curl_slist *headers = NULL;
    CURLcode code = CURLE_OK;
    for (size_t index = 0; index < request->header_count && code == CURLE_OK; index++) {
        struct curl_slist *longer = library.append(headers, request->headers[index]);
        if (longer) headers = longer;
        else code = CURLE_OUT_OF_MEMORY;
    }
    if (code == CURLE_OK) code = prepare(curl, request, headers);
    if (code == CURLE_OK) code = library.perform(curl->handle);
    answer->status = status(code, curl->is_stopped);
    library.getinfo(curl->handle, CURLINFO_RESPONSE_CODE, &answer->code);
    library.getinfo(curl->handle, CURLINFO_REDIRECT_URL, &answer->redirect);
    answer->message = curl->error[0] ? curl->error : library.strerror(code);
    library.free_all(headers);
    curl->request = NULL;
}
