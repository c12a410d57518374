// The next token of each row, one block a row: penalties and bias, then the cut by min-p, top-k and top-p, then one draw that
// walks the kept tokens in order of id. Weights are summed as whole numbers (of 2^-40 of the best token's), so that no order of
// adding matters. The cut is found digit by digit over keys that fall with the logit and rise with the id.

struct SampleArguments
{
    Tensor ids, logits, slots, lengths, promptLengths, tokens, reals, integers, biasStarts, biasIds, biasValues;
    float* adjusted; // [rows, vocabulary]
    int* counts;     // [rows, vocabulary], zero between launches
};

#define THREADS 1024

__device__ inline u64 fallingKey(float logit, int id)
{
    u32 bits = __float_as_uint(logit != logit ? -INFINITY : logit == 0 ? 0.0f : logit);
    u32 rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (u64)~rising << 24 | (u32)id;
}

__device__ inline u64 shuffled(u64 value)
{
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9ull;
    value = (value ^ (value >> 27)) * 0x94D049BB133111EBull;
    return value ^ (value >> 31);
}

__device__ inline float uniform(u64 seed, u32 index)
{
    u64 bits = shuffled(shuffled(seed + 0x9E3779B97F4A7C15ull) + (index + 1ull) * 0x9E3779B97F4A7C15ull);
    return (float)(bits >> 40) * (1.0f / (1 << 24));
}

struct Candidates
{
    const float* logits;
    int count;
    float most, inverse, floor;

    __device__ float weight(int id) const
    {
        float logit = logits[id];
        return logit != logit ? 0.0f : expf((logit - most) * inverse);
    }
    __device__ u64 mass(float weight) const { return (u64)(weight * 1099511627776.0f); }
};

struct Digits
{
    int sizes[256];
    u64 masses[256];
    u64 prefix, sizeBefore, massBefore;
    int found, left;
};

// Sum over the block of whole numbers.
__device__ inline u64 blockTotal(u64 value, u64* room)
{
    for (int step = 16; step > 0; step >>= 1)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    __syncthreads();
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x >> 5] = value;
    __syncthreads();
    value = room[threadIdx.x & 31];
    for (int step = 16; step > 0; step >>= 1)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, step);
    return value;
}

// Key of the first candidate, in order of keys up to `limit`, at which the number (or mass) so far reaches the target.
__device__ u64 cut(const Candidates& c, Digits& digits, u64 limit, u64 target, bool byMass)
{
    if (threadIdx.x == 0)
        digits.prefix = digits.sizeBefore = digits.massBefore = 0;
    for (int shift = 48; shift >= 0; shift -= 8)
    {
        if (threadIdx.x < 256)
            digits.sizes[threadIdx.x] = 0, digits.masses[threadIdx.x] = 0;
        if (threadIdx.x == 0)
            digits.found = -1;
        __syncthreads();
        u64 prefix = digits.prefix;
        for (int id = threadIdx.x; id < c.count; id += THREADS)
        {
            u64 key = fallingKey(c.logits[id], id);
            if (key > limit || (shift < 48 && key >> (shift + 8) != prefix))
                continue;
            float weight = c.weight(id);
            if (!(weight >= c.floor))
                continue;
            int digit = (int)(key >> shift) & 255;
            atomicAdd(&digits.sizes[digit], 1);
            atomicAdd(&digits.masses[digit], c.mass(weight));
        }
        __syncthreads();
        if (threadIdx.x == 0)
        {
            u64 size = digits.sizeBefore, mass = digits.massBefore;
            for (int digit = 0; digit < 256; digit++)
            {
                if (digits.sizes[digit] == 0)
                    continue;
                size += digits.sizes[digit];
                mass += digits.masses[digit];
                if ((byMass ? mass : size) >= target)
                {
                    digits.found = digit;
                    digits.left = digits.sizes[digit];
                    digits.sizeBefore = size - digits.sizes[digit];
                    digits.massBefore = mass - digits.masses[digit];
                    digits.prefix = prefix << 8 | digit;
                    break;
                }
            }
        }
        __syncthreads();
        int found = digits.found, left = digits.left;
        u64 wanted = digits.prefix;
        __syncthreads();
        if (found < 0)
            return limit;
        if (shift == 0)
            return wanted;
        if (left == 1)
        {
            // One candidate is left: whoever holds it says so.
            for (int id = threadIdx.x; id < c.count; id += THREADS)
            {
                u64 key = fallingKey(c.logits[id], id);
                if (key <= limit && key >> shift == wanted && c.weight(id) >= c.floor)
                    digits.prefix = key;
            }
            __syncthreads();
            wanted = digits.prefix;
            __syncthreads();
            return wanted;
        }
    }
    return limit;
}

