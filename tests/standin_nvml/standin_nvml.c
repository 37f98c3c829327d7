/* A stand-in for libnvidia-ml.so.1: the C interface of NVML (nvml.h, API 13) in front of a text file.
 *
 * The file named by STANDIN_NVML_SCENARIO is read again whenever it changes, so a test changes the world while a
 * program looks at it. Every call is appended to the file named by STANDIN_NVML_CALLS as "function device\n".
 * README.md beside this file lists the lines of a scenario. -DOLD_DRIVER=2 leaves out what drivers before R510 lack
 * (only _v2 lists, no second memory call), -DOLD_DRIVER=1 what drivers before R450 lack (lists without a version).
 * -DEARLY_535 fills the 32-byte process struct of the first 535 drivers under the _v3 name.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       GPU_IS_LOST = 15, VERSION_MISMATCH = 25 };
enum { MAX_DEVICES = 64, MAX_PROCESSES = 8192, MAX_RULES = 64, TEXT = 128 };
static const uint64_t NOT_AVAILABLE = 0xFFFFFFFFFFFFFFFFull;

typedef struct Device {
    char id[TEXT], name[TEXT], uuid[TEXT], pci[TEXT];
    uint64_t total, used, reserved;
    int major, minor, lost, slots, is_slice;
    unsigned util, temperature, power, power_limit, clock, clock_limit;
} Device;
typedef struct { int device; char kind; uint32_t pid; uint64_t used; } Process;
typedef struct { char verb, function[TEXT], device[TEXT]; int value; } Rule; /* e error, d delay, h hang, g grow */
typedef struct { int device_count, process_count, rule_count; Device devices[MAX_DEVICES];
                 Process processes[MAX_PROCESSES]; Rule rules[MAX_RULES]; } World;

