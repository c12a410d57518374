namespace XDeepServe.Xccl.Memory;

/// <summary>
/// The words through which ranks agree: 64 bits each, aligned. The protocols (rings, handshakes, doorbells) are written over
/// this alone, so that the very same code runs on mapped memory and under the explorer of the tests, which plays every order in
/// which a processor may make stores visible.
/// </summary>
public interface IWords
{
    /// <summary>Reads a word; later reads come after it.</summary>
    ulong Read(long offset);

    /// <summary>Writes a word that others look at only after a <see cref="Publish"/>.</summary>
    void Write(long offset, ulong value);

    /// <summary>Writes a word after everything that was written before.</summary>
    void Publish(long offset, ulong value);

    /// <summary>Adds in one step, with a <see cref="Fence"/> before and after.</summary>
    /// <returns>The sum.</returns>
    ulong Add(long offset, ulong value);

    /// <summary>Makes all that was written visible before anything else is read.</summary>
    void Fence();

    /// <summary>Sleeps while the word's low half is as seen, until woken or the time is over. May return early.</summary>
    void Sleep(long offset, ulong seen, int milliseconds);

    /// <summary>Wakes all who sleep on a word.</summary>
    void Wake(long offset);
}
