namespace XDeepServe.Xccl.Tests.Exploring;

/// <summary>
/// One execution of a few threads over simulated words. A single thread runs at a time; before every access a decision says who
/// goes on. Stores wait in their thread's buffer: others see them in any order that the model allows (plain stores to different
/// words in any order, a published one after all before it), the thread itself at once. Loads happen in program order.
/// </summary>
internal sealed class World(Decisions decisions, int words, int preemptions) : IDisposable
{
    private enum State { Ready, Waiting, Asleep, Ended }

    private readonly ulong[] memory = new ulong[words];
    private readonly List<Actor> actors = [];
    private readonly ManualResetEventSlim finished = new();
    private int preemptionsLeft = preemptions;
    private long version;
    private Exception? failure;

    /// <summary>Adds a thread; it starts with <see cref="Run"/>.</summary>
    public void Add(Action<ExploredWords> body) => actors.Add(new Actor(actors.Count, body));

    /// <summary>Runs all threads to their ends.</summary>
    /// <exception cref="Exception">What a thread threw, or that all of them wait for each other.</exception>
    public void Run()
    {
        foreach (Actor actor in actors)
        {
            actor.Thread = new Thread(() => Live(actor), 256 << 10) { IsBackground = true };
            actor.Thread.Start();
        }
        Pick(null)!.Turn.Release();
        finished.Wait();
        foreach (Actor actor in actors)
        {
            actor.Turn.Release();
            actor.Thread!.Join();
            actor.Turn.Dispose();
        }
        if (failure is not null)
            throw failure;
    }

    public void Dispose() => finished.Dispose();

    public ulong Read(int thread, long offset)
    {
        Actor actor = Enter(thread);
        for (int index = actor.Buffer.Count - 1; index >= 0; index--)
            if (actor.Buffer[index].Offset == offset)
                return actor.Buffer[index].Value;
        foreach (Actor other in actors)
            Reveal(other, offset);
        return memory[offset / sizeof(ulong)];
    }

    public void Write(int thread, long offset, ulong value, bool published) => Enter(thread).Buffer.Add(new Store(offset, value, published));

    public ulong Add(int thread, long offset, ulong value)
    {
        Flush(Enter(thread));
        version++;
        return memory[offset / sizeof(ulong)] += value;
    }

    public void Fence(int thread) => Flush(Enter(thread));

    public void Sleep(int thread, long offset, ulong seen)
    {
        Actor actor = Enter(thread);
        Flush(actor);
        if ((uint)memory[offset / sizeof(ulong)] != (uint)seen)
            return;
        actor.State = State.Asleep;
        actor.SleepsOn = offset;
        Yield(actor);
    }

    public void Wake(int thread, long offset)
    {
        Flush(Enter(thread));
        foreach (Actor other in actors.Where(other => other.State == State.Asleep && other.SleepsOn == offset))
            other.State = State.Ready;
    }

    /// <summary>The thread has looked in vain: it goes on when a store has become visible since.</summary>
    public void Wait(int thread)
    {
        Actor actor = actors[thread];
        actor.State = State.Waiting;
        actor.Seen = version;
        Yield(actor);
    }

    private void Live(Actor actor)
    {
        actor.Turn.Wait();
        try
        {
            if (failure is null)
                actor.Body(new ExploredWords(this, actor.Index));
        }
        catch (Exception caught)
        {
            failure ??= caught;
        }
        actor.State = State.Ended;
        if (finished.IsSet)
            return;
        if (failure is null && Pick(null) is { } next)
            next.Turn.Release();
        else
            finished.Set();
    }

    /// <summary>A thread is about to touch memory: perhaps another goes first.</summary>
    private Actor Enter(int thread)
    {
        Actor actor = actors[thread];
        if (preemptionsLeft > 0)
            Yield(actor);
        else if (failure is not null)
            throw new OperationCanceledException();
        return actor;
    }

    private void Yield(Actor actor)
    {
        Actor? next = Pick(actor);
        if (next is null)
        {
            failure ??= new InvalidOperationException("All threads wait for each other.");
            finished.Set();
            actor.Turn.Wait();
        }
        else if (next != actor)
        {
            next.Turn.Release();
            actor.Turn.Wait();
        }
        if (failure is not null)
            throw new OperationCanceledException();
        actor.State = State.Ready;
    }

    /// <summary>Who goes on; the current thread is the first choice, and leaving it while it could go on is counted.</summary>
    private Actor? Pick(Actor? current)
    {
        List<Actor> able = Able();
        if (able.Count == 0 && actors.Any(actor => actor.Buffer.Count > 0))
        {
            // Nobody can go on with what is visible: buffers do not keep stores for ever.
            foreach (Actor actor in actors)
                Flush(actor);
            able = Able();
        }
        if (able.Count == 0)
            return null;
        bool preempts = current is not null && able.Contains(current);
        if (preempts && preemptionsLeft == 0)
            return current;
        if (preempts)
        {
            able.Remove(current!);
            able.Insert(0, current!);
        }
        Actor chosen = able[decisions.Next(able.Count)];
        if (preempts && chosen != current)
            preemptionsLeft--;
        return chosen;
    }

    private List<Actor> Able() => [.. actors.Where(actor => actor.State == State.Ready || (actor.State == State.Waiting && actor.Seen != version))];

    /// <summary>Decides how many of a thread's waiting stores to a word another thread's load sees.</summary>
    private void Reveal(Actor actor, long offset)
    {
        int waiting = actor.Buffer.Count(store => store.Offset == offset);
        if (waiting == 0)
            return;
        for (int visible = decisions.Next(waiting + 1); visible > 0; visible--)
        {
            int index = actor.Buffer.FindIndex(store => store.Offset == offset);
            if (actor.Buffer[index].Published)
                for (; index > 0; index--)
                    Apply(actor, 0);
            Apply(actor, index);
        }
    }

    private void Flush(Actor actor)
    {
        while (actor.Buffer.Count > 0)
            Apply(actor, 0);
    }

    private void Apply(Actor actor, int index)
    {
        Store store = actor.Buffer[index];
        actor.Buffer.RemoveAt(index);
        memory[store.Offset / sizeof(ulong)] = store.Value;
        version++;
    }

    private readonly record struct Store(long Offset, ulong Value, bool Published);

    private sealed class Actor(int index, Action<ExploredWords> body)
    {
        public int Index => index;

        public Action<ExploredWords> Body => body;

        public List<Store> Buffer { get; } = [];

        public SemaphoreSlim Turn { get; } = new(0);

        public Thread? Thread { get; set; }

        public State State { get; set; }

        public long Seen { get; set; }

        public long SleepsOn { get; set; }
    }
}
