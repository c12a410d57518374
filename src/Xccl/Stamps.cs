namespace XDeepServe.Xccl;

/// <summary>
/// Stamps of fields: a tag of the epochs that may read them, and a sequence number. A field of another epoch has another tag and
/// is thereby refused, without anybody having to clear it.
/// </summary>
internal static class Stamps
{
    public static ulong Make(uint tag, uint sequence) => (ulong)tag << 32 | sequence;

    public static uint Tag(ulong stamp) => (uint)(stamp >> 32);

    public static uint Sequence(ulong stamp) => (uint)stamp;

    /// <summary>The tag of a pair of epochs, the same from both ends.</summary>
    public static uint OfPair(ulong one, ulong other) => Fold(one + other);

    /// <summary>The tag of a group whose epochs add up to this.</summary>
    public static uint Fold(ulong sum)
    {
        sum = (sum ^ (sum >> 31)) * 0x9E3779B97F4A7C15;
        uint tag = (uint)(sum >> 32);
        return tag == 0 ? 1 : tag; // zero is what fresh memory holds
    }
}
