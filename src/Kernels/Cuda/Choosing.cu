// Choosing experts, and scoring tokens.

struct RouteArguments { Tensor ids, gates, logits, bias; int topK, sigmoid, groups, topGroups, terms, normalize; float scale; };

// A number that rises with a value; 0 is below all of them.
__device__ inline u32 rising(float value)
{
    u32 bits = __float_as_uint(value);
    return value != value ? 0 : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The larger value wins, the smaller index among equals; every lane gets the winner.
__device__ inline int warpBest(u32 value, int index)
{
    u32 best = __reduce_max_sync(0xFFFFFFFFu, value);
    return (int)__reduce_min_sync(0xFFFFFFFFu, value == best ? (u32)index : 0x7FFFFFFFu);
}

#define KEPT 8

// One warp chooses a token's experts. Scores: room for those of all experts, the same biased, and those of all groups.
__device__ void choose(const RouteArguments& p, int row, const float* logits, float* scores)
{
    int experts = p.logits.columns, lane = threadIdx.x & 31, perGroup = experts / p.groups;
    float* biased = scores + experts;
    float* groups = biased + experts;
    float most = -INFINITY, sum = 0;
    for (int i = lane; i < experts; i += 32)
        most = fmaxf(most, logits[i]);
    most = warpMax(most);
    for (int i = lane; i < experts; i += 32)
    {
        float score = p.sigmoid ? 1.0f / (1.0f + expf(-logits[i])) : expf(logits[i] - most);
        scores[i] = score;
        sum += score;
    }
    float factor = p.sigmoid ? 1.0f : 1.0f / warpSum(sum);
    for (int i = lane; i < experts; i += 32)
    {
        scores[i] *= factor;
        biased[i] = scores[i] + (p.bias.address ? floats(p.bias, 0)[i] : 0.0f);
    }
    __syncwarp();
    if (p.topGroups < p.groups)
    {
        for (int group = lane; group < p.groups; group += 32)
        {
            float first = -INFINITY, second = -INFINITY;
            for (int i = group * perGroup; i < (group + 1) * perGroup; i++)
            {
                float value = biased[i];
                if (value > first)
                    second = first, first = value;
                else
                    second = fmaxf(second, value);
            }
            groups[group] = p.terms == 1 ? first : first + second;
        }
        __syncwarp();
        // The best groups are marked by infinity, then all others' experts are out.
        for (int k = 0; k < p.topGroups; k++)
        {
            u32 best = 0;
            int index = 0x7FFFFFFF;
            for (int group = lane; group < p.groups; group += 32)
                if (groups[group] != INFINITY && (rising(groups[group]) > best || index == 0x7FFFFFFF))
                    best = rising(groups[group]), index = group;
            index = warpBest(best, index);
            __syncwarp();
            if (lane == 0)
                groups[index] = INFINITY;
            __syncwarp();
        }
        for (int i = lane; i < experts; i += 32)
            if (groups[i / perGroup] != INFINITY)
                biased[i] = -INFINITY;
        __syncwarp();
    }
    // The first experts' numbers are in registers, the others' stay in shared memory; each lane keeps the score of one choice.
    u32 numbers[KEPT];
#pragma unroll
    for (int j = 0; j < KEPT; j++)
        numbers[j] = lane + j * 32 < experts ? rising(biased[lane + j * 32]) : 0;
    float total = 0, mine = 0;
    for (int k = 0; k < p.topK; k++)
    {
        u32 best = 0;
        int index = k;
#pragma unroll
        for (int j = 0; j < KEPT; j++)
            if (numbers[j] > best)
                best = numbers[j], index = lane + j * 32;
        for (int i = lane + KEPT * 32; i < experts; i += 32)
            if (rising(biased[i]) > best)
                best = rising(biased[i]), index = i;
        index = warpBest(best, index);
        float score = scores[index];
        total += score;
        if (lane == k % 32)
            mine = score;
        if (lane == index % 32)
        {
#pragma unroll
            for (int j = 0; j < KEPT; j++)
                if (lane + j * 32 == index)
                    numbers[j] = rising(-INFINITY);
            biased[index] = -INFINITY;
        }
        if (lane == 0)
            ints(p.ids, row)[k] = index;
    }
    float gate = p.normalize ? p.scale / (total + 1e-20f) : p.scale;
    __syncwarp();
    for (int k = lane; k < p.topK; k += 32)
        floats(p.gates, row)[k] = gate * (p.topK <= 32 ? mine : scores[ints(p.ids, row)[k]]);
}

// A warp per token.
extern "C" __global__ void __launch_bounds__(32) route(RouteArguments p)
{
    extern __shared__ float scores[];
    enter();
    choose(p, blockIdx.x, floats(p.logits, blockIdx.x), scores);
}

#if __CUDA_ARCH__ >= 900
struct StepArguments { Tensor normed, residual, delta, gain; Weight router; RouteArguments rule; float epsilon; };

#define CLUSTER 8
#define AHEAD 8

// What stands between attention and experts, for few tokens: residual += delta, its norm, the router's logits, the choice. A cluster
// of blocks per token: each makes the norm for itself and its share of the logits, a warp per expert; the first block chooses.
// Shared memory: the norm, the stream, weights, the logits, then what choosing needs.
extern "C" __global__ void __cluster_dims__(CLUSTER, 1, 1) __launch_bounds__(512, 2) normAndChoose(StepArguments p)
{
    extern __shared__ __align__(16) float normed[];
    __shared__ float room[33];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, part = blockIdx.x % CLUSTER, token = blockIdx.x / CLUSTER;
    int width = p.residual.columns, experts = p.router.rows, share = (experts + CLUSTER - 1) / CLUSTER, end = min(experts, (part + 1) * share);
    const float* weights = (const float*)p.router.values;
    float* stream = normed + p.router.stride;
    float* beside = stream + p.router.stride; // [16, AHEAD · 128] weights, where rows are longer than what registers take
    float* logits = beside + (p.router.stride > AHEAD * 128 ? 16 * AHEAD * 128 : 0);
    asm volatile("barrier.cluster.arrive.aligned;" ::: "memory");
    // The weights of each warp's first expert are on their way before its inputs are there.
    float4 ahead[AHEAD];
    int expert = part * share + warp;
#pragma unroll
    for (int j = 0; j < AHEAD; j++)
        if (expert < end && j * 128 + lane * 4 < p.router.stride)
            ahead[j] = *(const float4*)(weights + (long long)expert * p.router.stride + j * 128 + lane * 4);
#pragma unroll
    for (int j = AHEAD; j < 2 * AHEAD; j++)
        if (expert < end && j * 128 + lane * 4 < p.router.stride)
            copyAsync(sharedAddress(beside + (warp * AHEAD + j - AHEAD) * 128 + lane * 4), weights + (long long)expert * p.router.stride + j * 128 + lane * 4, true);
    commitCopies();
    for (int i = 2 * AHEAD * 128 + lane * 32; expert < end && i < p.router.stride; i += 1024)
        prefetch(weights + (long long)expert * p.router.stride + i);
    for (int i = threadIdx.x * 32; i < width; i += 512 * 32)
        prefetch(floats(p.gain, 0) + i);
    enter();
    float squares = 0;
    for (int i = threadIdx.x * 4; i < width; i += 2048)
    {
        float4 a = *(const float4*)(floats(p.residual, token) + i), b = *(const float4*)(floats(p.delta, token) + i);
        a = make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w);
        *(float4*)(stream + i) = a;
        squares += a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w;
    }
    float factor = rsqrtf(blockSum(squares, room) / width + p.epsilon);
    for (int i = threadIdx.x * 4; i < p.router.stride; i += 2048)
    {
        float4 value = make_float4(0, 0, 0, 0);
        if (i < width)
        {
            float4 gain = *(const float4*)(floats(p.gain, 0) + i);
            value = *(const float4*)(stream + i);
            value = make_float4(value.x * factor * gain.x, value.y * factor * gain.y, value.z * factor * gain.z, value.w * factor * gain.w);
        }
        *(float4*)(normed + i) = value;
    }
    __syncthreads();
    asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); // all blocks are here: the first one's memory can be written
    u32 there = sharedAddress(logits);
    asm volatile("mapa.shared::cluster.u32 %0, %0, 0;" : "+r"(there));
    for (; expert < end; expert += 16)
    {
        const float* row = weights + (long long)expert * p.router.stride;
        float sum = 0;
        auto add = [&](const float4& weight, int i)
        {
            float4 value = *(const float4*)(normed + i);
            sum += weight.x * value.x + weight.y * value.y + weight.z * value.z + weight.w * value.w;
        };
        int start = lane * 4;
        if (expert == part * share + warp)
        {
            start += 2 * AHEAD * 128;
            awaitCopies<0>();
#pragma unroll
            for (int j = 0; j < 2 * AHEAD; j++)
                if (j * 128 + lane * 4 < p.router.stride)
                    add(j < AHEAD ? ahead[j % AHEAD] : *(const float4*)(beside + (warp * AHEAD + j - AHEAD) * 128 + lane * 4), j * 128 + lane * 4);
        }
#pragma unroll 8
        for (int i = start; i < p.router.stride; i += 128)
            add(*(const float4*)(row + i), i);
        sum = warpSum(sum);
        if (lane == 0)
        {
            floats(p.rule.logits, token)[expert] = sum;
            asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(there + expert * 4), "f"(sum) : "memory");
        }
    }
    asm volatile("barrier.cluster.arrive.aligned;\nbarrier.cluster.wait.aligned;" ::: "memory");
    // All have read the stream by now: each block writes its share.
    for (int i = threadIdx.x * 4; i < width; i += 2048)
        if (threadIdx.x / (512 / CLUSTER) == part)
        {
            *(float4*)(floats(p.residual, token) + i) = *(const float4*)(stream + i);
            *(float4*)(floats(p.normed, token) + i) = *(const float4*)(normed + i);
        }
    if (part == 0 && warp == 0)
        choose(p.rule, token, logits, logits + experts);
}
#endif

