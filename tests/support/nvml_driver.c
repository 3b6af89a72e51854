/* A libnvidia-ml.so.1 that plays a scenario, for the real Python binding to load.
 *
 * The scenario is the file named by SCRIPTED_NVML, one statement a line (scripted_driver.py writes
 * it). Times are seconds since the library was loaded. What a device has no `value` for is not
 * supported. Signatures and layouts are those of nvml.h.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
};
enum { MOST = 32, STEPS = 64, BUFFER = 100, MIB = 1 << 20 };

typedef unsigned long long u64;
typedef struct { char name[40]; int steps; double time[STEPS], value[STEPS]; } Curve;
typedef struct { unsigned pid, sm; double memory, from, until; int listed; } Script;
typedef struct {
    char uuid[96], bus[32], name[96];
    int major, minor, parent, gi, ci, mig, curves, gpm, scripts;
    double total, period;
    Curve curve[MOST];
    struct { unsigned id; double value; } metric[MOST];
    Script script[MOST];
} Device;
typedef struct { char function[64]; int device, code; double from, until; } Fault;

typedef struct { double taken; Device *of; } Sample;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned pid; u64 used; unsigned gi, ci; } Process;
typedef struct { unsigned pid; u64 stamp; unsigned sm, memory, encoder, decoder; } ProcessShare;
typedef struct { u64 stamp; union { double d; unsigned u; u64 ull; } value; } BufferEntry;
typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { char *short_name, *long_name, *unit; } MetricInfo;
typedef struct { unsigned id; int status; double value; MetricInfo info; } Metric;
typedef struct { unsigned version, count; Sample *first, *second; Metric metrics[]; } MetricsGet;
typedef struct { unsigned version, supported; } Support;

static Device devices[MOST];
static Fault faults[256];
static int device_count, fault_count, cuda_version = 12080;
static char driver_version[80] = "999.01";
static double loaded;
static u64 first_stamp = 777000000ULL; /* of a clock that is nobody else's */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec - loaded;
}

static void read_curve(Device *d, char *line) {
    Curve *c = &d->curve[d->curves++];
    int used;
    sscanf(line, "%39s%n", c->name, &used);
    line += used;
    while (c->steps < STEPS &&
           sscanf(line, "%lf %lf%n", &c->time[c->steps], &c->value[c->steps], &used) == 2) {
        line += used;
        c->steps++;
    }
}

static void obey(char *line) {
    char word[32];
    int at, index;
    if (sscanf(line, "%31s%n", word, &at) != 1) return;
    line += at;
    if (!strcmp(word, "driver")) { sscanf(line, "%79s %d", driver_version, &cuda_version); return; }
    if (!strcmp(word, "fault")) {
        Fault *f = &faults[fault_count++];
        sscanf(line, "%63s %d %d %lf %lf", f->function, &f->device, &f->code, &f->from, &f->until);
        return;
    }
    if (sscanf(line, "%d%n", &index, &at) != 1) return;
    line += at;
    Device *d = &devices[index];
    if (!strcmp(word, "device")) {
        device_count = index + 1;
        sscanf(line, "%95s %31s %d %d %lf %d %d %d %d %95[^\n]", d->uuid, d->bus, &d->major,
               &d->minor, &d->total, &d->parent, &d->gi, &d->ci, &d->mig, d->name);
        d->period = -1;
    } else if (!strcmp(word, "value")) read_curve(d, line);
    else if (!strcmp(word, "buffer")) sscanf(line, "%lf", &d->period);
    else if (!strcmp(word, "gpm")) {
        sscanf(line, "%u %lf", &d->metric[d->gpm].id, &d->metric[d->gpm].value);
        d->gpm++;
    } else if (!strcmp(word, "process")) {
        Script *s = &d->script[d->scripts++];
        sscanf(line, "%u %lf %u %lf %lf %d", &s->pid, &s->memory, &s->sm, &s->from, &s->until,
               &s->listed);
    }
}

__attribute__((constructor)) static void load(void) {
    char line[8192];
    FILE *file = fopen(getenv("SCRIPTED_NVML") ? getenv("SCRIPTED_NVML") : "", "r");
    loaded = 0;
    loaded = now();
    if (!file) return;
    while (fgets(line, sizeof line, file)) obey(line);
    fclose(file);
}

/* The error scripted for a function at this moment, of a device or (-1) of any. */
static int fault(const char *function, Device *d) {
    double t = now();
    for (Fault *f = faults; f < faults + fault_count; f++)
        if ((!strcmp(f->function, function) || !strcmp(f->function, "*")) &&
            (f->device < 0 || (d && d == &devices[f->device])) && t >= f->from && t < f->until) {
            if (f->code < 0) raise(-f->code);
            return f->code;
        }
    return SUCCESS;
}
#define ANSWER(device) \
    do { int code = fault(__func__, device); if (code) return code; } while (0)

