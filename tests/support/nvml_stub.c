/* A libnvidia-ml.so.1 with one GPU, for the real Python binding to load.
 *
 * It has a GPU with GPM, power that times out at every second reading, no temperature sensor, one
 * process of unknown memory, and no nvmlDeviceGetClockInfo at all. STUB_INIT is what nvmlInit
 * returns; signatures and layouts are those of nvml.h.
 */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, TIMEOUT = 10 };

typedef struct { int taken; } Sample;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } Process;
typedef struct { char *short_name, *long_name, *unit; } MetricInfo;
typedef struct { unsigned id; int status; double value; MetricInfo info; } Metric;
typedef struct { unsigned version, count; Sample *first, *second; Metric metrics[]; } MetricsGet;
typedef struct { unsigned version, supported; } Support;

static int taken = 0;
static int power_readings = 0;

int nvmlInitWithFlags(unsigned flags) {
    const char *code = getenv("STUB_INIT");
    return code ? atoi(code) : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    strncpy(text, "999.01", length);
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12080; return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = &taken;
    return SUCCESS;
}
int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    strncpy(text, "GPU-stub", length);
    return SUCCESS;
}
int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    strncpy(text, "Stub", length);
    return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = 9;
    *minor = 0;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) {
    memory->total = 1000ULL << 20;
    memory->used = 250ULL << 20;
    memory->free = 750ULL << 20;
    return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(void *device, Utilization *rates) {
    rates->gpu = 87;
    rates->memory = 21;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
    *milliwatts = 300000;
    return power_readings++ % 2 ? TIMEOUT : SUCCESS;
}
int nvmlDeviceGetTemperature(void *device, unsigned sensor, unsigned *degrees) {
    return NOT_SUPPORTED;
}
int nvmlDeviceGetCurrentClocksEventReasons(void *device, unsigned long long *reasons) {
    *reasons = 0x40;
    return SUCCESS;
}
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    *millijoules = 5000000000ULL;
    return SUCCESS;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, Process *processes) {
    if (*count < 1 || !processes) {
        *count = 1;
        return INSUFFICIENT_SIZE;
    }
    memset(processes, 0, sizeof *processes);
    processes->pid = 4242;
    processes->used = ~0ULL;
    *count = 1;
    return SUCCESS;
}
int nvmlGpmQueryDeviceSupport(void *device, Support *support) {
    support->supported = support->version == 1;
    return SUCCESS;
}
int nvmlGpmSampleAlloc(Sample **sample) {
    *sample = calloc(1, sizeof **sample);
    return SUCCESS;
}
int nvmlGpmSampleFree(Sample *sample) { free(sample); return SUCCESS; }
int nvmlGpmSampleGet(void *device, Sample *sample) { sample->taken = ++taken; return SUCCESS; }
int nvmlGpmMetricsGet(MetricsGet *ask) {
    if (ask->version != 1 || ask->second->taken != ask->first->taken + 1) return INVALID_ARGUMENT;
    for (unsigned i = 0; i < ask->count; i++) {
        if (!ask->metrics[i].id) return INVALID_ARGUMENT;
        ask->metrics[i].status = SUCCESS;
        ask->metrics[i].value = 10.0 + ask->metrics[i].id;
    }
    return SUCCESS;
}
