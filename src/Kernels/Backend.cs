namespace XDeepServe.Kernels;

/// <summary>
/// A device that runs whole-tensor operations. Operations are ordered as on a stream: each sees what earlier ones wrote,
/// but nothing above may read a result before <see cref="Synchronize"/>. No operation takes host data or returns any, so
/// that a step can be captured as a graph; <see cref="Upload{T}"/> and <see cref="Download{T}"/> stand outside a step.
/// Calls come from one thread at a time. A row's result does not depend on the other rows.
/// </summary>
public abstract class Backend : IDisposable
{
    /// <summary>One line about the device, for logs and results.</summary>
    public abstract string Description { get; }

    /// <summary>Bytes that a cache takes at most where nobody says how much; asked for when the weights are loaded.</summary>
    public virtual long CacheLimit => 256L << 20;

    /// <summary>Whether <see cref="Prepare"/> takes pieces that name random values instead of holding any.</summary>
    public virtual bool MakesRandomWeights => false;

    /// <summary>
    /// Whether any thread may call <see cref="Upload{T}"/> and <see cref="Download{T}"/> for memory that no operation under way
    /// touches: they are plain copies there.
    /// </summary>
    public virtual bool CopiesOnAnyThread => false;

    /// <summary>Tells that the calling thread will make all calls from now on: it is bound to a core of its own where there is one (paper §4.4).</summary>
    /// <returns>Whether it is bound.</returns>
    public virtual bool BindCaller() => false;

    /// <summary>Memory for tensors, zeroed. The caller disposes it.</summary>
    public abstract Arena CreateArena(long bytes);

    /// <summary>Takes a weight in: uses the mapped rows as they are where it can, else repacks them once, in parallel.</summary>
    /// <param name="source">The rows; its memory outlives the weight.</param>
    /// <param name="target">
    /// Type to hold the weight in: the source's own, or F32, or another to quantise while loading; a type whose blocks the rows do
    /// not fill, or that cannot be written, leaves them in theirs. A backend may widen what it has no product for.
    /// </param>
    public abstract Weight Prepare(WeightSource source, ElementType target);

    /// <summary>
    /// A backend of the same device for another thread, which prepares weights while this one runs. The caller disposes it, and has
    /// it <see cref="Synchronize"/> before weights change hands.
    /// </summary>
    public abstract Backend Beside();

    /// <summary>
    /// weight[group] = source[from]: an expert takes another's place between two steps; what was launched before still sees the old
    /// values. Where rows are used as they lie in a file, they are from now on used there: it outlives both weights.
    /// </summary>
    /// <param name="weight">Of <see cref="Prepare"/>.</param>
    /// <param name="group">The matrix that is replaced.</param>
    /// <param name="source">Of <see cref="Prepare"/> with the same types, here or <see cref="Beside"/>; disposed by its owner once this has run.</param>
    /// <param name="from">The matrix that takes its place.</param>
    /// <exception cref="ArgumentException">The two are not alike.</exception>
    public abstract void Replace(Weight weight, int group, Weight source, int from);

    /// <summary>Copies host values into the front of <paramref name="destination"/> (contiguous rows), ordered with the operations.</summary>
    public abstract void Upload<T>(Tensor destination, ReadOnlySpan<T> source) where T : unmanaged;

    /// <summary>Copies the front of <paramref name="source"/> (contiguous rows) to the host after all earlier operations; waits.</summary>
    public abstract void Download<T>(Tensor source, Span<T> destination) where T : unmanaged;

    /// <summary>
    /// Starts bringing the front of a tensor (contiguous rows) to the host behind all operations so far, and does not wait: operations
    /// of the next step can be launched meanwhile. At most two are under way.
    /// </summary>
    /// <returns>False if the backend cannot: <see cref="Download{T}"/> it.</returns>
    public virtual bool TryBeginDownload<T>(Tensor source, int count) where T : unmanaged => false;

    /// <summary>Whether the oldest of <see cref="TryBeginDownload{T}"/> is there.</summary>
    public virtual bool DownloadIsHere => true;

    /// <summary>Waits for the oldest of <see cref="TryBeginDownload{T}"/>.</summary>
    public virtual void EndDownload<T>(Span<T> destination) where T : unmanaged => throw new InvalidOperationException("No download was begun.");

    /// <summary>Returns when every operation so far has finished.</summary>
    public abstract void Synchronize();

