// Operations that treat every row for itself.

struct GatherTokensArguments { Tensor ids, tokens, slots, positions; };
extern "C" __global__ void gatherTokens(GatherTokensArguments p)
{
    enter();
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.ids.rows)
        *ints(p.ids, i) = ints(p.tokens, *ints(p.slots, i))[*ints(p.positions, i)];
}

struct EmbedArguments { Tensor output, ids; Weight table; int kind; };
extern "C" __global__ void embed(EmbedArguments p)
{
    enter();
    int row = blockIdx.x;
    long long start = (long long)*ints(p.ids, row) * p.table.stride;
    float* to = floats(p.output, row);
    for (int i = threadIdx.x; i < p.output.columns; i += blockDim.x)
    {
        if (p.kind == 0)
            to[i] = ((const float*)p.table.values)[start + i];
        else if (p.kind == 1)
            to[i] = widen(((const u16*)p.table.values)[start + i]);
        else if (p.kind == 2)
            to[i] = fromHalf(p.table.scales[(start + i) / 32]) * (float)(signed char)p.table.values[start + i];
        else
            to[i] = lower(widenFloats((u8)p.table.values[start + i], 0x1404)) * ((const float*)p.table.scales)[(long long)*ints(p.ids, row) * ((p.table.stride + 127) / 128) + i / 128];
    }
}

struct GatherRowsArguments { Tensor output, input, rows; };
extern "C" __global__ void gatherRows(GatherRowsArguments p)
{
    enter();
    const float* from = floats(p.input, *ints(p.rows, blockIdx.x));
    float* to = floats(p.output, blockIdx.x);
    for (int i = threadIdx.x; i < p.output.columns; i += blockDim.x)
        to[i] = from[i];
}

struct NormArguments { Tensor output, residual, delta, gain; float epsilon; };

// One block (row, run) per run of gain.columns values of a row; adds delta to the residual first where there is one.
extern "C" __global__ void rmsNorm(NormArguments p)
{
    __shared__ float room[33];
    enter();
    int width = p.gain.columns, start = blockIdx.y * width;
    float* from = floats(p.residual, blockIdx.x) + start;
    float* to = floats(p.output, blockIdx.x) + start;
    const float* gain = floats(p.gain, 0);
    float squares = 0;
    if (p.delta.address)
    {
        const float* delta = floats(p.delta, blockIdx.x) + start;
        for (int i = threadIdx.x; i < width; i += blockDim.x)
        {
            float value = from[i] + delta[i];
            from[i] = value;
            squares += value * value;
        }
    }
    else
        for (int i = threadIdx.x; i < width; i += blockDim.x)
            squares += from[i] * from[i];
    float factor = rsqrtf(blockSum(squares, room) / width + p.epsilon);
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        to[i] = from[i] * factor * gain[i];
}

struct AddArguments { Tensor residual, delta; };
extern "C" __global__ void add(AddArguments p)
{
    enter();
    float* to = floats(p.residual, blockIdx.x);
    const float* from = floats(p.delta, blockIdx.x);
    for (int i = threadIdx.x; i < p.residual.columns; i += blockDim.x)
        to[i] += from[i];
}

struct RopeArguments { Tensor values, positions, table; int headWidth, start, interleaved; };
extern "C" __global__ void rope(RopeArguments p)
{
    enter();
    int half = p.table.columns / 2, heads = p.values.columns / p.headWidth;
    float* row = floats(p.values, blockIdx.x);
    const float* turn = floats(p.table, *ints(p.positions, blockIdx.x));
    for (int item = threadIdx.x; item < heads * half; item += blockDim.x)
    {
        int head = item / half, i = item % half;
        float* at = row + head * p.headWidth + p.start;
        int first = p.interleaved ? 2 * i : i, second = p.interleaved ? first + 1 : i + half;
        float a = at[first], b = at[second], cosine = turn[i], sine = turn[half + i];
        at[first] = a * cosine - b * sine;
        at[second] = b * cosine + a * sine;
    }
}

struct SwiGluArguments { Tensor output, input; };
extern "C" __global__ void swiGlu(SwiGluArguments p)
{
    enter();
    int width = p.output.columns;
    const float* from = floats(p.input, blockIdx.x);
    float* to = floats(p.output, blockIdx.x);
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < width; i += gridDim.y * blockDim.x)
        to[i] = silu(from[i]) * from[width + i];
}

