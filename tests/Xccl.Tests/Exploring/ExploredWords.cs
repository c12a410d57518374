using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Tests.Exploring;

/// <summary>Words of a <see cref="World"/> as one of its threads sees them.</summary>
internal readonly struct ExploredWords(World world, int thread) : IWords
{
    public ulong Read(long offset) => world.Read(thread, offset);

    public void Write(long offset, ulong value) => world.Write(thread, offset, value, published: false);

    public void Publish(long offset, ulong value) => world.Write(thread, offset, value, published: true);

    public ulong Add(long offset, ulong value) => world.Add(thread, offset, value);

    public void Fence() => world.Fence(thread);

    public void Sleep(long offset, ulong seen, int milliseconds) => world.Sleep(thread, offset, seen);

    public void Wake(long offset) => world.Wake(thread, offset);

    /// <summary>Has looked in vain.</summary>
    public void Wait() => world.Wait(thread);
}

/// <summary>A broken twin: its published stores are plain ones, so that the payload may come after its flag.</summary>
internal readonly struct UnorderedWords(ExploredWords words) : IWords
{
    public ulong Read(long offset) => words.Read(offset);

    public void Write(long offset, ulong value) => words.Write(offset, value);

    public void Publish(long offset, ulong value) => words.Write(offset, value);

    public ulong Add(long offset, ulong value) => words.Add(offset, value);

    public void Fence() => words.Fence();

    public void Sleep(long offset, ulong seen, int milliseconds) => words.Sleep(offset, seen, milliseconds);

    public void Wake(long offset) => words.Wake(offset);
}

/// <summary>A broken twin without fences: what was written may become visible after what is read next.</summary>
internal readonly struct UnfencedWords(ExploredWords words) : IWords
{
    public ulong Read(long offset) => words.Read(offset);

    public void Write(long offset, ulong value) => words.Write(offset, value);

    public void Publish(long offset, ulong value) => words.Publish(offset, value);

    public ulong Add(long offset, ulong value) => words.Add(offset, value);

    public void Fence()
    {
        // This is what is broken.
    }

    public void Sleep(long offset, ulong seen, int milliseconds) => words.Sleep(offset, seen, milliseconds);

    public void Wake(long offset) => words.Wake(offset);
}
