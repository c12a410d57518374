using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.FlowServe.Balancing;
using XDeepServe.Xccl;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>Who takes part: ranks that go, ranks that come back, and what all hold then.</summary>
internal sealed partial class PlacementBoard
{
    private static readonly TimeSpan AdmitPatience = TimeSpan.FromSeconds(10);

    /// <summary>Meets the others as one of them that was started again.</summary>
    /// <exception cref="XcclException">Nobody took this rank back in time.</exception>
    private EpochGroup Return()
    {
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            MixtureEpoch next = ReturnDoor.Knock(options, attention < 0, Math.Max(attention, experts), everybody);
            try
            {
                return EpochGroup.Join(options, null, next, RankIn(next), AdmitPatience);
            }
            catch (XcclException) when (Stopwatch.GetElapsedTime(started) < options.JoinTimeout)
            {
                continue; // who opened has gone meanwhile: somebody else opens
            }
        }
    }

    /// <summary>Meets those that are left.</summary>
    private void Reform()
    {
        EpochGroup old = place;
        // The old group stays until all are in the next: who else goes meanwhile is seen through it.
        EpochGroup next = EpochGroup.JoinNext(options, null, () => old.Epoch.Without(old.Group.FindLost()), RankIn, stop.Token)
            ?? throw new IOException("Those that are left did not meet in time.");
        string[] gone = [.. Enumerable.Range(0, old.Epoch.Ranks).Select(old.Epoch.NameOf).Except(Enumerable.Range(0, next.Epoch.Ranks).Select(next.Epoch.NameOf))];
        MoveTo(next);
        if (leads)
            options.Log?.Invoke($"{string.Join(", ", gone)} {(gone.Length == 1 ? "is" : "are")} gone; the others go on.");
    }

    /// <summary>A member that is gone and waits to come back, counted from 1; 0 for nobody.</summary>
    private int Knocking()
    {
        for (int member = 0; member < everybody.Attention.Count; member++)
            if (place.Epoch.RankOfAttention(member) < 0 && ReturnDoor.IsKnocked(options, experts: false, member))
                return member + 1;
        for (int member = 0; member < everybody.Experts.Count && !everybody.Colocated; member++)
            if (place.Epoch.RankOfExperts(member) < 0 && ReturnDoor.IsKnocked(options, experts: true, member))
                return everybody.Attention.Count + member + 1;
        return 0;
    }

    /// <summary>Takes a member back. If it goes again meanwhile, all stay as they are.</summary>
    private void Admit(int number)
    {
        bool expert = number >= everybody.Attention.Count;
        int member = expert ? number - everybody.Attention.Count : number;
        MixtureEpoch next = place.Epoch.With(expert, member);
        bool tells = leads; // whoever comes back may lead then
        try
        {
            if (tells)
                ReturnDoor.Invite(options, expert, member, next, stop.Token);
            MoveTo(EpochGroup.Join(options, null, next, RankIn(next), AdmitPatience, stop.Token));
        }
        catch (XcclException)
        {
            return;
        }
        agreed = false;
        if (tells)
            options.Log?.Invoke($"{next.NameOf(expert ? next.RankOfExperts(member) : next.RankOfAttention(member))} is back.");
    }

    private void MoveTo(EpochGroup next)
    {
        EpochGroup old = place;
        lock (wakes)
            beats = null;
        place = next;
        Open();
        old.Dispose();
        Metrics.Recoveries++;
        Metrics.Layers = []; // ranks are others
    }

    /// <summary>
    /// All tell what they hold; who holds what nobody else has is worked out alike on all ranks; loading what is lost comes last. A
    /// change that was under way when ranks went is void.
    /// </summary>
    private void Agree()
    {
        if (place.Epoch.Experts.Count == 0)
        {
            // There is nothing to agree on before somebody with experts comes back.
            Volatile.Write(ref settled, place.Epoch with { Layout = settled.Layout });
            agreed = true;
            return;
        }
        Collectives all = beats!;
        IReadOnlyList<int> layers = settled.Layout.Layers;
        int first = place.Epoch.Colocated ? 0 : place.Epoch.Attention.Count, mine = experts < 0 ? -1 : place.Epoch.RankOfExperts(experts) - first;
        int[] counts = new int[place.Epoch.Ranks];
        all.AllGather(Bytes([held?.Slots(0).Length ?? 0]), MemoryMarshal.AsBytes(counts.AsSpan()), cancel: stop.Token);
        int most = counts.Max();
        int[] row = new int[most], rows = new int[most * place.Epoch.Ranks];
        int[][][] holdings = new int[layers.Count][][];
        for (int layer = 0; layer < layers.Count; layer++)
        {
            row.AsSpan().Fill(-1);
            held?.Slots(layer).CopyTo(row);
            all.AllGather(Bytes(row), MemoryMarshal.AsBytes(rows.AsSpan()), cancel: stop.Token);
            holdings[layer] = [.. Enumerable.Range(first, place.Epoch.Experts.Count).Select(rank => rows[(rank * most)..((rank + 1) * most)])];
        }
        ExpertLayout layout = ExpertLayout.Complete(layers, settled.Layout[0].Experts, holdings, out _, settled.Layout.Shared);
        if (held is not null)
        {
            IReadOnlyList<ReplicaMove>[] missing = held.MissingFrom(layout, mine);
            bool loads = missing.Any(list => list.Count > 0);
            if (loads && layout.SlotsPerRank <= held.Slots(0).Length)
                held.Stage(missing);
            Meet(all);
            if (loads || layout.SlotsPerRank > held.Slots(0).Length)
                AtBoundary(() => held.Recover(layout, mine));
        }
        else
        {
            Meet(all);
        }
        all.Barrier(cancel: stop.Token);
        Volatile.Write(ref settled, place.Epoch with { Layout = layout });
        agreed = true;
        if (exchange is not null)
            Route(layout, [.. Enumerable.Range(0, layers.Count)]);
    }

    /// <summary>No rank's thread is in a step that began before: what experts change from here on is in no answer that counts.</summary>
    private void Meet(Collectives all)
    {
        AtBoundary(() => { });
        all.Barrier(cancel: stop.Token);
    }

    private static ReadOnlySpan<byte> Bytes(ReadOnlySpan<int> values) => MemoryMarshal.AsBytes(values);
}