    /// <summary>ids[i] = tokens[slots[i], positions[i]]: the step's input, without a detour over the host.</summary>
    public abstract void GatherTokens(Tensor ids, Tensor tokens, Tensor slots, Tensor positions);

    /// <summary>output[i, :] = table[ids[i], :]. <paramref name="output"/> is F32 <c>[tokens, hidden]</c>.</summary>
    public abstract void Embed(Tensor output, Weight table, Tensor ids);

    /// <summary>output[i, :] = input[rows[i], :] for F32 matrices.</summary>
    public abstract void GatherRows(Tensor output, Tensor input, Tensor rows);

    /// <summary>output = input for F32 matrices of the same shape: rows of a step that are not tokens (images) take their place this way.</summary>
    public abstract void Copy(Tensor output, Tensor input);

    /// <summary>Root-mean-square norm of each run of gain.Columns values of each row. May run in place.</summary>
    /// <param name="output">F32 <c>[tokens, n·width]</c>.</param>
    /// <param name="input">F32, same shape.</param>
    /// <param name="gain">F32 <c>[1, width]</c>.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    public abstract void RmsNorm(Tensor output, Tensor input, Tensor gain, float epsilon);

    /// <summary>Norm of each run of gain.Columns values of each row to mean 0 and variance 1, then gain and bias. May run in place.</summary>
    /// <param name="output">F32 <c>[tokens, n·width]</c>.</param>
    /// <param name="input">F32, same shape.</param>
    /// <param name="gain">F32 <c>[1, width]</c>.</param>
    /// <param name="bias">F32 <c>[1, width]</c>; may be empty.</param>
    /// <param name="epsilon">Added to the variance.</param>
    public abstract void LayerNorm(Tensor output, Tensor input, Tensor gain, Tensor bias, float epsilon);

