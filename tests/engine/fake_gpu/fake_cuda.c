/* A CUDA driver for tests, as libcuda.so.1: device memory is the host's, time is counted, mistakes are written down.
 *
 * Work on a stream waits until somebody synchronises, as on a GPU: what is read too early has not been computed, and
 * what is freed too early is found out. cuda.h is included, so the compiler compares every signature with the real one.
 */
#include <cuda.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 512
#define TEXT (1 << 20)

enum { DEVICE = 1, HOST, MAPPED };
enum { COPY = 1, LAUNCH, RECORD };

typedef struct { char *at; size_t size; int kind, live; } Memory;
typedef struct { int kind; char *to, *from; size_t size; CUevent event; void (*work)(void *); void *argument; double us; } Op;
typedef struct { Op ops[MOST]; int count; } Ops;
struct CUstream_st { int live; Ops waiting; int capturing, broken; Ops *recorded; };
struct CUevent_st { int live, done, pending; double at_us; };
struct CUgraph_st { int live; Ops ops; };
struct CUgraphExec_st { int live; Ops ops; };

static Memory memories[4096];
static int memory_count;
static CUstream streams[MOST];
static int stream_count;
static int live[5]; /* streams, events, graphs, executables, retained contexts */
enum { STREAMS, EVENTS, GRAPHS, EXECUTABLES, CONTEXTS };
static char log_text[TEXT], problem_text[TEXT];
static size_t log_size, problem_size;
static long calls, fail_call;
static char fail_name[64];
static long fail_nth, fail_times;
static int integrated;
static double now_us, copy_us = 10;
static __thread int stack_depth;
static int the_context;

static void problem(const char *format, ...) {
    va_list list;
    va_start(list, format);
    if (problem_size < TEXT - 256) {
        problem_size += vsnprintf(problem_text + problem_size, 255, format, list);
        problem_text[problem_size++] = '\n';
        problem_text[problem_size] = 0;
    }
    va_end(list);
}

