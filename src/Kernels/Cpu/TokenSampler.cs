namespace XDeepServe.Kernels.Cpu;

/// <summary>
/// Chooses the next token of one row: penalties and bias, then the cut by min-p, top-k and top-p, then one draw that walks the
/// kept tokens in order of id. Only the tokens near the cut are ever sorted.
/// </summary>
internal readonly unsafe ref struct TokenSampler
{
    private const int Buckets = 1024;            // of 1/32 nat below the best logit; the last takes all the rest
    private const float BucketsPerNat = 32;

    private readonly SamplingBatch batch;
    private readonly int row, vocabulary;
    private readonly float* adjusted;    // [vocabulary] logits after penalties
    private readonly float* weights;     // [vocabulary] e^((logit - best) / temperature)
    private readonly ulong* candidates;  // [vocabulary] falling logit, then rising id, as one number
    private readonly int* counts;        // [vocabulary] occurrences in the output

    /// <summary>A sampler for one row, in memory of <see cref="ScratchBytes"/>.</summary>
    public TokenSampler(SamplingBatch batch, int row, int vocabulary, byte* memory)
    {
        this.batch = batch;
        this.row = row;
        this.vocabulary = vocabulary;
        candidates = (ulong*)memory;
        adjusted = (float*)(candidates + vocabulary);
        weights = adjusted + vocabulary;
        counts = (int*)(weights + vocabulary);
    }

    /// <summary>Memory that a sampler needs.</summary>
    public static long ScratchBytes(int vocabulary) => (vocabulary * (sizeof(ulong) + 2L * sizeof(float) + sizeof(int)) + 63) & ~63L;

    private float Temperature => Real(0);

    /// <summary>The token.</summary>
    public int Choose(float* logits)
    {
        bool biased = Entry(batch.BiasStarts, row + 1) > Entry(batch.BiasStarts, row);
        bool penalized = Integer(4) != 0;
        if (biased || penalized)
        {
            new ReadOnlySpan<float>(logits, vocabulary).CopyTo(new Span<float>(adjusted, vocabulary));
            logits = adjusted;
            if (penalized)
                Penalize();
            for (int entry = Entry(batch.BiasStarts, row); entry < Entry(batch.BiasStarts, row + 1); entry++)
                adjusted[Entry(batch.BiasIds, entry)] += ((float*)batch.BiasValues.Address)[(long)entry * batch.BiasValues.Stride];
        }
        int best = VectorMath.IndexOfLargest(logits, vocabulary);
        float most = logits[best];
        if (Temperature == 0 || !float.IsFinite(most))
            return best;
        VectorMath.Exponential(weights, logits, most, 1 / Temperature, vocabulary);
        float floor = MathF.Max(Real(2), float.Epsilon);
        ulong cut = Cut(logits, most, floor);
        return Draw(logits, floor, cut);
    }

    /// <summary>Walks the kept tokens in order of id until the drawn share of their weight is used up.</summary>
    private int Draw(float* logits, float floor, ulong cut)
    {
        double total = 0;
        int last = 0;
        for (int id = 0; id < vocabulary; id++)
            if (Kept(logits, id, floor, cut))
                total += weights[last = id];
        ulong seed = (uint)Integer(1) | (ulong)(uint)Integer(2) << 32;
        double draw = RandomStream.Uniform(seed, (uint)Integer(3)) * total;
        for (int id = 0; id < last; id++)
            if (Kept(logits, id, floor, cut) && (draw -= weights[id]) < 0)
                return id;
        return last;
    }

    private bool Kept(float* logits, int id, float floor, ulong cut) =>
        weights[id] >= floor && (cut == ulong.MaxValue || Order(logits[id], id) <= cut);

    /// <summary>The last kept token in falling order, as <see cref="Order"/> writes it; the largest number if none is cut.</summary>
    private ulong Cut(float* logits, float most, float floor)
    {
        int topK = Integer(0);
        float topP = Real(1);
        if (topK <= 0 || topK >= vocabulary)
            topK = int.MaxValue;
        if (topK == int.MaxValue && topP >= 1)
            return ulong.MaxValue;
        // Enough buckets to hold the cut: all that top-k keeps, or without it those that hold the share top-p asks for.
        int* sizes = stackalloc int[Buckets];
        double* masses = stackalloc double[Buckets];
        new Span<int>(sizes, Buckets).Clear();
        new Span<double>(masses, Buckets).Clear();
        double total = 0;
        for (int id = 0; id < vocabulary; id++)
        {
            if (!(weights[id] >= floor))
                continue;
            int bucket = Bucket(logits[id], most);
            sizes[bucket]++;
            masses[bucket] += weights[id];
            total += weights[id];
        }
        int lastBucket = -1, size = 0;
        double mass = 0;
        do
        {
            lastBucket++;
            size += sizes[lastBucket];
            mass += masses[lastBucket];
        }
        while (lastBucket < Buckets - 1 && (topK < int.MaxValue ? size < topK : mass < topP * total));
        int count = 0;
        for (int id = 0; id < vocabulary; id++)
            if (weights[id] >= floor && Bucket(logits[id], most) <= lastBucket)
                candidates[count++] = Order(logits[id], id);
        new Span<ulong>(candidates, count).Sort();
        int kept = Math.Min(count, topK);
        if (topP >= 1)
            return candidates[kept - 1];
        if (topK < int.MaxValue)
        {
            // Top-p is a share of what top-k left.
            total = 0;
            for (int k = 0; k < kept; k++)
                total += weights[(int)(candidates[k] & uint.MaxValue)];
        }
        mass = 0;
        for (int k = 0; k < kept; k++)
            if ((mass += weights[(int)(candidates[k] & uint.MaxValue)]) >= topP * total)
                return candidates[k];
        return candidates[kept - 1];
    }

    private static int Bucket(float logit, float most) => (int)MathF.Min((most - logit) * BucketsPerNat, Buckets - 1);

    /// <summary>A number that rises as the logit falls, and with the id among equals.</summary>
    private static ulong Order(float logit, int id)
    {
        uint bits = BitConverter.SingleToUInt32Bits(logit == 0 ? 0 : logit);
        uint rising = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return (ulong)~rising << 32 | (uint)id;
    }

    private void Penalize()
    {
        float repetition = Real(3), presence = Real(4), frequency = Real(5);
        int* tokens = (int*)batch.Tokens.Address + (long)Entry(batch.Slots, row) * batch.Tokens.Stride;
        int length = Entry(batch.Lengths, row), prompt = Entry(batch.PromptLengths, row);
        for (int i = 0; i < length; i++)
            counts[tokens[i]] = 0;
        // A first pass counts output tokens (by two, so that the lowest bit can mark a token as penalised).
        for (int i = prompt; i < length; i++)
            counts[tokens[i]] += 2;
        for (int i = 0; i < length; i++)
        {
            int id = tokens[i], count = counts[id];
            if ((count & 1) != 0)
                continue;
            counts[id] |= 1;
            float logit = adjusted[id] > 0 ? adjusted[id] / repetition : adjusted[id] * repetition;
            adjusted[id] = count == 0 ? logit : logit - presence - frequency * (count / 2);
        }
    }

    private float Real(int column) => ((float*)batch.Reals.Address)[(long)row * batch.Reals.Stride + column];

    private int Integer(int column) => ((int*)batch.Integers.Address)[(long)row * batch.Integers.Stride + column];

    private static int Entry(Tensor tensor, int row) => ((int*)tensor.Address)[(long)row * tensor.Stride];
}