    /// <summary>residual += delta, then output = RmsNorm(residual).</summary>
    public abstract void AddRmsNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, float epsilon);

    /// <summary>residual += delta, then output = LayerNorm(residual).</summary>
    public virtual void AddLayerNorm(Tensor output, Tensor residual, Tensor delta, Tensor gain, Tensor bias, float epsilon)
    {
        Add(residual, delta);
        LayerNorm(output, residual, gain, bias, epsilon);
    }

    /// <summary>residual += delta.</summary>
    public abstract void Add(Tensor residual, Tensor delta);

    /// <summary>Rotates, in place, columns [start, start + table.Columns) of each head.</summary>
    /// <param name="values">F32 <c>[tokens, heads·headWidth]</c>.</param>
    /// <param name="positions">I32 <c>[tokens, 1]</c>.</param>
    /// <param name="table">F32 <c>[positions, width]</c>: width/2 cosines, then width/2 sines.</param>
    /// <param name="headWidth">Columns of one head.</param>
    /// <param name="start">First rotated column within a head.</param>
    /// <param name="interleaved">Pairs are (2i, 2i+1) (DeepSeek) instead of (i, i + width/2).</param>
    public abstract void Rope(Tensor values, Tensor positions, Tensor table, int headWidth, int start, bool interleaved);

    /// <summary>output = input · weightᵀ (+ bias); the weight may be a <see cref="StackedWeight"/>. F32 <c>[tokens, weight.Rows]</c> from <c>[tokens, weight.Columns]</c>.</summary>
    public abstract void Linear(Tensor output, Tensor input, Weight weight, Tensor bias = default);

    /// <summary>output[:, i] = silu(input[:, i]) · input[:, n + i]; input F32 <c>[tokens, 2n]</c>, output <c>[tokens, n]</c>.</summary>
    public abstract void SwiGlu(Tensor output, Tensor input);

    /// <summary>output = gelu(input), both F32 of the same shape. May run in place.</summary>
    public abstract void Gelu(Tensor output, Tensor input, GeluForm form);

    /// <summary>
    /// Writes this step's keys (or values, or latents) into the paged cache. Cache: F32 or BF16
    /// <c>[blocks, heads·blockSize·width]</c>, inside a block head by head, a head's positions one behind the other.
    /// </summary>
    /// <param name="cache">One layer's cache.</param>
    /// <param name="rows">F32 <c>[tokens, heads·width]</c>.</param>
    /// <param name="batch">Where the rows belong.</param>
    /// <param name="heads">Heads in a row (1 for a latent).</param>
    public abstract void WriteCache(Tensor cache, Tensor rows, PagedBatch batch, int heads);

    /// <summary>Causal grouped-query attention of the step's rows over the paged cache, which holds these rows already.</summary>
    /// <param name="output">F32 <c>[tokens, heads·width]</c>.</param>
    /// <param name="query">F32 <c>[tokens, heads·width]</c>.</param>
    /// <param name="keys">Cache as in <see cref="WriteCache"/>.</param>
    /// <param name="values">Cache as in <see cref="WriteCache"/>.</param>
    /// <param name="batch">Where the rows belong.</param>
    /// <param name="heads">Query heads.</param>
    /// <param name="cacheHeads">Key and value heads; divides <paramref name="heads"/>.</param>
    /// <param name="scale">Factor on the scores.</param>
    /// <param name="window">Positions that a row sees, its own included and the last of them; 0 for all before it.</param>
    public abstract void PagedAttention(
        Tensor output, Tensor query, Tensor keys, Tensor values, PagedBatch batch, int heads, int cacheHeads, float scale, int window = 0);

    /// <summary>Attention of every row over all rows of its own item, without cache or order: the patches of an image.</summary>
    /// <param name="output">F32 <c>[items·span, heads·width]</c>.</param>
    /// <param name="query">F32, same shape.</param>
    /// <param name="keys">F32, same shape.</param>
    /// <param name="values">F32, same shape.</param>
    /// <param name="span">Rows of an item.</param>
    /// <param name="heads">Heads.</param>
    /// <param name="scale">Factor on the scores.</param>
    public abstract void BidirectionalAttention(Tensor output, Tensor query, Tensor keys, Tensor values, int span, int heads, float scale);

    /// <summary>
    /// Multi-head latent attention over a cache of compressed latents, in the absorbed form: queries go to the latents' space, which
    /// serve all heads as keys and as values.
    /// </summary>
    /// <param name="output">F32 <c>[tokens, heads·valueWidth]</c>.</param>
    /// <param name="query">F32 <c>[tokens, heads·(plainWidth + ropeWidth)]</c>, rotated.</param>
    /// <param name="latents">Cache with one head of width rank + ropeWidth: normed latent, then rotated shared key.</param>
    /// <param name="expand">kv_b: F32 or BF16, one group, rows heads·(plainWidth + valueWidth), columns rank.</param>
    /// <param name="batch">Where the rows belong.</param>
    /// <param name="shape">Widths.</param>
    public abstract void LatentAttention(Tensor output, Tensor query, Tensor latents, Weight expand, PagedBatch batch, LatentShape shape);

    /// <summary>Chooses experts: ids I32 <c>[tokens, topK]</c> in falling order of (biased) score, gates F32 <c>[tokens, topK]</c> without bias.</summary>
    /// <param name="ids">Chosen experts.</param>
    /// <param name="gates">Their weights.</param>
    /// <param name="logits">F32 <c>[tokens, experts]</c>.</param>
    /// <param name="bias">F32 <c>[1, experts]</c> correction bias, used for choosing only; may be empty.</param>
    /// <param name="rule">How to choose.</param>
    public abstract void Route(Tensor ids, Tensor gates, Tensor logits, Tensor bias, RoutingRule rule);

    /// <summary>counts[0, ids[t, k]] += 1 for every choice: the load of each expert.</summary>
    /// <param name="counts">I32 <c>[1, experts]</c>.</param>
    /// <param name="ids">I32 <c>[tokens, topK]</c>.</param>
    public abstract void CountExperts(Tensor counts, Tensor ids);

    /// <summary>
    /// output[t·topK + k, :] = input[row, :] · weight[ids[t, k]]ᵀ, one row per (token, expert).
    /// row is t when <paramref name="input"/> has as many rows as <paramref name="ids"/>, else t·topK + k.
    /// </summary>
    public abstract void GroupedLinear(Tensor output, Tensor input, Weight weight, Tensor ids);

    /// <summary>output[t, :] = Σ_k gates[t, k] · rows[t·topK + k, :] in order of k, plus shared[t, :] if given.</summary>
    public abstract void CombineExperts(Tensor output, Tensor rows, Tensor gates, Tensor shared = default);

    /// <summary>
    /// Draws the next token of every row: bias, penalties, temperature, min-p, top-k, top-p, then one draw from a counter-based
    /// generator (seed, index). Writes ids and also Tokens[slot, length]. Leaves the logits as they are.
    /// </summary>
    /// <param name="ids">I32 <c>[rows, 1]</c>.</param>
    /// <param name="logits">F32 <c>[rows, vocabulary]</c>.</param>
    /// <param name="batch">Parameters of each row.</param>
    public abstract void Sample(Tensor ids, Tensor logits, SamplingBatch batch);

    /// <summary>Log-probabilities (log-softmax of the raw logits) of chosen tokens and of the best ones.</summary>
    /// <param name="chosen">F32 <c>[rows, 2]</c>: log-probability and rank (1 = best) of the chosen id.</param>
    /// <param name="topIds">I32 <c>[rows, k]</c>: best ids, falling; may be empty.</param>
    /// <param name="topValues">F32 <c>[rows, k]</c>: their log-probabilities.</param>
    /// <param name="logits">F32 <c>[rows, vocabulary]</c>.</param>
    /// <param name="ids">I32 <c>[rows, 1]</c>.</param>
    public abstract void LogProbabilities(Tensor chosen, Tensor topIds, Tensor topValues, Tensor logits, Tensor ids);

    /// <summary>Refuses weights whose matrices cannot take each other's place.</summary>
    protected static void CheckAlike(Weight weight, int group, Weight source, int from)
    {
        if ((weight.Type, weight.Rows, weight.Columns) != (source.Type, source.Rows, source.Columns) || (uint)group >= weight.Groups || (uint)from >= source.Groups)
        {
            throw new ArgumentException(
                $"Matrix {from} of {source.Groups} ({source.Type}, {source.Rows} x {source.Columns}) cannot take the place of {group} of {weight.Groups} ({weight.Type}, {weight.Rows} x {weight.Columns}): load both alike.");
        }
    }

    /// <summary><see cref="Linear"/> with each part of a stack, into its columns of the output.</summary>
    protected void Stacked(Tensor output, Tensor input, StackedWeight stack, Tensor bias)
    {
        int start = 0;
        foreach (Weight part in stack.Parts)
        {
            Linear(output.Cut(start, part.Rows), input, part, bias.IsEmpty ? bias : bias.Cut(start, part.Rows));
            start += part.Rows;
        }
    }

    /// <summary>Whether <see cref="Repeat"/> gains from few shapes: a few more rows are then better than one more shape.</summary>
    public virtual bool Records => false;

    /// <summary>
    /// Runs a step that was seen before in the same shape. The step's operations depend on <paramref name="shape"/> alone: the same
    /// calls with the same tensors, whatever these hold. A device may record them once and replay them; others run them.
    /// </summary>
    /// <param name="shape">Names the shape.</param>
    /// <param name="step">Calls the operations; no uploads, no downloads.</param>
    public virtual void Repeat(long shape, Action step) => step();

    /// <summary>
    /// Makes projected queries, keys and values ready: norms of query and key heads where there are gains, rotation of both, keys
    /// and values into the cache. Queries stay in place; what happens to the other columns is the backend's.
    /// </summary>
    /// <param name="projected">F32 <c>[tokens, (heads + 2·cacheHeads)·width]</c>: queries, keys, values.</param>
    /// <param name="how">Heads, gains and rotation.</param>
    /// <param name="keys">Cache as in <see cref="WriteCache"/>.</param>
    /// <param name="values">Cache as in <see cref="WriteCache"/>.</param>
    /// <param name="batch">Where the rows belong.</param>
    public virtual void PrepareHeads(Tensor projected, HeadPreparation how, Tensor keys, Tensor values, PagedBatch batch)
    {
        Tensor query = projected.Cut(0, how.Heads * how.Width);
        Tensor key = projected.Cut(how.Heads * how.Width, how.CacheHeads * how.Width);
        Tensor value = projected.Cut((how.Heads + how.CacheHeads) * how.Width, how.CacheHeads * how.Width);
        if (!how.QueryGain.IsEmpty)
            RmsNorm(query, query, how.QueryGain, how.Epsilon);
        if (!how.KeyGain.IsEmpty)
            RmsNorm(key, key, how.KeyGain, how.Epsilon);
        if (!how.Rope.IsEmpty)
        {
            Rope(query, batch.Positions, how.Rope, how.Width, 0, interleaved: false);
            Rope(key, batch.Positions, how.Rope, how.Width, 0, interleaved: false);
        }
        WriteCache(keys, key, batch, how.CacheHeads);
        WriteCache(values, value, batch, how.CacheHeads);
    }

    /// <summary>
    /// Makes projected queries and latents ready for the latent attention of the same queries that comes next: norm of the latents, rotation of the
    /// shared key and of the end of each query head, latents into the cache. What the two hold afterwards is the backend's.
    /// </summary>
    /// <param name="query">F32 <c>[tokens, heads·(plain + rope)]</c>.</param>
    /// <param name="latent">F32 <c>[tokens, rank + rope]</c>: latent and shared key.</param>
    /// <param name="how">Gain and rotation.</param>
    /// <param name="shape">Widths.</param>
    /// <param name="cache">Cache as in <see cref="WriteCache"/>.</param>
    /// <param name="batch">Where the rows belong.</param>
    public virtual void PrepareLatents(Tensor query, Tensor latent, LatentPreparation how, LatentShape shape, Tensor cache, PagedBatch batch)
    {
        Tensor plain = latent.Cut(0, shape.Rank);
        RmsNorm(plain, plain, how.Gain, how.Epsilon);
        Rope(latent, batch.Positions, how.Rope, shape.Rank + shape.Rope, shape.Rank, how.Interleaved);
        Rope(query, batch.Positions, how.Rope, shape.Plain + shape.Rope, shape.Plain, how.Interleaved);
        WriteCache(cache, latent, batch, 1);
    }

    /// <summary>output = SwiGlu(input · weightᵀ (+ bias)).</summary>
    /// <param name="output">F32 <c>[tokens, n]</c>.</param>
    /// <param name="both">F32 <c>[tokens, 2n]</c>: room for the product, if the backend needs it.</param>
    /// <param name="input">F32 <c>[tokens, columns]</c>.</param>
    /// <param name="weight">Gate, then up: 2n rows.</param>
    /// <param name="bias">F32 <c>[1, 2n]</c>; may be empty.</param>
    public virtual void LinearSwiGlu(Tensor output, Tensor both, Tensor input, Weight weight, Tensor bias = default)
    {
        Linear(both, input, weight, bias);
        SwiGlu(output, both);
    }

    /// <summary>output = SwiGlu of <see cref="GroupedLinear"/>: one row per (token, expert).</summary>
    /// <param name="output">F32 <c>[tokens·topK, n]</c>. A product of experts that comes next and takes it in may leave it unwritten.</param>
    /// <param name="both">F32 <c>[tokens·topK, 2n]</c>: room for the product, if the backend needs it.</param>
    /// <param name="input">As in <see cref="GroupedLinear"/>.</param>
    /// <param name="weight">Per expert gate, then up: 2n rows.</param>
    /// <param name="ids">I32 <c>[tokens, topK]</c>.</param>
    public virtual void GroupedSwiGlu(Tensor output, Tensor both, Tensor input, Weight weight, Tensor ids)
    {
        GroupedLinear(both, input, weight, ids);
        SwiGlu(output, both);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Gives the device back.</summary>
    protected abstract void Release();
}