static CUresult enter(const char *name, int can_fail) {
    size_t size = strlen(name);
    if (log_size + size + 2 < TEXT) {
        memcpy(log_text + log_size, name, size);
        log_size += size;
        log_text[log_size++] = '\n';
        log_text[log_size] = 0;
    }
    if (fail_nth && !strcmp(fail_name, name) && (fail_nth == 1 || --fail_nth == 0)) {
        fail_nth = --fail_times != 0; /* the next one too */
        return strcmp(name, "cuMemAlloc") ? CUDA_ERROR_UNKNOWN : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (can_fail && ++calls == fail_call) return CUDA_ERROR_UNKNOWN;
    return CUDA_SUCCESS;
}

static CUresult in_context(const char *name, int can_fail) {
    CUresult wrong = enter(name, can_fail);
    if (wrong) return wrong;
    if (!stack_depth) { problem("%s without a context", name); return CUDA_ERROR_INVALID_CONTEXT; }
    if (!live[CONTEXTS]) { problem("%s in a context that was released", name); return CUDA_ERROR_CONTEXT_IS_DESTROYED; }
    return CUDA_SUCCESS;
}

/* What a stream that is being captured does not allow, and breaks the capture. */
static CUresult not_in_capture(const char *name) {
    for (int i = 0; i < stream_count; i++)
        if (streams[i]->live && streams[i]->capturing) {
            problem("%s during a capture", name);
            streams[i]->broken = 1;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
    return CUDA_SUCCESS;
}

#define IN(name, can_fail) do { CUresult wrong = in_context(#name, can_fail); if (wrong) return wrong; } while (0)
#define NOT_IN_CAPTURE(name) do { CUresult wrong = not_in_capture(#name); if (wrong) return wrong; } while (0)

static Memory *memory_of(const void *at, size_t size) {
    for (int i = memory_count - 1; i >= 0; i--)
        if (memories[i].at <= (char *)at && (char *)at + size <= memories[i].at + memories[i].size) return &memories[i];
    return NULL;
}

static int is_live(const char *who, const void *at, size_t size, int device_only) {
    Memory *memory = memory_of(at, size);
    if (!memory) { if (device_only) problem("%s at memory that is not the GPU's", who); return !device_only; }
    if (!memory->live) { problem("%s at memory that was freed", who); return 0; }
    if (device_only && memory->kind == HOST) { problem("%s at host memory that is not mapped", who); return 0; }
    return 1;
}

static void perform(Op *op) {
    switch (op->kind) {
        case COPY:
            if (is_live("a copy", op->to, op->size, 0) && is_live("a copy", op->from, op->size, 0))
                memcpy(op->to, op->from, op->size);
            now_us += op->us;
            break;
        case LAUNCH: op->work(op->argument); now_us += op->us; break;
        case RECORD:
            if (!op->event->live) problem("an event was recorded after it was destroyed");
            op->event->done = 1;
            op->event->pending--;
            op->event->at_us = now_us;
            break;
    }
}

static void drain(CUstream stream) {
    for (int i = 0; i < stream->waiting.count; i++) perform(&stream->waiting.ops[i]);
    stream->waiting.count = 0;
}

static void drain_all(void) {
    for (int i = 0; i < stream_count; i++) if (streams[i]->live) drain(streams[i]);
}

static CUresult put(CUstream stream, Op op) {
    if (!stream || !stream->live) { problem("work on a stream that is not there"); return CUDA_ERROR_INVALID_HANDLE; }
    Ops *ops = stream->capturing ? stream->recorded : &stream->waiting;
    if (ops->count == MOST) { problem("work is put on a stream and never waited for"); return CUDA_ERROR_UNKNOWN; }
    if (op.kind == RECORD && !stream->capturing) { op.event->done = 0; op.event->pending++; }
    ops->ops[ops->count++] = op;
    return CUDA_SUCCESS;
}

static int uses(Ops *ops, Memory *memory) {
    for (int i = 0; i < ops->count; i++) {
        char *ends[2] = {ops->ops[i].to, ops->ops[i].from};
        for (int end = 0; end < 2; end++)
            if (ends[end] && ends[end] >= memory->at && ends[end] < memory->at + memory->size) return 1;
    }
    return 0;
}

static CUresult allocate(char **at, size_t size, int kind) {
    if (!size || memory_count == 4096) return CUDA_ERROR_INVALID_VALUE;
    *at = NULL;
    if (posix_memalign((void **)at, 4096, size)) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(*at, 0xA5, size); /* what nobody wrote is no zero */
    memories[memory_count++] = (Memory){*at, size, kind, 1};
    return CUDA_SUCCESS;
}

static CUresult release(const char *name, void *at, int device) {
    for (int i = 0; i < memory_count; i++) {
        Memory *memory = &memories[i];
        if (memory->at != at || (memory->kind == DEVICE) != device) continue;
        if (!memory->live) { problem("%s of memory that was freed before", name); return CUDA_ERROR_INVALID_VALUE; }
        for (int s = 0; s < stream_count; s++)
            if (streams[s]->live && uses(&streams[s]->waiting, memory)) problem("%s while work waits for it", name);
        memset(memory->at, 0xDD, memory->size); /* kept, so that a late use is seen and does no harm */
        memory->live = 0;
        return CUDA_SUCCESS;
    }
    problem("%s of memory that was never allocated", name);
    return CUDA_ERROR_INVALID_VALUE;
}

/* The driver. */

CUresult CUDAAPI cuInit(unsigned flags) { (void)flags; return enter("cuInit", 1); }
CUresult CUDAAPI cuDriverGetVersion(int *version) { *version = 13000; return enter("cuDriverGetVersion", 0); }
CUresult CUDAAPI cuDeviceGetCount(int *count) { *count = 1; return enter("cuDeviceGetCount", 1); }
CUresult CUDAAPI cuDeviceGet(CUdevice *device, int number) {
    *device = number;
    CUresult wrong = enter("cuDeviceGet", 1);
    return wrong ? wrong : number ? CUDA_ERROR_INVALID_DEVICE : CUDA_SUCCESS;
}
CUresult CUDAAPI cuDeviceGetName(char *name, int size, CUdevice device) {
    (void)device;
    snprintf(name, size, "Fake GPU");
    return enter("cuDeviceGetName", 1);
}
CUresult CUDAAPI cuDeviceComputeCapability(int *major, int *minor, CUdevice device) {
    (void)device;
    *major = 8, *minor = 7;
    return enter("cuDeviceComputeCapability", 1);
}
CUresult CUDAAPI cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    (void)device;
    *value = attribute == CU_DEVICE_ATTRIBUTE_INTEGRATED ? integrated : 1;
    return enter("cuDeviceGetAttribute", 1);
}
CUresult CUDAAPI cuGetErrorString(CUresult error, const char **text) {
    *text = error == CUDA_ERROR_UNKNOWN ? "it was told to fail"
        : error == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "the fake driver says no";
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    (void)device;
    CUresult wrong = enter("cuDevicePrimaryCtxRetain", 1);
    if (wrong) return wrong;
    *context = (CUcontext)&the_context;
    live[CONTEXTS]++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice device) {
    (void)device;
    CUresult wrong = enter("cuDevicePrimaryCtxRelease", 0);
    if (wrong) return wrong;
    if (!live[CONTEXTS]) { problem("a context was released twice"); return CUDA_ERROR_INVALID_CONTEXT; }
    if (!--live[CONTEXTS]) {
        int left = live[STREAMS] + live[EVENTS] + live[GRAPHS] + live[EXECUTABLES];
        for (int i = 0; i < memory_count; i++) left += memories[i].live;
        if (left) problem("the context was released while %d things of it were left", left);
    }
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxPushCurrent(CUcontext context) {
    CUresult wrong = enter("cuCtxPushCurrent", 0);
    if (wrong) return wrong;
    if (context != (CUcontext)&the_context || !live[CONTEXTS]) return CUDA_ERROR_INVALID_CONTEXT;
    stack_depth++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxPopCurrent(CUcontext *context) {
    CUresult wrong = enter("cuCtxPopCurrent", 0);
    if (wrong) return wrong;
    if (!stack_depth) { problem("a context was popped where none was"); return CUDA_ERROR_INVALID_CONTEXT; }
    *context = (CUcontext)&the_context;
    stack_depth--;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuCtxGetCurrent(CUcontext *context) {
    *context = stack_depth ? (CUcontext)&the_context : NULL;
    return enter("cuCtxGetCurrent", 0);
}
CUresult CUDAAPI cuCtxGetDevice(CUdevice *device) { *device = 0; IN(cuCtxGetDevice, 1); return CUDA_SUCCESS; }
CUresult CUDAAPI cuCtxSynchronize(void) {
    IN(cuCtxSynchronize, 1);
    NOT_IN_CAPTURE(cuCtxSynchronize);
    drain_all();
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr *at, size_t size) {
    IN(cuMemAlloc, 1);
    NOT_IN_CAPTURE(cuMemAlloc);
    return allocate((char **)at, size, DEVICE);
}
CUresult CUDAAPI cuMemFree(CUdeviceptr at) {
    IN(cuMemFree, 0);
    NOT_IN_CAPTURE(cuMemFree);
    return release("cuMemFree", (void *)at, 1);
}
CUresult CUDAAPI cuMemHostAlloc(void **at, size_t size, unsigned flags) {
    IN(cuMemHostAlloc, 1);
    NOT_IN_CAPTURE(cuMemHostAlloc);
    return allocate((char **)at, size, flags & CU_MEMHOSTALLOC_DEVICEMAP ? MAPPED : HOST);
}
CUresult CUDAAPI cuMemFreeHost(void *at) {
    IN(cuMemFreeHost, 0);
    NOT_IN_CAPTURE(cuMemFreeHost);
    return release("cuMemFreeHost", at, 0);
}
CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr *to, void *at, unsigned flags) {
    (void)flags;
    IN(cuMemHostGetDevicePointer, 1);
    Memory *memory = memory_of(at, 1);
    if (!memory || memory->kind != MAPPED) { problem("host memory that is not mapped has no address"); return CUDA_ERROR_INVALID_VALUE; }
    *to = (CUdeviceptr)at;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t size) {
    IN(cuMemcpyHtoD, 1);
    NOT_IN_CAPTURE(cuMemcpyHtoD);
    if (is_live("a copy", (void *)to, size, 1)) memcpy((void *)to, from, size);
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuMemcpyDtoH(void *to, CUdeviceptr from, size_t size) {
    IN(cuMemcpyDtoH, 1);
    NOT_IN_CAPTURE(cuMemcpyDtoH);
    if (is_live("a copy", (void *)from, size, 1)) memcpy(to, (void *)from, size);
    return CUDA_SUCCESS;
}
static CUresult copy_async(CUdeviceptr device, const void *host, char *to, const char *from, size_t size, CUstream stream) {
    if (!is_live("a copy", (void *)device, size, 1)) return CUDA_ERROR_INVALID_VALUE;
    if (!memory_of(host, size)) problem("an asynchronous copy of memory that is not pinned");
    return put(stream, (Op){.kind = COPY, .to = to, .from = (char *)from, .size = size, .us = copy_us});
}
CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    IN(cuMemcpyHtoDAsync, 1);
    return copy_async(to, from, (char *)to, from, size, stream);
}
CUresult CUDAAPI cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    IN(cuMemcpyDtoHAsync, 1);
    return copy_async(from, to, to, (char *)from, size, stream);
}
CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    IN(cuMemcpyDtoDAsync, 1);
    if (!is_live("a copy", (void *)from, size, 1)) return CUDA_ERROR_INVALID_VALUE;
    return copy_async(to, (void *)from, (char *)to, (char *)from, size, stream);
}

CUresult CUDAAPI cuStreamCreate(CUstream *stream, unsigned flags) {
    IN(cuStreamCreate, 1);
    NOT_IN_CAPTURE(cuStreamCreate);
    if (flags != CU_STREAM_NON_BLOCKING) problem("a stream that waits for the default stream");
    *stream = calloc(1, sizeof **stream);
    (*stream)->live = 1;
    streams[stream_count++ % MOST] = *stream;
    live[STREAMS]++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamDestroy(CUstream stream) {
    IN(cuStreamDestroy, 0);
    if (!stream->live) { problem("a stream was destroyed twice"); return CUDA_ERROR_INVALID_HANDLE; }
    if (stream->waiting.count) problem("a stream was destroyed while work waits on it");
    if (stream->capturing) problem("a stream was destroyed during a capture");
    stream->live = 0;
    live[STREAMS]--;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamSynchronize(CUstream stream) {
    IN(cuStreamSynchronize, 1);
    NOT_IN_CAPTURE(cuStreamSynchronize);
    drain(stream);
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamQuery(CUstream stream) {
    IN(cuStreamQuery, 1);
    return stream->waiting.count ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}

CUresult CUDAAPI cuEventCreate(CUevent *event, unsigned flags) {
    (void)flags;
    IN(cuEventCreate, 1);
    *event = calloc(1, sizeof **event);
    (*event)->live = 1;
    live[EVENTS]++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuEventDestroy(CUevent event) {
    IN(cuEventDestroy, 0);
    if (!event->live) { problem("an event was destroyed twice"); return CUDA_ERROR_INVALID_HANDLE; }
    if (event->pending) problem("an event was destroyed while work waits for it");
    event->live = 0;
    live[EVENTS]--;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuEventRecord(CUevent event, CUstream stream) {
    IN(cuEventRecord, 1);
    return put(stream, (Op){.kind = RECORD, .event = event});
}
CUresult CUDAAPI cuEventSynchronize(CUevent event) {
    IN(cuEventSynchronize, 1);
    NOT_IN_CAPTURE(cuEventSynchronize);
    if (event->pending) drain_all();
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuEventQuery(CUevent event) {
    IN(cuEventQuery, 1);
    return event->pending ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS;
}
CUresult CUDAAPI cuEventElapsedTime(float *ms, CUevent start, CUevent end) {
    IN(cuEventElapsedTime, 1);
    if (!start->live || !end->live) { problem("a destroyed event was asked for its time"); return CUDA_ERROR_INVALID_HANDLE; }
    if (start->pending || end->pending) return CUDA_ERROR_NOT_READY;
    if (!start->done || !end->done) return CUDA_ERROR_INVALID_HANDLE;
    *ms = (float)((end->at_us - start->at_us) / 1000);
    return CUDA_SUCCESS;
}

CUresult CUDAAPI cuStreamBeginCapture(CUstream stream, CUstreamCaptureMode mode) {
    IN(cuStreamBeginCapture, 1);
    if (mode != CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) problem("a capture that disturbs other threads");
    if (stream->waiting.count) problem("a capture that begins while work waits");
    stream->recorded = calloc(1, sizeof *stream->recorded);
    stream->capturing = 1;
    stream->broken = 0;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuStreamEndCapture(CUstream stream, CUgraph *graph) {
    CUresult wrong = in_context("cuStreamEndCapture", 1);
    *graph = NULL;
    if (!stream->capturing) { problem("a capture was ended that had not begun"); return CUDA_ERROR_ILLEGAL_STATE; }
    stream->capturing = 0; /* also where it fails */
    if (wrong) { free(stream->recorded); return wrong; }
    if (stream->broken) { free(stream->recorded); return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED; }
    *graph = calloc(1, sizeof **graph);
    (*graph)->live = 1;
    (*graph)->ops = *stream->recorded;
    free(stream->recorded);
    live[GRAPHS]++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphInstantiateWithFlags(CUgraphExec *made, CUgraph graph, unsigned long long flags) {
    (void)flags;
    IN(cuGraphInstantiateWithFlags, 1);
    if (!graph->live) { problem("a destroyed graph was instantiated"); return CUDA_ERROR_INVALID_HANDLE; }
    *made = calloc(1, sizeof **made);
    (*made)->live = 1;
    (*made)->ops = graph->ops;
    live[EXECUTABLES]++;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphLaunch(CUgraphExec made, CUstream stream) {
    IN(cuGraphLaunch, 1);
    if (!made->live) { problem("a destroyed graph was launched"); return CUDA_ERROR_INVALID_HANDLE; }
    for (int i = 0; i < made->ops.count; i++) {
        CUresult wrong = put(stream, made->ops.ops[i]);
        if (wrong) return wrong;
    }
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec made) {
    IN(cuGraphExecDestroy, 0);
    if (!made->live) { problem("a graph was destroyed twice"); return CUDA_ERROR_INVALID_HANDLE; }
    made->live = 0;
    live[EXECUTABLES]--;
    return CUDA_SUCCESS;
}
CUresult CUDAAPI cuGraphDestroy(CUgraph graph) {
    IN(cuGraphDestroy, 0);
    if (!graph->live) { problem("a graph was destroyed twice"); return CUDA_ERROR_INVALID_HANDLE; }
    graph->live = 0;
    live[GRAPHS]--;
    return CUDA_SUCCESS;
}

/* For the tests. */

int fake_missing(const char *name) {
    problem("%s, which the fake driver does not know", name);
    return CUDA_ERROR_NOT_SUPPORTED;
}
void fake_reset(void) {
    log_size = problem_size = 0;
    log_text[0] = problem_text[0] = 0;
    calls = fail_call = fail_nth = 0;
    integrated = 0;
    copy_us = 10;
}
void fake_fail_call(long number) { calls = 0; fail_call = number; }
void fake_fail_name(const char *name, long nth, long times) {
    snprintf(fail_name, sizeof fail_name, "%s", name);
    fail_nth = nth;
    fail_times = times;
}
long fake_calls(void) { return calls; }
void fake_set_integrated(int value, double us) { integrated = value; copy_us = us; }
const char *fake_log(void) { return log_text; }
const char *fake_problems(void) { return problem_text; }
int fake_live(void) {
    int left = live[STREAMS] + live[EVENTS] + live[GRAPHS] + live[EXECUTABLES] + live[CONTEXTS];
    for (int i = 0; i < memory_count; i++) left += memories[i].live;
    return left;
}
void fake_problem(const char *said) { problem("%s", said); }
void fake_drop_stack(void) { stack_depth = 0; }
int fake_stack(void) { return stack_depth; }
int fake_is_capturing(CUstream stream) { return stream->capturing; }
int fake_is_mapped(void *at) { Memory *memory = memory_of(at, 1); return memory && memory->kind == MAPPED; }
int fake_may_use(void *at, size_t size) { return is_live("TensorRT works", at, size, 1); }
int fake_launch(CUstream stream, void (*work)(void *), void *argument, double us) {
    return put(stream, (Op){.kind = LAUNCH, .work = work, .argument = argument, .us = us});
}
