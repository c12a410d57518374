using XDeepServe.Xccl.Memory;

namespace XDeepServe.Xccl.Exchanges;

/// <summary>A consumer's side of the hand-over of blocks from one producer.</summary>
/// <param name="local">The consumer's region.</param>
/// <param name="even">Field there of even sequence numbers.</param>
/// <param name="odd">Field there of odd ones.</param>
/// <param name="remote">The producer's region.</param>
/// <param name="release">The word there in which the consumer releases.</param>
/// <param name="tag">Stamp of the group's epochs.</param>
internal sealed class HandshakeReceiver<TWords>(TWords local, long even, long odd, TWords remote, long release, uint tag)
    where TWords : struct, IWords
{
    /// <summary>Looks whether a block has been handed over.</summary>
    public bool TryArrive(uint sequence, out BlockHead head)
    {
        long field = sequence % 2 == 0 ? even : odd;
        if (local.Read(field) != Stamps.Make(tag, sequence))
        {
            head = default;
            return false;
        }
        ulong names = local.Read(field + ExchangeField.NamesOffset);
        head = new BlockHead(
            (uint)names, (uint)(names >> 32), (long)local.Read(field + ExchangeField.PlaceOffset), (long)local.Read(field + ExchangeField.BytesOffset),
            local.Read(field + ExchangeField.NoteOffset));
        return true;
    }

    /// <summary>Says that the block will not be read any more. In order of sequence numbers.</summary>
    public void Release(uint sequence) => remote.Publish(release, Stamps.Make(tag, sequence));
}