static World world;
static struct timespec seen_mtime;
static off_t seen_size = -1;
static ino_t seen_inode;
static int started;
static int grown[MAX_RULES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static Device *find(World *w, const char *id) {
    for (int i = 0; i < w->device_count; i++)
        if (!strcmp(w->devices[i].id, id)) return &w->devices[i];
    return NULL;
}

static Device *add(World *w, const char *id) {
    Device *d = find(w, id);
    if (d || w->device_count == MAX_DEVICES) return d;
    d = &w->devices[w->device_count++];
    *d = (Device){.total = 24ull << 30, .used = 1ull << 30, .reserved = 512ull << 20, .major = 8, .minor = 9,
                  .util = 10, .temperature = 40, .power = 100000, .power_limit = 300000, .clock = 1500, .clock_limit = 2000,
                  .is_slice = strchr(id, ':') != NULL};
    snprintf(d->id, TEXT, "%s", id);
    snprintf(d->name, TEXT, "NVIDIA Stand-in %.64s", id);
    snprintf(d->uuid, TEXT, "%s-%.64s", d->is_slice ? "MIG" : "GPU", id);
    return d;
}

static uint64_t amount(const char *text) {
    return strcmp(text, "na") ? strtoull(text, NULL, 0) : NOT_AVAILABLE;
}

/* "a\x1b" -> bytes */
static void unescape(char *target, const char *text) {
    int n = 0;
    for (; *text && *text != '\n' && n < TEXT - 1; n++) {
        unsigned byte;
        if (text[0] == '\\' && text[1] == 'x' && sscanf(text + 2, "%2x", &byte) == 1) { target[n] = (char)byte; text += 4; }
        else target[n] = *text++;
    }
    target[n] = 0;
}

static void parse_line(World *w, const char *line) {
    char verb[TEXT] = "", a[TEXT] = "", b[TEXT] = "", c[TEXT] = "", e[TEXT] = "";
    int at = 0;
    if (sscanf(line, "%127s %127s %n", verb, a, &at) < 2 || verb[0] == '#') return;
    sscanf(line + at, "%127s %127s %127s", b, c, e);
    int is_rule = !strcmp(verb, "error") || !strcmp(verb, "delay") || !strcmp(verb, "hang") || !strcmp(verb, "grow");
    if (is_rule) {
        if (w->rule_count == MAX_RULES) return;
        Rule *r = &w->rules[w->rule_count++];
        r->verb = verb[0];
        r->value = atoi(c);
        snprintf(r->function, TEXT, "%s", a);
        snprintf(r->device, TEXT, "%s", b[0] ? b : "*");
        return;
    }
    if (!strcmp(verb, "device")) { add(w, a); return; }
    Device *d = find(w, a);
    if (!d) return;
    if (!strcmp(verb, "name")) unescape(d->name, line + at);
    else if (!strcmp(verb, "uuid")) snprintf(d->uuid, TEXT, "%s", b);
    else if (!strcmp(verb, "pci")) snprintf(d->pci, TEXT, "%s", b);
    else if (!strcmp(verb, "total")) d->total = amount(b);
    else if (!strcmp(verb, "used")) d->used = amount(b);
    else if (!strcmp(verb, "reserved")) d->reserved = amount(b);
    else if (!strcmp(verb, "cc")) { d->major = atoi(b); d->minor = atoi(c); }
    else if (!strcmp(verb, "util")) d->util = (unsigned)atoi(b);
    else if (!strcmp(verb, "temp")) d->temperature = (unsigned)atoi(b);
    else if (!strcmp(verb, "power")) d->power = (unsigned)atoi(b);
    else if (!strcmp(verb, "clock")) d->clock = (unsigned)atoi(b);
    else if (!strcmp(verb, "clock_limit")) d->clock_limit = (unsigned)atoi(b);
    else if (!strcmp(verb, "power_limit")) d->power_limit = (unsigned)atoi(b);
    else if (!strcmp(verb, "lost")) d->lost = 1;
    else if (!strcmp(verb, "mig")) d->slots = atoi(b);
    else if (!strcmp(verb, "process") && w->process_count < MAX_PROCESSES)
        w->processes[w->process_count++] = (Process){(int)(d - w->devices), b[0], (uint32_t)strtoul(c, NULL, 0), amount(e)};
}

static void refresh(void) {
    const char *path = getenv("STANDIN_NVML_SCENARIO");
    struct stat s;
    if (!path || stat(path, &s)) return;
    if (s.st_size == seen_size && s.st_ino == seen_inode && !memcmp(&s.st_mtim, &seen_mtime, sizeof seen_mtime)) return;
    FILE *file = fopen(path, "r");
    if (!file) return;
    seen_size = s.st_size, seen_mtime = s.st_mtim, seen_inode = s.st_ino;
    memset(&world, 0, sizeof world);
    memset(grown, 0, sizeof grown);
    char line[512];
    while (fgets(line, sizeof line, file)) parse_line(&world, line);
    fclose(file);
}

static Rule *rule(char verb, const char *function, const char *device) {
    for (int i = 0; i < world.rule_count; i++) {
        Rule *r = &world.rules[i];
        int fits = !strcmp(r->function, "*") || !strncmp(function, r->function, strlen(r->function));
        if (r->verb == verb && fits && (!strcmp(r->device, "*") || !strcmp(r->device, device))) return r;
    }
    return NULL;
}

static void count_call(const char *function, const char *device) {
    const char *path = getenv("STANDIN_NVML_CALLS");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT, 0644) : -1;
    if (file < 0) return;
    char line[2 * TEXT + 2];
    int length = snprintf(line, sizeof line, "%s %s\n", function, device);
    if (write(file, line, (size_t)length) < 0) perror("stand-in NVML");
    close(file);
}

