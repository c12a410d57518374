using System.Diagnostics;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// The word that travels with rows: all that experts need to know of them. Low half: when they were sent, in microseconds of the
/// host's clock, which all its processes share; then 16 bits of layer and 1 of part. Numbers of rows stand in the exchange's own
/// fields, and the epoch is in the group's.
/// </summary>
internal static class BatchNote
{
    public static ulong Pack(int layer, int part) => (ulong)(uint)part << 48 | (ulong)(ushort)layer << 32 | Now();

    public static int Layer(ulong note) => (ushort)(note >> 32);

    /// <summary>Microseconds since the rows were sent.</summary>
    public static uint Age(ulong note) => Now() - (uint)note;

    private static uint Now() => (uint)(Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1_000_000));
}
