// The next token of each row: penalties and bias, then the cut by min-p, top-k and top-p, then one draw that walks the kept tokens
// in order of id. Weights are summed as whole numbers (of 2^-40 of the best token's), so that no order of adding matters. The cut is
// found digit by digit over keys that fall with the logit and rise with the id. A cluster of blocks has a row, each a run of ids in
// its shared memory (where there are no clusters, one block has all of them where they lie).

struct SampleArguments
{
    Tensor ids, logits, slots, lengths, promptLengths, tokens, reals, integers, biasStarts, biasIds, biasValues;
    float* adjusted; // [rows, vocabulary]
    int* counts;     // [rows, vocabulary], zero between launches
    int resident;    // a block's run of ids fits its shared memory
};

#include "Cutting.cu"

// Applies penalties to the block's run of ids.
__device__ void penalize(const SampleArguments& p, int row, float* logits, int* counts, int first, int end)
{
    const float* reals = floats(p.reals, row);
    const int* tokens = ints(p.tokens, *ints(p.slots, row));
    int length = *ints(p.lengths, row), prompt = *ints(p.promptLengths, row);
    for (int i = threadIdx.x; i < length; i += THREADS)
    {
        int id = tokens[i];
        if (id < first || id >= end)
            continue;
        if (i < prompt)
            atomicOr(&counts[id], 1 << 30);
        else
            atomicAdd(&counts[id], 1);
    }
    __syncthreads();
    // The first to take a token's count applies it and leaves zero behind.
    for (int i = threadIdx.x; i < length; i += THREADS)
    {
        int id = tokens[i], count = id < first || id >= end ? 0 : atomicExch(&counts[id], 0);
        if (count == 0)
            continue;
        int produced = count & ((1 << 30) - 1);
        float* at = logits + id - first;
        float logit = *at > 0 ? *at / reals[3] : *at * reals[3];
        *at = produced == 0 ? logit : logit - reals[4] - reals[5] * produced;
    }
    __syncthreads();
}

extern "C" __global__ void __cluster_dims__(PARTS, 1, 1) __launch_bounds__(THREADS) sample(SampleArguments p)
{
    extern __shared__ __align__(16) float run[];
    __shared__ u64 room[32], places[2], chosen;
    __shared__ Digits digits;
    enter();
    int row = blockIdx.x / PARTS, part = blockIdx.x % PARTS, vocabulary = p.logits.columns, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    int share = (vocabulary + PARTS - 1) / PARTS, firstId = min(vocabulary, part * share), endId = min(vocabulary, firstId + share), count = endId - firstId;
    const float* reals = floats(p.reals, row);
    const int* integers = ints(p.integers, row);
    const float* logits = floats(p.logits, row) + firstId;
    int firstBias = *ints(p.biasStarts, row), endBias = *ints(p.biasStarts, row + 1);
    bool changed = integers[4] != 0 || endBias > firstBias;
    if (changed || p.resident)
    {
        float* own = p.resident ? run : p.adjusted + (long long)row * vocabulary + firstId;
#pragma unroll 8
        for (int i = threadIdx.x; i < count; i += THREADS)
            own[i] = logits[i];
        __syncthreads();
        if (integers[4] != 0)
            penalize(p, row, own, p.counts + (long long)row * vocabulary, firstId, endId);
        for (int entry = firstBias + threadIdx.x; entry < endBias; entry += THREADS)
        {
            int id = *ints(p.biasIds, entry);
            if (id >= firstId && id < endId)
                atomicAdd(&own[id - firstId], *floats(p.biasValues, entry));
        }
        __syncthreads();
        logits = own;
    }
    Exchange exchange = {places, 0};
    u64 best = ~0ull;
#pragma unroll 8
    for (int i = threadIdx.x; i < count; i += THREADS)
    {
        u64 key = fallingKey(logits[i], firstId + i);
        best = key < best ? key : best;
    }
    best = exchange.least(best, room);
    // The best token's logit, from its key.
    u32 rising = ~(u32)(best >> 24);
    float most = __uint_as_float(rising & 0x80000000u ? rising & 0x7FFFFFFFu : ~rising);
    if (threadIdx.x == 0)
        chosen = ~0ull;
    __syncthreads();
    if (reals[0] != 0 && fabsf(most) != INFINITY)
    {
        Candidates c = {logits, firstId, count, most, 1.0f / reals[0], fmaxf(reals[2], __uint_as_float(1))};
        u64 limit = ~0ull, before;
        if (integers[0] > 0 && integers[0] < vocabulary)
            limit = cut(c, digits, limit, integers[0], false, room);
        // Each thread has a run of ids, odd in length: lanes read different banks.
        int length = (count + THREADS - 1) / THREADS | 1, start = min(count, (int)threadIdx.x * length), end = min(count, start + length);
        for (int pass = reals[1] < 1 ? 0 : 1; pass < 2; pass++)
        {
            // First pass: the mass that top-p is a share of. Second pass, behind its cut: the mass to draw from.
            u64 own = 0;
            for (int i = start; i < end; i++)
            {
                float weight = c.weight(i);
                if (weight >= c.floor && c.key(i) <= limit)
                    own += c.mass(weight);
            }
            u64 total = exchange.total(own, room, part, before);
            if (pass == 0)
            {
                double target = ceil((double)reals[1] * (double)total);
                limit = cut(c, digits, limit, target < 1 ? 1 : (u64)target, true, room);
                continue;
            }
            u64 seed = (u64)(u32)integers[1] | (u64)(u32)integers[2] << 32;
            u64 draw = (u64)((double)uniform(seed, (u32)integers[3]) * (double)total);
            // The thread in whose run the draw falls walks it.
            u64 upTo = own;
            for (int step = 1; step < 32; step <<= 1)
            {
                u64 other = __shfl_up_sync(0xFFFFFFFFu, upTo, step);
                if (lane >= step)
                    upTo += other;
            }
            __syncthreads();
            if (lane == 31)
                room[warp] = upTo;
            __syncthreads();
            upTo += before - own;
            for (int i = 0; i < warp; i++)
                upTo += room[i];
            if (draw >= upTo && draw < upTo + own)
            {
                for (int i = start; i < end; i++)
                {
                    float weight = c.weight(i);
                    if (!(weight >= c.floor) || c.key(i) > limit)
                        continue;
                    upTo += c.mass(weight);
                    if (draw < upTo)
                    {
                        chosen = firstId + i;
                        break;
                    }
                }
            }
        }
    }
    meet();
    if (part == 0 && threadIdx.x == 0)
    {
        u64 id = ~0ull;
        for (int other = 0; other < PARTS; other++)
        {
            u64 theirs = peek(&chosen, other);
            id = theirs < id ? theirs : id;
        }
        int token = id == ~0ull ? (int)(best & 0xFFFFFF) : (int)id;
        *ints(p.ids, row) = token;
        ints(p.tokens, *ints(p.slots, row))[*ints(p.lengths, row)] = token;
    }
    meet();
}