static void pause_ms(int ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

/* What every call goes through: counting, delays, hangs, errors. Handles are 1 + the position of the device. */
static int enter(const char *function, void *handle, Device **found) {
    pthread_mutex_lock(&lock);
    refresh();
    intptr_t index = (intptr_t)handle - 1;
    Device *d = handle && index >= 0 && index < world.device_count ? &world.devices[index] : NULL;
    char id[TEXT];
    snprintf(id, TEXT, "%s", d ? d->id : "-");
    count_call(function, id);
    Rule *slow = rule('d', function, id);
    int delay = slow ? slow->value : 0;
    while (rule('h', function, id)) {
        pthread_mutex_unlock(&lock);
        pause_ms(10);
        pthread_mutex_lock(&lock);
        refresh();
    }
    if (delay) {
        pthread_mutex_unlock(&lock);
        pause_ms(delay);
        pthread_mutex_lock(&lock);
    }
    d = handle && index >= 0 && index < world.device_count ? &world.devices[index] : NULL;
    if (found) *found = d;
    Rule *error = rule('e', function, id);
    int code = error ? error->value : OK;
    if (!code && !started && strncmp(function, "nvmlInit", 8)) code = UNINITIALIZED;
    if (!code && handle && !d) code = GPU_IS_LOST;
    if (!code && found && !d) code = INVALID_ARGUMENT;
    if (!code && d && d->lost) code = GPU_IS_LOST;
    pthread_mutex_unlock(&lock);
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    int code = enter("nvmlInit", NULL, NULL);
    if (!code) started++;
    return code;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) {
    int code = enter("nvmlShutdown", NULL, NULL);
    if (!code) started--;
    return code;
}
const char *nvmlErrorString(int code) { return code ? "an error of the stand-in" : "Success"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    int code = enter("nvmlSystemGetDriverVersion", NULL, NULL);
    if (!code) snprintf(text, size, "600.00");
    return code;
}

static int nth_card(unsigned n) {
    for (int i = 0; i < world.device_count; i++)
        if (!world.devices[i].is_slice && n-- == 0) return i;
    return -1;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    int code = enter("nvmlDeviceGetCount", NULL, NULL);
    if (code) return code;
    pthread_mutex_lock(&lock);
    for (*count = 0; nth_card(*count) >= 0;) ++*count;
    pthread_mutex_unlock(&lock);
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    pthread_mutex_lock(&lock);
    refresh();
    int position = nth_card(index);
    pthread_mutex_unlock(&lock);
    *handle = NULL;
    if (position < 0) return INVALID_ARGUMENT;
    Device *d;
    void *given = (void *)(intptr_t)(position + 1);
    int code = enter("nvmlDeviceGetHandleByIndex", given, &d);
    if (!code) *handle = given;
    return code;
}

static int give_text(int code, const char *text, char *target, unsigned size) {
    if (!code) snprintf(target, size, "%s", text);
    return code;
}
int nvmlDeviceGetName(void *h, char *text, unsigned size) {
    Device *d; int code = enter("nvmlDeviceGetName", h, &d);
    return give_text(code, code ? "" : d->name, text, size);
}
int nvmlDeviceGetUUID(void *h, char *text, unsigned size) {
    Device *d; int code = enter("nvmlDeviceGetUUID", h, &d);
    return give_text(code, code ? "" : d->uuid, text, size);
}
int nvmlDeviceGetCudaComputeCapability(void *h, int *major, int *minor) {
    Device *d; int code = enter("nvmlDeviceGetCudaComputeCapability", h, &d);
    if (!code) *major = d->major, *minor = d->minor;
    return code;
}

/* nvmlPciInfo_t of API 9.0 and later. */
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } PciInfo;
int nvmlDeviceGetPciInfo_v3(void *h, PciInfo *info) {
    Device *d; int code = enter("nvmlDeviceGetPciInfo", h, &d);
    if (code) return code;
    if (!d->pci[0]) return NOT_SUPPORTED;
    memset(info, 0, sizeof *info);
    if (sscanf(d->pci, "%x:%x:%x", &info->domain, &info->bus, &info->device) != 3) return 999;
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:%02X.0", info->domain, info->bus, info->device);
    return OK;
}

typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
static uint64_t rest(const Device *d, uint64_t taken) { return d->total > taken ? d->total - taken : 0; }

int nvmlDeviceGetMemoryInfo(void *h, Memory *m) {
    Device *d; int code = enter("nvmlDeviceGetMemoryInfo", h, &d);
    if (!code) *m = (Memory){d->total, rest(d, d->used + d->reserved), d->used + d->reserved};
    return code;
}
#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(void *h, MemoryV2 *m) {
    Device *d; int code = enter("nvmlDeviceGetMemoryInfo", h, &d);
    if (!code && m->version != (sizeof(MemoryV2) | 2u << 24)) code = VERSION_MISMATCH;
    if (!code) *m = (MemoryV2){m->version, d->total, d->reserved, rest(d, d->used + d->reserved), d->used};
    return code;
}
#endif

typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(void *h, Utilization *u) {
    Device *d; int code = enter("nvmlDeviceGetUtilizationRates", h, &d);
    if (!code && d->is_slice) code = NOT_SUPPORTED;
    if (!code) *u = (Utilization){d->util, d->util / 2};
    return code;
}
static int give_number(int code, unsigned number, unsigned *target) {
    if (!code) *target = number;
    return code;
}
int nvmlDeviceGetTemperature(void *h, int sensor, unsigned *t) {
    Device *d; int code = enter("nvmlDeviceGetTemperature", h, &d);
    return give_number(code ? code : sensor ? INVALID_ARGUMENT : OK, code ? 0 : d->temperature, t);
}
int nvmlDeviceGetPowerUsage(void *h, unsigned *p) {
    Device *d; int code = enter("nvmlDeviceGetPowerUsage", h, &d);
    return give_number(code, code ? 0 : d->power, p);
}
int nvmlDeviceGetEnforcedPowerLimit(void *h, unsigned *p) {
    Device *d; int code = enter("nvmlDeviceGetEnforcedPowerLimit", h, &d);
    return give_number(code, code ? 0 : d->power_limit, p);
}
int nvmlDeviceGetClockInfo(void *h, int kind, unsigned *mhz) {
    Device *d; int code = enter("nvmlDeviceGetClockInfo", h, &d);
    return give_number(code ? code : kind != 1 ? INVALID_ARGUMENT : OK, code ? 0 : d->clock, mhz);
}
int nvmlDeviceGetMaxClockInfo(void *h, int kind, unsigned *mhz) {
    Device *d; int code = enter("nvmlDeviceGetMaxClockInfo", h, &d);
    return give_number(code ? code : kind != 1 ? INVALID_ARGUMENT : OK, code ? 0 : d->clock_limit, mhz);
}
/* Asked by other monitors only; kvtop is compared with them on the same stand-in. */
int nvmlDeviceGetIndex(void *h, unsigned *index) {
    int position = (int)(intptr_t)h - 1, code = NOT_SUPPORTED;
    pthread_mutex_lock(&lock);
    for (unsigned i = 0; nth_card(i) >= 0; i++)
        if (nth_card(i) == position) *index = i, code = OK;
    pthread_mutex_unlock(&lock);
    return code;
}
int nvmlDeviceGetFanSpeed(void *h, unsigned *speed) { (void)h, (void)speed; return NOT_SUPPORTED; }
int nvmlDeviceGetEncoderUtilization(void *h, unsigned *u, unsigned *us) { (void)h, (void)u, (void)us; return NOT_SUPPORTED; }
int nvmlDeviceGetDecoderUtilization(void *h, unsigned *u, unsigned *us) { (void)h, (void)u, (void)us; return NOT_SUPPORTED; }
int nvmlDeviceGetPcieThroughput(void *h, int counter, unsigned *value) {
    (void)counter;
    Device *d; int code = enter("nvmlDeviceGetPcieThroughput", h, &d);
    pause_ms(20);
    return give_number(code, 0, value);
}