struct CountArguments { Tensor counts, ids; };

// A thread per choice.
extern "C" __global__ void countExperts(CountArguments p)
{
    enter();
    int place = blockIdx.x * blockDim.x + threadIdx.x, columns = p.ids.columns;
    if (place < p.ids.rows * columns)
        atomicAdd(ints(p.counts, 0) + ints(p.ids, place / columns)[place % columns], 1);
}

struct RankArguments { Tensor chosen, topIds, topValues, logits, ids; };

// Falls with the logit and rises with the id among equals; what is no number counts as minus infinity.
__device__ inline u64 rankKey(float logit, int id)
{
    u32 bits = __float_as_uint(logit != logit ? -INFINITY : logit == 0 ? 0.0f : logit);
    u32 rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)~rising << 32 | (u32)id;
}

__device__ inline u64 blockMin(u64 value, u64* room)
{
    int warps = blockDim.x >> 5, lane = threadIdx.x & 31;
    for (int step = 16; step > 0; step >>= 1)
    {
        u64 other = __shfl_xor_sync(0xFFFFFFFFu, value, step);
        value = other < value ? other : value;
    }
    __syncthreads();
    if (lane == 0)
        room[threadIdx.x >> 5] = value;
    __syncthreads();
    value = lane < warps ? room[lane] : ~0ull;
    for (int step = 16; step > 0; step >>= 1)
    {
        u64 other = __shfl_xor_sync(0xFFFFFFFFu, value, step);
        value = other < value ? other : value;
    }
    return value;
}