__device__ void penalize(const SampleArguments& p, int row, float* logits, int* counts)
{
    const float* reals = floats(p.reals, row);
    const int* tokens = ints(p.tokens, *ints(p.slots, row));
    int length = *ints(p.lengths, row), prompt = *ints(p.promptLengths, row);
    for (int i = threadIdx.x; i < length; i += THREADS)
    {
        if (i < prompt)
            atomicOr(&counts[tokens[i]], 1 << 30);
        else
            atomicAdd(&counts[tokens[i]], 1);
    }
    __syncthreads();
    // The first to take a token's count applies it and leaves zero behind.
    for (int i = threadIdx.x; i < length; i += THREADS)
    {
        int id = tokens[i], count = atomicExch(&counts[id], 0);
        if (count == 0)
            continue;
        int produced = count & ((1 << 30) - 1);
        float logit = logits[id] > 0 ? logits[id] / reals[3] : logits[id] * reals[3];
        logits[id] = produced == 0 ? logit : logit - reals[4] - reals[5] * produced;
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(THREADS) sample(SampleArguments p)
{
    __shared__ u64 room[32];
    __shared__ Digits digits;
    __shared__ int chosen;
    enter();
    int row = blockIdx.x, vocabulary = p.logits.columns, lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    const float* reals = floats(p.reals, row);
    const int* integers = ints(p.integers, row);
    const float* logits = floats(p.logits, row);
    int firstBias = *ints(p.biasStarts, row), endBias = *ints(p.biasStarts, row + 1);
    if (integers[4] != 0 || endBias > firstBias)
    {
        float* own = p.adjusted + (long long)row * vocabulary;
        for (int id = threadIdx.x; id < vocabulary; id += THREADS)
            own[id] = logits[id];
        __syncthreads();
        if (integers[4] != 0)
            penalize(p, row, own, p.counts + (long long)row * vocabulary);
        for (int entry = firstBias + threadIdx.x; entry < endBias; entry += THREADS)
            atomicAdd(&own[*ints(p.biasIds, entry)], *floats(p.biasValues, entry));
        __syncthreads();
        logits = own;
    }
    u64 best = ~0ull;
    for (int id = threadIdx.x; id < vocabulary; id += THREADS)
    {
        u64 key = fallingKey(logits[id], id);
        best = key < best ? key : best;
    }
    for (int step = 16; step > 0; step >>= 1)
    {
        u64 other = __shfl_xor_sync(0xFFFFFFFFu, best, step);
        best = other < best ? other : best;
    }
    if (lane == 0)
        room[warp] = best;
    __syncthreads();
    for (int i = 0; i < 32; i++)
        best = room[i] < best ? room[i] : best;
    int first = (int)(best & 0xFFFFFF);
    float most = logits[first];
    if (threadIdx.x == 0)
        chosen = first;
    __syncthreads();
    if (reals[0] != 0 && most == most && fabsf(most) != INFINITY)
    {
        Candidates c = {logits, vocabulary, most, 1.0f / reals[0], fmaxf(reals[2], __uint_as_float(1))};
        u64 limit = ~0ull;
        if (integers[0] > 0 && integers[0] < vocabulary)
            limit = cut(c, digits, limit, integers[0], false);
        for (int pass = 0; pass < 2; pass++)
        {
            // First pass: the mass that top-p is a share of. Second pass, behind its cut: the mass to draw from.
            if (pass == 0 && reals[1] >= 1)
                continue;
            u64 mine = 0;
            for (int id = threadIdx.x; id < vocabulary; id += THREADS)
            {
                float weight = c.weight(id);
                if (weight >= c.floor && fallingKey(logits[id], id) <= limit)
                    mine += c.mass(weight);
            }
            u64 total = blockTotal(mine, room);
            if (pass == 0)
            {
                double share = ceil((double)reals[1] * (double)total);
                limit = cut(c, digits, limit, share < 1 ? 1 : (u64)share, true);
                continue;
            }
            u64 seed = (u64)(u32)integers[1] | (u64)(u32)integers[2] << 32;
            u64 draw = (u64)((double)uniform(seed, (u32)integers[3]) * (double)total);
            // Each thread owns a run of ids; the one in whose run the draw falls walks it.
            int run = (vocabulary + THREADS - 1) / THREADS, start = threadIdx.x * run, end = min(vocabulary, start + run);
            u64 own = 0;
            for (int id = start; id < end; id++)
            {
                float weight = c.weight(id);
                if (weight >= c.floor && fallingKey(logits[id], id) <= limit)
                    own += c.mass(weight);
            }
            u64 before = own;
            for (int step = 1; step < 32; step <<= 1)
            {
                u64 other = __shfl_up_sync(0xFFFFFFFFu, before, step);
                if (lane >= step)
                    before += other;
            }
            __syncthreads();
            if (lane == 31)
                room[warp] = before;
            __syncthreads();
            before -= own;
            for (int i = 0; i < warp; i++)
                before += room[i];
            if (draw >= before && draw < before + own)
            {
                for (int id = start; id < end; id++)
                {
                    float weight = c.weight(id);
                    if (!(weight >= c.floor) || fallingKey(logits[id], id) > limit)
                        continue;
                    before += c.mass(weight);
                    if (draw < before)
                    {
                        chosen = id;
                        break;
                    }
                }
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0)
    {
        *ints(p.ids, row) = chosen;
        ints(p.tokens, *ints(p.slots, row))[*ints(p.lengths, row)] = chosen;
    }
}