int nvmlDeviceGetMigMode(void *h, unsigned *current, unsigned *pending) {
    Device *d; int code = enter("nvmlDeviceGetMigMode", h, &d);
    if (!code) *current = *pending = d->slots > 0;
    return code;
}
int nvmlDeviceGetMaxMigDeviceCount(void *h, unsigned *count) {
    Device *d; int code = enter("nvmlDeviceGetMaxMigDeviceCount", h, &d);
    return give_number(code, code ? 0 : (unsigned)d->slots, count);
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *h, unsigned index, void **handle) {
    Device *d; int code = enter("nvmlDeviceGetMigDeviceHandleByIndex", h, &d);
    *handle = NULL;
    if (code) return code;
    char id[2 * TEXT];
    pthread_mutex_lock(&lock);
    snprintf(id, sizeof id, "%s:mig%u", d->id, index);
    Device *slice = find(&world, id);
    if (slice) *handle = (void *)(intptr_t)(slice - world.devices + 1);
    pthread_mutex_unlock(&lock);
    return slice ? OK : NOT_FOUND;
}

typedef struct { unsigned pid; unsigned long long used; } ProcessV1;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } ProcessV2;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance;
                 unsigned long long protected_used; } ProcessEarlyV3;

static int list(const char *function, char kind, void *h, unsigned *count, char *out, size_t line_size) {
    Device *d; int code = enter(function, h, &d);
    if (code) return code;
    pthread_mutex_lock(&lock);
    unsigned n = 0, room = *count;
    int here = (int)(d - world.devices);
    for (int i = 0; i < world.process_count; i++) n += world.processes[i].device == here && world.processes[i].kind == kind;
    Rule *grow = rule('g', function, d->id);
    int outgrown = grow && grown[grow - world.rules]++ < grow->value;
    *count = n;
    if (outgrown || n > room || (n && !out)) {
        if (outgrown) *count = (n > room ? n : room) + 3;
        pthread_mutex_unlock(&lock);
        return INSUFFICIENT_SIZE;
    }
    for (int i = 0, at = 0; i < world.process_count; i++) {
        Process *p = &world.processes[i];
        if (p->device != here || p->kind != kind) continue;
        ProcessEarlyV3 line = {p->pid, p->used, d->is_slice ? 1u : 0xFFFFFFFFu, d->is_slice ? 0u : 0xFFFFFFFFu, 0};
        memcpy(out + line_size * (size_t)at++, &line, line_size);
    }
    pthread_mutex_unlock(&lock);
    return OK;
}

#define LIST(name, kind, suffix, type) \
    int name##suffix(void *h, unsigned *count, type *out) { return list(#name, kind, h, count, (char *)out, sizeof(type)); }
#define LISTS(suffix, type) \
    LIST(nvmlDeviceGetComputeRunningProcesses, 'c', suffix, type) \
    LIST(nvmlDeviceGetGraphicsRunningProcesses, 'g', suffix, type)
LISTS(, ProcessV1)
#if !defined OLD_DRIVER || OLD_DRIVER > 1
LISTS(_v2, ProcessV2)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, 'm', _v2, ProcessV2)
#endif
#ifdef EARLY_535
LISTS(_v3, ProcessEarlyV3)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, 'm', _v3, ProcessEarlyV3)
int nvmlDeviceGetConfComputeMemSizeInfo(void *h, void *info) { (void)h, (void)info; return NOT_SUPPORTED; }
#elif !defined OLD_DRIVER
LISTS(_v3, ProcessV2)
LIST(nvmlDeviceGetMPSComputeRunningProcesses, 'm', _v3, ProcessV2)
int nvmlDeviceGetConfComputeMemSizeInfo(void *h, void *info) { (void)h, (void)info; return NOT_SUPPORTED; }
int nvmlDeviceGetRunningProcessDetailList(void *h, void *info) { (void)h, (void)info; return NOT_SUPPORTED; }
#endif