/* A step function's value at a time; 0 where the device has no such curve. */
static int at(Device *d, const char *name, double t, double *value) {
    for (Curve *c = d->curve; c < d->curve + d->curves; c++)
        if (!strcmp(c->name, name)) {
            *value = c->value[0];
            for (int i = 0; i < c->steps && c->time[i] <= t; i++) *value = c->value[i];
            return 1;
        }
    return 0;
}
static int number(Device *d, const char *name, unsigned *value, double scale) {
    double v;
    if (!at(d, name, now(), &v)) return NOT_SUPPORTED;
    *value = v * scale + 0.5;
    return SUCCESS;
}
static int large(Device *d, const char *name, u64 *value) {
    double v;
    if (!at(d, name, now(), &v)) return NOT_SUPPORTED;
    *value = v;
    return SUCCESS;
}
static int text(const char *from, char *to, unsigned length) {
    if (strlen(from) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(to, from);
    return SUCCESS;
}
static int running(Script *s) { double t = now(); return t >= s->from && t < s->until; }
static Device *nth(int parent, unsigned index) {
    for (Device *d = devices; d < devices + device_count; d++)
        if (d->parent == parent && index-- == 0) return d;
    return NULL;
}

int nvmlInitWithFlags(unsigned flags) { ANSWER(NULL); return SUCCESS; }
int nvmlShutdown(void) { ANSWER(NULL); return SUCCESS; }
const char *nvmlErrorString(int code) { return "scripted error text"; }
int nvmlSystemGetDriverVersion(char *to, unsigned length) {
    ANSWER(NULL);
    return text(driver_version, to, length);
}
int nvmlSystemGetCudaDriverVersion(int *version) {
    ANSWER(NULL);
    *version = cuda_version;
    return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    ANSWER(NULL);
    for (*count = 0; nth(-1, *count); ++*count) {}
    return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    *device = nth(-1, index);
    ANSWER(*device);
    return *device ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetUUID(Device *d, char *to, unsigned length) {
    ANSWER(d);
    return text(d->uuid, to, length);
}
int nvmlDeviceGetName(Device *d, char *to, unsigned length) {
    ANSWER(d);
    return text(d->name, to, length);
}
int nvmlDeviceGetPciInfo_v3(Device *d, Pci *pci) {
    ANSWER(d);
    memset(pci, 0, sizeof *pci);
    return text(d->bus, pci->bus_id, sizeof pci->bus_id);
}
int nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) {
    ANSWER(d);
    *major = d->major;
    *minor = d->minor;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(Device *d, Memory *memory) {
    double used;
    ANSWER(d);
    if (!at(d, "memory_used", now(), &used)) return NOT_SUPPORTED;
    memory->total = d->total * MIB;
    memory->used = used * MIB;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(Device *d, Utilization *rates) {
    ANSWER(d);
    if (number(d, "memory_utilization", &rates->memory, 1)) rates->memory = 0;
    return number(d, "utilization", &rates->gpu, 1);
}
int nvmlDeviceGetPowerUsage(Device *d, unsigned *mw) { ANSWER(d); return number(d, "power", mw, 1000); }
int nvmlDeviceGetTemperature(Device *d, unsigned sensor, unsigned *degrees) {
    ANSWER(d);
    return number(d, "temperature", degrees, 1);
}
int nvmlDeviceGetClockInfo(Device *d, unsigned kind, unsigned *mhz) {
    ANSWER(d);
    return number(d, kind == 1 ? "sm_clock" : kind == 2 ? "memory_clock" : "other", mhz, 1);
}
int nvmlDeviceGetCurrentClocksEventReasons(Device *d, u64 *mask) {
    ANSWER(d);
    return large(d, "clocks_event_reasons", mask);
}
int nvmlDeviceGetTotalEnergyConsumption(Device *d, u64 *mj) { ANSWER(d); return large(d, "energy", mj); }
int nvmlDeviceGetCurrPcieLinkGeneration(Device *d, unsigned *g) {
    ANSWER(d);
    return number(d, "pcie_generation", g, 1);
}
int nvmlDeviceGetCurrPcieLinkWidth(Device *d, unsigned *lanes) {
    ANSWER(d);
    return number(d, "pcie_width", lanes, 1);
}
int nvmlDeviceGetPcieThroughput(Device *d, unsigned counter, unsigned *kib) {
    ANSWER(d);
    nanosleep(&(struct timespec){0, 20000000}, NULL); /* as the real one */
    return number(d, counter ? "pcie_received" : "pcie_sent", kib, 1024);
}

int nvmlDeviceGetMigMode(Device *d, unsigned *current, unsigned *pending) {
    ANSWER(d);
    *current = *pending = d->mig == 1;
    return d->mig < 0 ? NOT_SUPPORTED : SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *count) { ANSWER(d); *count = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **part) {
    ANSWER(d);
    /* Slot 0 is empty: slots have holes once an instance was destroyed. */
    *part = index ? nth(d - devices, index - 1) : NULL;
    return *part ? SUCCESS : NOT_FOUND;
}
int nvmlDeviceGetGpuInstanceId(Device *d, unsigned *id) {
    ANSWER(d);
    *id = d->gi;
    return d->parent < 0 ? INVALID_ARGUMENT : SUCCESS;
}
int nvmlDeviceGetComputeInstanceId(Device *d, unsigned *id) {
    ANSWER(d);
    *id = d->ci;
    return d->parent < 0 ? INVALID_ARGUMENT : SUCCESS;
}

int nvmlDeviceGetSamples(Device *d, unsigned type, u64 last, unsigned *kind, unsigned *count,
                         BufferEntry *samples) {
    ANSWER(d);
    if (d->period < 0 || type != 1) return NOT_SUPPORTED;
    if (d->period == 0) return NOT_FOUND;
    if (!samples) { *count = BUFFER; return SUCCESS; }
    unsigned taken = 0;
    long newest = now() / d->period;
    for (long n = newest < BUFFER ? 0 : newest - BUFFER + 1; n <= newest && taken < *count; n++) {
        double value = 0;
        u64 stamp = first_stamp + n * d->period * 1e6;
        if (stamp <= last) continue;
        at(d, "utilization", n * d->period, &value);
        samples[taken].stamp = stamp;
        samples[taken++].value.u = value;
    }
    *kind = 1; /* unsigned int */
    *count = taken;
    return taken ? SUCCESS : NOT_FOUND;
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *count, Process *processes) {
    unsigned found = 0;
    ANSWER(d);
    for (Script *s = d->script; s < d->script + d->scripts; s++) {
        if (!s->listed || !running(s)) continue;
        if (processes && found < *count)
            processes[found] =
                (Process){s->pid, s->memory < 0 ? ~0ULL : (u64)(s->memory * MIB), ~0u, ~0u};
        found++;
    }
    int fits = !found || (processes && found <= *count);
    *count = found;
    return fits ? SUCCESS : INSUFFICIENT_SIZE;
}
int nvmlDeviceGetProcessUtilization(Device *d, ProcessShare *shares, unsigned *count, u64 last) {
    unsigned found = 0;
    u64 stamp = first_stamp + now() * 1e6;
    ANSWER(d);
    if (!shares) { *count = MOST; return INSUFFICIENT_SIZE; }
    for (Script *s = d->script; s < d->script + d->scripts; s++)
        if (s->sm && running(s)) shares[found++] = (ProcessShare){s->pid, stamp, s->sm};
    *count = found;
    return found ? SUCCESS : NOT_FOUND;
}

int nvmlGpmQueryDeviceSupport(Device *d, Support *support) {
    ANSWER(d);
    support->supported = support->version == 1 && d->gpm > 0;
    return SUCCESS;
}
int nvmlGpmSampleAlloc(Sample **sample) {
    ANSWER(NULL);
    *sample = calloc(1, sizeof **sample);
    return SUCCESS;
}
int nvmlGpmSampleFree(Sample *sample) { free(sample); return SUCCESS; }
int nvmlGpmSampleGet(Device *d, Sample *sample) {
    ANSWER(d);
    *sample = (Sample){now(), d};
    return SUCCESS;
}
int nvmlGpmMigSampleGet(Device *d, unsigned gi, Sample *sample) {
    ANSWER(d);
    for (unsigned i = 0; nth(d - devices, i); i++)
        if (nth(d - devices, i)->gi == (int)gi) {
            *sample = (Sample){now(), nth(d - devices, i)};
            return SUCCESS;
        }
    return INVALID_ARGUMENT;
}
/* As strict as the real one: both samples of one device, apart, in order; every entry a metric. */
int nvmlGpmMetricsGet(MetricsGet *ask) {
    ANSWER(ask->first->of);
    if (ask->version != 1 || !ask->first->of || ask->first->of != ask->second->of ||
        ask->second->taken - ask->first->taken < 0.1)
        return INVALID_ARGUMENT;
    for (unsigned i = 0; i < ask->count; i++) {
        Device *d = ask->first->of;
        if (!ask->metrics[i].id) return INVALID_ARGUMENT;
        ask->metrics[i].status = NOT_SUPPORTED;
        for (int m = 0; m < d->gpm; m++)
            if (d->metric[m].id == ask->metrics[i].id) {
                ask->metrics[i].status = SUCCESS;
                ask->metrics[i].value = d->metric[m].value;
            }
    }
    return SUCCESS;
}
