namespace XDeepServe.FlowServe;

/// <summary>
/// Brings keys and values that were computed before, elsewhere or earlier, into a sequence's blocks: another Task Executor's, or
/// a slower tier of the cache. The DP group's thread calls it and never waits for it; whoever ends a fetch wakes that thread.
/// </summary>
internal interface IKvSupply
{
    /// <summary>How far it could bring a sequence.</summary>
    /// <param name="sequence">A sequence that waits.</param>
    /// <param name="from">Positions that the device's cache holds.</param>
    /// <returns>Positions, from the first on, that would then be there; <paramref name="from"/> or less: it has nothing to bring.</returns>
    int Reach(Sequence sequence, int from);

    /// <summary>Starts to fill positions <paramref name="from"/> to <paramref name="to"/>, whose blocks the sequence has.</summary>
    void Begin(Sequence sequence, int from, int to);

    /// <summary>Asks to stop. The fetch still ends by <see cref="TryComplete"/>: until then the blocks may be written.</summary>
    void Cancel(Sequence sequence);

    /// <summary>The sequence ends before a fetch began: what is kept for it elsewhere may go.</summary>
    void Drop(Sequence sequence);

    /// <summary>Takes a fetch that has ended, however.</summary>
    /// <param name="sequence">Its sequence.</param>
    /// <param name="computed">Positions that are there now; what is missing will be computed.</param>
    bool TryComplete(out Sequence sequence, out int computed);
}
