namespace XDeepServe.Xccl.Messages;

/// <summary>A chunk's metadata without stamp and payload.</summary>
internal readonly record struct ChunkHead(uint EventId, uint ChunkId, uint Bytes, ChunkKinds Kinds, ulong Total)
{
    public bool Has(ChunkKinds kind) => (Kinds & kind) != 0;
}