struct CombineArguments { Tensor output, rows, gates, shared; };
extern "C" __global__ void combine(CombineArguments p)
{
    enter();
    int token = blockIdx.x, topK = p.gates.columns;
    const float* gates = floats(p.gates, token);
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < p.output.columns; i += gridDim.y * blockDim.x)
    {
        float sum = 0;
        for (int k = 0; k < topK; k++)
            sum += gates[k] * floats(p.rows, (long long)token * topK + k)[i];
        floats(p.output, token)[i] = p.shared.address ? sum + floats(p.shared, token)[i] : sum;
    }
}

struct CombineNormArguments { Tensor output, residual, rows, gates, shared, gain; float epsilon; };

#if __CUDA_ARCH__ >= 900
#define PARTS 8 // blocks of a token: a cluster
#define VALUES 4
#else
#define PARTS 1
#define VALUES 8
#define __cluster_dims__(...)
#endif
#define COMBINE_THREADS (8192 / PARTS / VALUES)

// residual += the weighted experts (+ shared), then its norm: columns in registers.
extern "C" __global__ void __cluster_dims__(PARTS, 1, 1) __launch_bounds__(COMBINE_THREADS) combineNorm(CombineNormArguments p)
{
    __shared__ float room[33], share;
    for (int i = threadIdx.x * 32; i < p.gain.columns; i += COMBINE_THREADS * 32)
        prefetch(floats(p.gain, 0) + i);
    enter();
    int token = blockIdx.x / PARTS, width = p.residual.columns, topK = p.gates.columns;
    int columns = (width + PARTS - 1) / PARTS, first = blockIdx.x % PARTS * columns, end = min(width, first + columns);
    const float* gates = floats(p.gates, token);
    float* residual = floats(p.residual, token);
    float values[VALUES], squares = 0;
#pragma unroll
    for (int j = 0; j < VALUES; j++)
    {
        int i = first + threadIdx.x + j * COMBINE_THREADS;
        if (i >= end)
            break;
        float sum = 0;
#pragma unroll 8
        for (int k = 0; k < topK; k++)
            sum += gates[k] * floats(p.rows, (long long)token * topK + k)[i];
        if (p.shared.address)
            sum += floats(p.shared, token)[i];
        values[j] = residual[i] + sum;
        residual[i] = values[j];
        squares += values[j] * values[j];
    }
    squares = blockSum(squares, room);
#if PARTS > 1
    if (threadIdx.x == 0)
        share = squares;
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
    squares = 0;
    for (int part = 0; part < PARTS; part++)
    {
        float theirs;
        asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %1, %2; ld.shared::cluster.f32 %0, [a]; }" : "=f"(theirs) : "r"(sharedAddress(&share)), "r"(part) : "memory");
        squares += theirs;
    }
    asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
#endif
    float factor = rsqrtf(squares / width + p.epsilon);
#pragma unroll
    for (int j = 0; j < VALUES; j++)
    {
        int i = first + threadIdx.x + j * COMBINE_THREADS;
        if (i < end)
            floats(p.output, token)[i] = values[j] * factor * floats(p.gain, 0)[i];
    }
#if PARTS > 1
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); // others may still read this block's share
#endif
}

struct WriteCacheArguments { Tensor cache, rows; Paged batch; int heads, brain; };
extern "C" __global__ void writeCache(WriteCacheArguments p)
{
    enter();
    int row = blockIdx.x, width = p.rows.columns / p.heads;
    int sequence = sequenceOf(p.batch, row), position = *ints(p.batch.positions, row);
    const float* from = floats(p.rows, row);
    for (int i = threadIdx.x; i < p.rows.columns; i += blockDim.x)
    {
        long long at = cacheAt(p.batch, p.cache, sequence, position, i / width, width) + i % width;
        if (p.brain)
            ((u16*)p.cache.address)[at] = narrow(from[i]);
        else
            ((float*)p.cache.address)[at] = from[i];
    }
}

struct PrepareArguments
{
    Tensor projected, queryGain, keyGain, table, keys, values;
    Paged batch;
    int heads, cacheHeads, width, brain;
    float epsilon;
};