extern "C" __global__ void __launch_bounds__(1024) rank(RankArguments p)
{
    __shared__ float room[33];
    __shared__ u64 keys[33];
    enter();
    int row = blockIdx.x, count = p.logits.columns;
    const float* values = floats(p.logits, row);
    float most = -INFINITY, sum = 0, higher = 0, mine = values[*ints(p.ids, row)];
    for (int i = threadIdx.x; i < count; i += 1024)
        most = fmaxf(most, values[i]);
    most = blockMax(most, room);
    for (int i = threadIdx.x; i < count; i += 1024)
    {
        sum += expf(values[i] - most);
        higher += values[i] > mine ? 1.0f : 0.0f;
    }
    float normalizer = most + logf(blockSum(sum, room));
    higher = blockSum(higher, room);
    if (threadIdx.x == 0)
    {
        floats(p.chosen, row)[0] = mine - normalizer;
        floats(p.chosen, row)[1] = higher + 1;
    }
    if (!p.topIds.address)
        return;
    u64 last = 0;
    for (int k = 0; k < p.topIds.columns && k < count; k++)
    {
        u64 best = ~0ull;
        for (int i = threadIdx.x; i < count; i += 1024)
        {
            u64 key = rankKey(values[i], i);
            if ((k == 0 || key > last) && key < best)
                best = key;
        }
        last = blockMin(best, keys);
        if (threadIdx.x == 0)
        {
            int id = (int)(last & 0xFFFFFFFFu);
            ints(p.topIds, row)[k] = id;
            floats(p.topValues, row)[k] = values[id] - normalizer;
        }
    }
}
