// Where sampling cuts: the weights of a row's tokens, numbers that its blocks show each other, and the search for the last token that is kept.

#define THREADS 1024

#if __CUDA_ARCH__ >= 900
#define PARTS 8

// What another block of the row has in its shared memory.
__device__ inline u64 peek(const u64* mine, int part)
{
    u64 value;
    asm volatile("{ .reg .b32 a; mapa.shared::cluster.u32 a, %1, %2; ld.shared::cluster.u64 %0, [a]; }" : "=l"(value) : "r"(sharedAddress(mine)), "r"(part) : "memory");
    return value;
}

#else
#define PARTS 1
#define __cluster_dims__(...)
__device__ inline u64 peek(const u64* mine, int part) { return *mine; }
#endif

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
    const float* logits; // of the block's run of ids
    int first, count;
    float most, inverse, floor;

    __device__ u64 key(int i) const { return fallingKey(logits[i], first + i); }
    __device__ float weight(int i) const
    {
        float logit = logits[i];
        return logit != logit ? 0.0f : expf((logit - most) * inverse);
    }
    __device__ u64 mass(float weight) const { return (u64)(weight * 1099511627776.0f); }
};

#define MOST_SORTED 256

struct Digits
{
    u64 sizes[256], masses[256];       // of the block's run
    u64 allSizes[256], allMasses[256]; // of the row
    u64 ownKeys[MOST_SORTED], ownMasses[MOST_SORTED], keys[MOST_SORTED], keyMasses[MOST_SORTED];
    u64 prefix, sizeBefore, massBefore, ownCount;
    int bucket, left;
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

// Numbers that the blocks of a row show each other: two places in turn, so that one meeting each time is enough.
struct Exchange
{
    u64* places;
    int turn;

    __device__ const u64* show(u64 value)
    {
        u64* mine = places + (turn++ & 1);
        if (threadIdx.x == 0)
            *mine = value;
        meet();
        return mine;
    }
    __device__ u64 least(u64 value, u64* room)
    {
        const u64* shown = show(blockLeast(value, room));
        value = ~0ull;
        for (int part = 0; part < PARTS; part++)
        {
            u64 other = peek(shown, part);
            value = other < value ? other : value;
        }
        return value;
    }
    // Sum over the row, and over the blocks before this one.
    __device__ u64 total(u64 value, u64* room, int mine, u64& before)
    {
        const u64* shown = show(blockTotal(value, room));
        u64 sum = before = 0;
        for (int part = 0; part < PARTS; part++)
        {
            u64 other = peek(shown, part);
            sum += other;
            before += part < mine ? other : 0;
        }
        return sum;
    }
};

__device__ inline int bucketOf(float most, float logit) { return (int)fminf((most - logit) * 8, 255.0f); }

// Adds every lane's candidate to its digit (-1: none); lanes with the same digit go as one.
__device__ inline void count(Digits& digits, int digit, u64 mass)
{
    u32 same = __match_any_sync(0xFFFFFFFFu, digit);
    u32 low = __reduce_add_sync(same, (u32)mass & 0xFFFFF), high = __reduce_add_sync(same, (u32)(mass >> 20));
    if (digit < 0 || (int)(threadIdx.x & 31) != __ffs(same) - 1)
        return;
    atomicAdd(&digits.sizes[digit], (u64)__popc(same));
    atomicAdd(&digits.masses[digit], ((u64)high << 20) + low);
}

// One warp finds the digit at which the number (or mass) so far reaches the target; -1 if none does.
__device__ int crossing(Digits& digits, u64 target, bool byMass)
{
    int lane = threadIdx.x & 31;
    u64 size = 0, mass = 0;
    for (int i = lane * 8; i < lane * 8 + 8; i++)
        size += digits.allSizes[i], mass += digits.allMasses[i];
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
            u64 sizeNext = sizeNow + digits.allSizes[i], massNext = massNow + digits.allMasses[i];
            if ((byMass ? massNext : sizeNext) >= target)
            {
                found = i;
                digits.sizeBefore = sizeNow, digits.massBefore = massNow, digits.left = (int)digits.allSizes[i];
                break;
            }
            sizeNow = sizeNext, massNow = massNext;
        }
    return (int)__reduce_max_sync(0xFFFFFFFFu, (u32)(found + 1)) - 1;
}

// Key of the first candidate, in order of keys up to `limit`, at which the number (or mass) so far reaches the target. First the
// candidates are counted by eighths of a nat below the best, then by digits of their keys until few are left, which are ranked.
// Every block of the row comes to the same result.
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
            int i = base + threadIdx.x;
            bool inside = i < c.count;
            float logit = inside ? c.logits[i] : 0;
            int coarse = bucketOf(c.most, logit);
            u64 key = fallingKey(logit, c.first + i);
            inside = inside && key <= limit && (bucket < 0 || (coarse == bucket && (shift >= 48 || key >> (shift + 8) == prefix)));
            if (!__any_sync(0xFFFFFFFFu, inside))
                continue;
            float weight = inside ? c.weight(i) : 0;
            inside = inside && weight >= c.floor;
            count(digits, inside ? (bucket < 0 ? coarse : (int)(key >> shift) & 255) : -1, c.mass(weight));
        }
        meet();
        if (threadIdx.x < 256)
        {
            u64 size = 0, mass = 0;
#pragma unroll
            for (int part = 0; part < PARTS; part++)
                size += peek(&digits.sizes[threadIdx.x], part), mass += peek(&digits.masses[threadIdx.x], part);
            digits.allSizes[threadIdx.x] = size, digits.allMasses[threadIdx.x] = mass;
        }
        meet();
        if (threadIdx.x < 32)
        {
            int found = crossing(digits, target, byMass);
            if (threadIdx.x == 0)
            {
                digits.bucket = found;
                digits.ownCount = 0;
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
        prefix = digits.prefix;
        for (int i = threadIdx.x; i < c.count; i += THREADS)
        {
            u64 key = c.key(i);
            if (key > limit || bucketOf(c.most, c.logits[i]) != bucket || (!first && key >> shift != prefix))
                continue;
            float weight = c.weight(i);
            if (!(weight >= c.floor))
                continue;
            int place = (int)atomicAdd(&digits.ownCount, 1ull);
            digits.ownKeys[place] = key;
            digits.ownMasses[place] = c.mass(weight);
        }
        meet();
        int count = 0;
        for (int part = 0; part < PARTS; part++)
        {
            int theirs = (int)peek(&digits.ownCount, part), i = threadIdx.x;
            if (i < theirs)
            {
                digits.keys[count + i] = peek(&digits.ownKeys[i], part);
                digits.keyMasses[count + i] = peek(&digits.ownMasses[i], part);
            }
            count += theirs;
        }
        meet();
        u64 best = ~0ull;
        if (threadIdx.x < count)
        {
            u64 mine = digits.keys[threadIdx.x], size = digits.sizeBefore, mass = digits.massBefore;
            for (int i = 0; i < count; i++)
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
