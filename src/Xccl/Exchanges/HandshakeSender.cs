using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Exchanges;

/// <summary>
/// A producer's side of the hand-over of blocks to one consumer. Blocks and fields take turns between two sets; a set is
/// written again once the consumer has released what was in it.
/// </summary>
/// <param name="remote">The consumer's region.</param>
/// <param name="even">Field there of even sequence numbers.</param>
/// <param name="odd">Field there of odd ones.</param>
/// <param name="local">The producer's region.</param>
/// <param name="release">The word there in which the consumer releases.</param>
/// <param name="tag">Stamp of the group's epochs.</param>
internal sealed class HandshakeSender<TWords>(TWords remote, long even, long odd, TWords local, long release, uint tag)
    where TWords : struct, IWords
{
    private uint released;

    /// <summary>The consumer has finished with the block that had the set before.</summary>
    public bool MayWrite(uint sequence)
    {
        if ((int)(sequence - released) <= 2)
            return true;
        ulong stamp = local.Read(release);
        if (Stamps.Tag(stamp) == tag)
            released = Stamps.Sequence(stamp);
        return (int)(sequence - released) <= 2;
    }

    /// <summary>Hands a written block over.</summary>
    public void Announce(uint sequence, in BlockHead head)
    {
        long field = sequence % 2 == 0 ? even : odd;
        remote.Write(field + ExchangeField.NamesOffset, head.EventId | (ulong)head.Count << 32);
        remote.Write(field + ExchangeField.PlaceOffset, (ulong)head.Place);
        remote.Write(field + ExchangeField.BytesOffset, (ulong)head.Bytes);
        remote.Write(field + ExchangeField.NoteOffset, head.Note);
        remote.Publish(field, Stamps.Make(tag, sequence));
    }
}
