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

#define MOST_SORTED 1024

struct Digits
{
    int sizes[256];
    u64 masses[256];
    u64 keys[MOST_SORTED], keyMasses[MOST_SORTED];
    u64 prefix, sizeBefore, massBefore;
    int bucket, left, count;
};

// Least of the block's numbers.
__device__ inline u64 blockLeast(u64 value, u64* room)
{
    for (int step = 16; step > 0; step >>= 1)
    {
        u64 other = __shfl_xor_sync(0xFFFFFFFFu, value, step);
        value = other < value ? other : value;
    }
    __syncthreads();
    if ((threadIdx.x & 31) == 0)
        room[threadIdx.x >> 5] = value;
    __syncthreads();
    for (int i = 0; i < 32; i++)
        value = room[i] < value ? room[i] : value;
    return value;
}

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

__device__ inline int bucketOf(float most, float logit) { return (int)fminf((most - logit) * 8, 255.0f); }

// Adds every lane's candidate to its digit (-1: none); lanes with the same digit go as one.
__device__ inline void count(Digits& digits, int digit, u64 mass)
{
    u32 same = __match_any_sync(0xFFFFFFFFu, digit);
    u32 low = __reduce_add_sync(same, (u32)mass & 0xFFFFF), high = __reduce_add_sync(same, (u32)(mass >> 20));
    if (digit < 0 || (int)(threadIdx.x & 31) != __ffs(same) - 1)
        return;
    atomicAdd(&digits.sizes[digit], __popc(same));
    atomicAdd(&digits.masses[digit], ((u64)high << 20) + low);
}

// One warp finds the digit at which the number (or mass) so far reaches the target; -1 if none does.
__device__ int crossing(Digits& digits, u64 target, bool byMass)
{
    int lane = threadIdx.x & 31;
    u64 size = 0, mass = 0;
    for (int i = lane * 8; i < lane * 8 + 8; i++)
        size += digits.sizes[i], mass += digits.masses[i];
    u64 sizeEnd = size, massEnd = mass;
    for (int step = 1; step < 32; step <<= 1)
    {
        u64 otherSize = __shfl_up_sync(0xFFFFFFFFu, sizeEnd, step), otherMass = __shfl_up_sync(0xFFFFFFFFu, massEnd, step);
        if (lane >= step)
            sizeEnd += otherSize, massEnd += otherMass;
    }
    u64 sizeNow = digits.sizeBefore + sizeEnd - size, massNow = digits.massBefore + massEnd - mass;
    __syncwarp();
    bool mine = (byMass ? massNow : sizeNow) < target && (byMass ? massNow + mass : sizeNow + size) >= target;
    u32 votes = __ballot_sync(0xFFFFFFFFu, mine);
    if (votes == 0)
        return -1;
    int found = -1;
    if (mine)
        for (int i = lane * 8; i < lane * 8 + 8; i++)
        {
            u64 sizeNext = sizeNow + digits.sizes[i], massNext = massNow + digits.masses[i];
            if ((byMass ? massNext : sizeNext) >= target)
            {
                found = i;
                digits.sizeBefore = sizeNow, digits.massBefore = massNow, digits.left = digits.sizes[i];
                break;
            }
            sizeNow = sizeNext, massNow = massNext;
        }
    return (int)__reduce_max_sync(0xFFFFFFFFu, (u32)(found + 1)) - 1;
}

// Key of the first candidate, in order of keys up to `limit`, at which the number (or mass) so far reaches the target. First the
// candidates are counted by eighths of a nat below the best, then by digits of their keys until few are left, which are ranked.
__device__ u64 cut(const Candidates& c, Digits& digits, u64 limit, u64 target, bool byMass, u64* room)
{
    if (threadIdx.x == 0)
        digits.prefix = digits.sizeBefore = digits.massBefore = 0;
    int bucket = -1;
    for (int shift = 56; shift >= 0; shift -= 8)
    {
        if (threadIdx.x < 256)
            digits.sizes[threadIdx.x] = 0, digits.masses[threadIdx.x] = 0;
        __syncthreads();
        u64 prefix = digits.prefix;
        for (int base = 0; base < c.count; base += THREADS)
        {
            int id = base + threadIdx.x;
            bool inside = id < c.count;
            float logit = inside ? c.logits[id] : 0, weight = inside ? c.weight(id) : 0;
            u64 key = fallingKey(logit, id);
            int coarse = bucketOf(c.most, logit);
            inside = inside && key <= limit && weight >= c.floor
                && (bucket < 0 || (coarse == bucket && (shift >= 48 || key >> (shift + 8) == prefix)));
            count(digits, inside ? (bucket < 0 ? coarse : (int)(key >> shift) & 255) : -1, c.mass(weight));
        }
        __syncthreads();
        if (threadIdx.x < 32)
        {
            int found = crossing(digits, target, byMass);
            if (threadIdx.x == 0)
            {
                digits.bucket = found;
                if (bucket >= 0 && found >= 0)
                    digits.prefix = prefix << 8 | found;
            }
        }
        __syncthreads();
        int found = digits.bucket, left = digits.left;
        __syncthreads();
        if (found < 0)
            return limit;
        bool first = bucket < 0;
        if (first)
            bucket = found;
        if (left > MOST_SORTED)
            continue;
        if (threadIdx.x == 0)
            digits.count = 0;
        __syncthreads();
        prefix = digits.prefix;
        for (int id = threadIdx.x; id < c.count; id += THREADS)
        {
            float logit = c.logits[id], weight = c.weight(id);
            u64 key = fallingKey(logit, id);
            if (key > limit || !(weight >= c.floor) || bucketOf(c.most, logit) != bucket || (!first && key >> shift != prefix))
                continue;
            int place = atomicAdd(&digits.count, 1);
            digits.keys[place] = key;
            digits.keyMasses[place] = c.mass(weight);
        }
        __syncthreads();
        u64 best = ~0ull;
        if (threadIdx.x < digits.count)
        {
            u64 mine = digits.keys[threadIdx.x], size = digits.sizeBefore, mass = digits.massBefore;
            for (int i = 0; i < digits.count; i++)
                if (digits.keys[i] <= mine)
                    size++, mass += digits.keyMasses[i];
            if ((byMass ? mass : size) >= target)
                best = mine;
        }
        best = blockLeast(best, room);
        return best == ~0ull ? limit : best;
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
#pragma unroll 8
    for (int id = threadIdx.x; id < vocabulary; id += THREADS)
    {
        u64 key = fallingKey(logits[id], id);
        best = key < best ? key : best;
    }
    best = blockLeast(best, room);
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
            limit = cut(c, digits, limit, integers[0], false, room);
        for (int pass = 0; pass < 2; pass++)
        {
            // First pass: the mass that top-p is a share of. Second pass, behind its cut: the mass to draw from.
            if (pass == 0 && reals[1] >= 1)
                continue;
            u64 mine = 0;
#pragma unroll 4
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
                limit = cut(c, digits, limit, share < 1 ? 1 : (u64)share, true, room);
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
