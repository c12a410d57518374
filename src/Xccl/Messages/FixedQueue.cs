namespace XDeepServe.Xccl.Messages;

/// <summary>A queue whose room is taken once.</summary>
internal sealed class FixedQueue<T>(int capacity)
    where T : struct
{
    private readonly T[] items = new T[capacity];
    private int head;

    public int Count { get; private set; }

    public bool IsFull => Count == items.Length;

    /// <summary>The oldest item, in place; only while there is one.</summary>
    public ref T Peek() => ref items[head];

    /// <summary>The item that many places behind the oldest.</summary>
    public ref T At(int place) => ref items[(head + place) % items.Length];

    public void Add(in T item)
    {
        items[(head + Count) % items.Length] = item;
        Count++;
    }

    public T Take()
    {
        T item = items[head];
        head = (head + 1) % items.Length;
        Count--;
        return item;
    }
}