// One warp per head of a row: norm, rotation of halves, then keys and values into the cache.
extern "C" __global__ void prepareHeads(PrepareArguments p)
{
    enter();
    int head = blockIdx.y * (blockDim.x >> 5) + (threadIdx.x >> 5), lane = threadIdx.x & 31, row = blockIdx.x;
    if (head >= p.heads + 2 * p.cacheHeads)
        return;
    float* at = floats(p.projected, row) + head * p.width;
    int position = *ints(p.batch.positions, row), half = p.width / 2;
    bool query = head < p.heads, value = head >= p.heads + p.cacheHeads;
    float first[8], second[8], squares = 0; // halves of the head, 32 columns apart; width is at most 512
    #pragma unroll
    for (int j = 0, i = lane; j < 8; j++, i += 32)
    if (i < half)
    {
        first[j] = at[i];
        second[j] = at[i + half];
        squares += first[j] * first[j] + second[j] * second[j];
    }
    const Tensor& gain = query ? p.queryGain : p.keyGain;
    squares = warpSum(squares);
    if (!value)
    {
        float factor = rsqrtf(squares / p.width + p.epsilon);
        const float* gains = (const float*)gain.address;
        const float* turn = floats(p.table, position);
        #pragma unroll
    for (int j = 0, i = lane; j < 8; j++, i += 32)
    if (i < half)
        {
            float a = first[j], b = second[j];
            if (gains)
                a *= factor * gains[i], b *= factor * gains[i + half];
            first[j] = a * turn[i] - b * turn[half + i];
            second[j] = b * turn[i] + a * turn[half + i];
        }
    }
    if (query)
    {
        #pragma unroll
    for (int j = 0, i = lane; j < 8; j++, i += 32)
    if (i < half)
            at[i] = first[j], at[i + half] = second[j];
        return;
    }
    const Tensor& cache = value ? p.values : p.keys;
    long long to = cacheAt(p.batch, cache, sequenceOf(p.batch, row), position, head - p.heads - (value ? p.cacheHeads : 0), p.width);
    #pragma unroll
    for (int j = 0, i = lane; j < 8; j++, i += 32)
    if (i < half)
    {
        if (p.brain)
            ((u16*)cache.address)[to + i] = narrow(first[j]), ((u16*)cache.address)[to + i + half] = narrow(second[j]);
        else
            ((float*)cache.address)[to + i] = first[j], ((float*)cache.address)[to + i + half] = second[j];
    }
}

struct CopyArguments { Tensor output, input; };
extern "C" __global__ void copyRows(CopyArguments p)
{
    enter();
    for (int i = threadIdx.x; i < p.output.columns; i += blockDim.x)
        floats(p.output, blockIdx.x)[i] = floats(p.input, blockIdx.x)[i];
}

struct LayerNormArguments { Tensor output, residual, delta, gain, bias; float epsilon; };

// As rmsNorm; a thread reads again what it wrote itself.
extern "C" __global__ void layerNorm(LayerNormArguments p)
{
    __shared__ float room[33];
    enter();
    int width = p.gain.columns, start = blockIdx.y * width;
    float* from = floats(p.residual, blockIdx.x) + start;
    float* to = floats(p.output, blockIdx.x) + start;
    float sum = 0, squares = 0;
    if (p.delta.address)
    {
        const float* delta = floats(p.delta, blockIdx.x) + start;
        for (int i = threadIdx.x; i < width; i += blockDim.x)
        {
            float value = from[i] + delta[i];
            from[i] = value;
            sum += value;
        }
    }
    else
        for (int i = threadIdx.x; i < width; i += blockDim.x)
            sum += from[i];
    float mean = blockSum(sum, room) / width;
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        squares += (from[i] - mean) * (from[i] - mean);
    float factor = rsqrtf(blockSum(squares, room) / width + p.epsilon);
    for (int i = threadIdx.x; i < width; i += blockDim.x)
        to[i] = (from[i] - mean) * factor * floats(p.gain, 0)[i] + (p.bias.address ? floats(p.bias, 0)[i] : 0.0f);
}

struct GeluArguments { Tensor output, input; int form; };
extern "C" __global__ void gelu(GeluArguments p)
{
    enter();
    for (int i = blockIdx.y * blockDim.x + threadIdx.x; i < p.output.columns; i += gridDim.y * blockDim.x)
    {
        float x = floats(p.input, blockIdx.x)[i];
        float share = p.form == 0 ? 0.5f * (1.0f + erff(x * 0.70710678f))
            : p.form == 1 ? 0.5f * (1.0f + tanhf(0.79788456f * (x + 0.044715f * x * x * x)))
            : 1.0f / (1.0f + expf(-1.702f * x));
        floats(p.output, blockIdx.x)[i] = x * share;
    }
}