/// <summary>Widths of multi-head latent attention, in elements.</summary>
/// <param name="Heads">Query heads.</param>
/// <param name="Plain">Query and key columns without rotation, per head (qk_nope_head_dim).</param>
/// <param name="Rope">Rotated columns (qk_rope_head_dim), shared by all heads on the key side.</param>
/// <param name="Value">Value columns per head (v_head_dim).</param>
/// <param name="Rank">Width of the compressed latent (kv_lora_rank).</param>
/// <param name="Scale">Factor on the scores.</param>
public readonly record struct LatentShape(int Heads, int Plain, int Rope, int Value, int Rank, float Scale);

/// <summary>What <see cref="Backend.PrepareLatents"/> does to a layer's latents.</summary>
/// <param name="Gain">F32 <c>[1, rank]</c>.</param>
/// <param name="Epsilon">Of the norm.</param>
/// <param name="Rope">Rotation table.</param>
/// <param name="Interleaved">Whether rotation pairs neighbours.</param>
public readonly record struct LatentPreparation(Tensor Gain, float Epsilon, Tensor Rope, bool Interleaved);

/// <summary>What <see cref="Backend.PrepareHeads"/> does to a layer's heads.</summary>
/// <param name="Heads">Query heads.</param>
/// <param name="CacheHeads">Key and value heads.</param>
/// <param name="Width">Columns of a head.</param>
/// <param name="QueryGain">F32 <c>[1, width]</c>; may be empty.</param>
/// <param name="KeyGain">F32 <c>[1, width]</c>; may be empty.</param>
/// <param name="Epsilon">Of the norms.</param>
/// <param name="Rope">Rotation table; may be empty, or narrower than a head.</param>
public readonly record struct HeadPreparation(int Heads, int CacheHeads, int Width, Tensor QueryGain, Tensor KeyGain, float Epsilon, Tensor Rope);
