using System.Diagnostics;
using System.Runtime.InteropServices;
using XDeepServe.Xccl;
using XDeepServe.Xccl.Regions;
using XDeepServe.Xccl.Waiting;

namespace XDeepServe.Transformerless.Mixture;

/// <summary>
/// How a rank that was started again comes back among the others: it waits in a group of two, the first of the others looks for it at
/// each beat, and tells it in which epoch all meet. When everybody waits at a door, nobody is left behind them: then all begin anew.
/// </summary>
internal static class ReturnDoor
{
    private const int Host = 0, Guest = 1, MostWords = 2048;
    private static readonly TimeSpan Attempt = TimeSpan.FromSeconds(5), Look = TimeSpan.FromSeconds(1);

    private static RegionGeometry Geometry => new() { Ranks = 2, Slots = 2, SlotBytes = 64, RecordBytes = MostWords * sizeof(int) };

    /// <summary>Whether a member waits to come back.</summary>
    public static bool IsKnocked(MixtureOptions options, bool experts, int member)
    {
        using SharedRegion? region = SharedRegion.TryOpen(NameOf(options, experts, member), Guest, Geometry);
        return region is not null;
    }

    /// <summary>Tells a member in which epoch all meet.</summary>
    /// <exception cref="XcclException">It has gone again.</exception>
    public static void Invite(MixtureOptions options, bool experts, int member, MixtureEpoch next, CancellationToken cancel)
    {
        int[] words = new int[MostWords];
        int[] told =
        [
            next.Version, next.Attention.Count, .. next.Attention, next.Experts.Count, .. next.Experts,
            next.Returned.Count, .. next.Returned.SelectMany(one => (int[])[one.Experts ? 1 : 0, one.Member, one.Version]),
        ];
        told.CopyTo(words, 0);
        using Communicator door = Join(options, experts, member, Host, Attempt, cancel);
        door.Collectives.Broadcast(Host, MemoryMarshal.AsBytes(words.AsSpan()), cancel: cancel);
    }

    /// <summary>Waits for an invitation.</summary>
    /// <param name="options">How ranks share experts.</param>
    /// <param name="experts">Whether this member has experts rather than attention.</param>
    /// <param name="member">This member.</param>
    /// <param name="everybody">All that there are when nobody is gone.</param>
    /// <returns>Where all meet.</returns>
    /// <exception cref="XcclException">Nobody opened in time.</exception>
    public static MixtureEpoch Knock(MixtureOptions options, bool experts, int member, MixtureEpoch everybody)
    {
        bool looks = !experts && member == everybody.Attention[0]; // whether all others wait, too
        long started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return Enter(options, experts, member, everybody, looks ? Look : options.JoinTimeout);
            }
            catch (XcclTimeoutException) when (looks && Stopwatch.GetElapsedTime(started) < options.JoinTimeout)
            {
                if (Others(everybody).All(other => IsKnocked(options, other.Experts, other.Member)))
                    return Begin(options, everybody);
            }
        }
    }

    private static MixtureEpoch Enter(MixtureOptions options, bool experts, int member, MixtureEpoch everybody, TimeSpan patience)
    {
        int[] words = new int[MostWords];
        using Communicator door = Join(options, experts, member, Guest, patience, default);
        door.Collectives.Broadcast(Host, MemoryMarshal.AsBytes(words.AsSpan()));
        int at = 1;
        int[] attention = Next(1), withExperts = Next(1), returned = Next(3);
        return everybody with
        {
            Version = words[0],
            Attention = attention,
            Experts = withExperts,
            Returned = [.. returned.Chunk(3).Select(one => new ReturnedMember(one[0] == 1, one[1], one[2]))],
        };

        int[] Next(int each)
        {
            int first = at + 1, end = first + (words[at] * each);
            at = end;
            return words[first..end];
        }
    }

    /// <summary>Has everybody begin anew.</summary>
    private static MixtureEpoch Begin(MixtureOptions options, MixtureEpoch everybody)
    {
        MixtureEpoch first = everybody with { Version = everybody.Version + 1 };
        foreach ((bool experts, int member) in Others(everybody))
            Invite(options, experts, member, first, default);
        return first;
    }

    /// <summary>All but the first member with attention.</summary>
    private static IEnumerable<(bool Experts, int Member)> Others(MixtureEpoch everybody) =>
        [.. everybody.Attention.Skip(1).Select(member => (false, member)), .. everybody.Colocated ? [] : everybody.Experts.Select(member => (true, member))];

    private static string NameOf(MixtureOptions options, bool experts, int member) => $"{options.Name}_door_{(experts ? 'e' : 'a')}{member}";

    private static Communicator Join(MixtureOptions options, bool experts, int member, int rank, TimeSpan patience, CancellationToken cancel) => Communicator.Join(
        new GroupOptions
        {
            Name = NameOf(options, experts, member),
            Rank = rank,
            Geometry = Geometry,
            Strategy = WaitStrategy.Block,
            Timeout = Attempt,
            JoinTimeout = patience,
        },
        cancel);
}
